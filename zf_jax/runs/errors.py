"""What can be wrong with a run on disk."""

from __future__ import annotations


class RunError(RuntimeError):
    """What is wrong with a run on disk: one sentence that says what to do."""


class CheckpointError(RunError):
    """What is wrong with a run's checkpoints."""


class OtherModel(CheckpointError):
    """A sound checkpoint whose arrays are not those of the model or the optimiser."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's words, cut to 120 characters; the name of its type if there are none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
