"""A way to be told to stop: SIGTERM and SIGINT, also where only some of several processes get them."""

from __future__ import annotations

import signal
from typing import Any

import jax


class StopSignal:
    """Remembers SIGTERM and SIGINT, so that the loop can save and leave between two calls of the device."""

    def __init__(self):
        self._received = False
        self._looks = 0
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

    def requested(self) -> bool:
        """Whether to stop now; the same answer in every process, all of which must ask equally often."""
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            # The processes agree on the number of a look that none has had yet: looks are counted, since a call of
            # several updates would jump over the number of a step.
            self._looks += 1
            return multihost_utils.reached_preemption_sync_point(self._looks)
        return self._received
