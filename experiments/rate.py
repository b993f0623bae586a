"""How fast the training loop goes, validation and checkpoints left out."""

from __future__ import annotations

import time

import numpy as np


class Rate:
    """Updates a second, not counting validation and checkpoints."""

    def __init__(self):
        self._since: tuple[float, int] | None = None
        self._intervals: list[float] = []

    def paused(self) -> Rate:
        """A context whose time is not counted."""
        return self

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(self, *_) -> None:
        if self._since is not None:
            self._since = (self._since[0] + time.perf_counter() - self._entered, self._since[1])

    def begin(self, step: int) -> bool:
        """Start the clock, once: after the first update, which compiled; whether this was it."""
        first = self._since is None
        if first:
            self._since = (time.perf_counter(), step)
        return first

    def measure(self, step: int) -> float | None:
        """Updates a second since the last call; None where there was no update in between."""
        assert self._since is not None
        now, (then, before) = time.perf_counter(), self._since
        self._since = (now, step)
        if step == before:
            return None
        self._intervals.append((now - then) / (step - before))
        return 1.0 / self._intervals[-1]

    @property
    def seconds_per_update(self) -> float | None:
        """The median over the intervals between two log lines; None where there was none."""
        return float(np.median(self._intervals)) if self._intervals else None
