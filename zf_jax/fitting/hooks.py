"""What the training loop tells others: callbacks of a user, and hooks of a program around the loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from zf_jax.training import TrainState


class Report(NamedTuple):
    """What a callback is told after a log line or a validation.

    Attributes:
      split: ``"train"`` after a log line, ``"valid"`` after a validation.
      step: updates tried so far.
      metrics: numbers by name.
      state: after that step.  The next update reuses the arrays: copy what you keep, with ``jax.device_get``.
    """

    split: Literal["train", "valid"]
    step: int
    metrics: dict[str, Any]
    state: TrainState


Callback = Callable[[Report], Any]  # True ends the training after this step


class Hooks:
    """What a program adds to the loop; every method does nothing here."""

    def due(self, step: int) -> bool:
        """Whether the program has something to do right after update ``step``, so that no call may run past it."""
        return False

    def requested(self, step: int) -> bool:
        """Whether to stop before the update after ``step``; the same answer in every process."""
        return False

    def called(self, step: int, size: int, metrics: dict[str, Any]) -> None:
        """Follow a call of the device that held ``size`` updates, the last of them update ``step``."""

    def logged(self, step: int, metrics: dict[str, Any]) -> None:
        """Follow a line of training metrics."""

    def validated(self, step: int, metrics: dict[str, Any], state: TrainState) -> None:
        """Follow a validation and its checkpoint, which may still be on its way to the disk."""

    def saving(self) -> contextlib.AbstractContextManager[None]:
        """A context in which a checkpoint is written."""
        return contextlib.nullcontext()

    def diverged(self, step: int) -> None:
        """Follow too many updates that were not finite, before the checkpoints go back to the best one."""
