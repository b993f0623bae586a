"""A way to be told to stop: SIGTERM and SIGINT, also where only some of several processes get them."""

from __future__ import annotations

import signal
from typing import Any

import jax


class StopSignal:
    """Remembers SIGTERM and SIGINT, so that the loop can save and leave between two calls of the device."""

    def __init__(self):
        self._received = False
        self._asked: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        # Of several processes only some may be told to stop; there JAX's own handler makes them agree on a step.
        if jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: Any) -> None:
        self._received = True
        signal.signal(number, self._previous[number])  # a second signal ends the program at once

    def requested(self, step: int) -> bool:
        """Whether to stop before the update after ``step``; the same answer in every process."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            # JAX picks one step at which all processes stop and reports the step only if it is queried.  So query every
            # step once, also the steps inside a call of several updates; orbax queries with steps too.
            first = step if self._asked is None else self._asked + 1
            self._asked = step
            answers = [multihost_utils.reached_preemption_sync_point(one) for one in range(first, step + 1)]
            return any(answers)
        return self._received
