"""Stop training at a SIGTERM or SIGINT, at the same step in all processes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import jax


class StopSignal:
    """Record SIGTERM and SIGINT, so that the training loop can save and stop between two updates.

    Before ``listen`` a signal ends the program at once, also during a compilation, because there is nothing to save.
    After ``listen`` a second signal ends the program at once, with status 128 + the signal's number; during a save, a
    second signal is ignored.
    """

    def __init__(self):
        self.received = False
        self._saving = False
        self._asked: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Install the signal handlers; call this function before the first update."""
        if self._previous:
            return
        if jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        else:
            # A signal may reach only some of the processes.  JAX's handler of SIGTERM chooses one step for all.
            self._previous[signal.SIGINT] = signal.signal(
                signal.SIGINT, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM)
            )

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Ignore a second signal until the save is complete."""
        self._saving = True
        try:
            yield
        finally:
            self._saving = False

    def _handle(self, number: int, _frame: Any) -> None:
        if self.received and not self._saving:
            print("error: ended by a second signal; the last checkpoint stays", file=sys.stderr, flush=True)
            os._exit(128 + number)
        self.received = True

    def requested(self, step: int) -> bool:
        """Return whether to stop after ``step``; every process gets the same answer."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            # JAX picks one step at which all processes stop and reports the step only if queried.  So query every
            # step once, also the steps inside a call of several updates; orbax queries with steps too.
            first = step if self._asked is None else self._asked + 1
            self._asked = step
            answers = [multihost_utils.reached_preemption_sync_point(one) for one in range(first, step + 1)]
            return any(answers)
        return self.received
