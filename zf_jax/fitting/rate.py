"""How fast the updates go, validation and checkpoints left out."""

from __future__ import annotations

import statistics
from collections.abc import Callable


class Rate:
    """Updates a second, not counting validation and checkpoints."""

    def __init__(self, clock: Callable[[], float]):
        """``clock`` returns seconds from any fixed moment, as ``time.perf_counter`` does."""
        self._clock = clock
        self._since: tuple[float, int] | None = None
        self._intervals: list[float] = []

    def paused(self) -> Rate:
        """A context whose time is not counted."""
        return self

    def __enter__(self) -> None:
        self._entered = self._clock()

    def __exit__(self, *_) -> None:
        if self._since is not None:
            self._since = (self._since[0] + self._clock() - self._entered, self._since[1])

    def begin(self, step: int) -> None:
        """Start the clock after the first update, which compiled; later calls change nothing."""
        if self._since is None:
            self._since = (self._clock(), step)

    def measure(self, step: int) -> float | None:
        """Updates a second since the last call; None where there was no update in between."""
        assert self._since is not None
        now, (then, before) = self._clock(), self._since
        self._since = (now, step)
        if step == before:
            return None
        self._intervals.append((now - then) / (step - before))
        return 1.0 / self._intervals[-1]

    @property
    def seconds_per_update(self) -> float | None:
        """The median over the intervals between two log lines; None where there was none."""
        return statistics.median(self._intervals) if self._intervals else None
