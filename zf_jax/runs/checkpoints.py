"""Checkpoints with orbax: the latest ones, and the one of the best validation ELBO (rule A10)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from zf_jax.runs.errors import CheckpointError, OtherModel
from zf_jax.runs.mending import elbo_of, set_aside, steps_in
from zf_jax.runs.reading import read_params, read_state
from zf_jax.runs.record import DESCRIPTION, Damaged, json_digest, read_json, read_record
from zf_jax.runs.writing import Writer
from zf_jax.training import TrainState
from zf_jax.typing import Params

__all__ = ["CheckpointError", "Checkpoints", "OtherModel"]

_GOING = 2.0  # seconds in which a checkpoint that another process deletes will have gone
_Read = TypeVar("_Read")


class Checkpoints:
    """The checkpoints of one run, under ``workdir/checkpoints``.

    The two latest and the one of the best validation ELBO are kept.  A checkpoint appears under its name only when it
    is complete, so a process killed at any moment leaves the earlier ones as they were.  Beside the arrays lies a
    record of their digests, which ``restore`` checks; a checkpoint older than records is read without that check.
    """

    def __init__(
        self,
        workdir: str | Path,
        *,
        create: bool = True,
        warn: Callable[[str], None] = warnings.warn,
        keep_every: int = 0,
    ):
        """Open the folder.

        Args:
          create: write checkpoints too; False for readers, which change nothing and may read while a run trains.
          keep_every: checkpoints of steps that are a multiple stay; 0 for none.
          warn: told, in one sentence, about damage that costs no more than a checkpoint.
        """
        self.directory, self._warn = Path(workdir).absolute() / "checkpoints", warn
        if not create and not self.directory.is_dir():
            raise CheckpointError(
                f"there is no run in {workdir}: it has no checkpoints; train one there first, with zf_jax train"
            )
        self._writer = Writer(self.directory, warn, keep_every) if create else None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._writer is not None:
            self._writer.close(failed=error is not None)

    def steps(self) -> list[int]:
        """Return the steps of all checkpoints, ascending."""
        return steps_in(self.directory)

    @property
    def latest_step(self) -> int | None:
        """The step of the newest checkpoint; None if there is none."""
        return max(self.steps(), default=None)

    @property
    def best_step(self) -> int | None:
        """The step of the best validation ELBO; the newest if none was validated; None if there is none."""
        return next(iter(self._preferred("best")), None)

    @property
    def best(self) -> tuple[int, float] | None:
        """The step and the validation ELBO of the best checkpoint; None if none was validated."""
        step = self.best_step
        elbo = None if step is None else elbo_of(self.directory / str(step))
        return None if step is None or elbo is None else (step, elbo)

    def save(
        self,
        state: TrainState,
        config: dict[str, Any],
        elbo: float | None = None,
        *,
        description: dict[str, Any] | None = None,
    ) -> None:
        """Write the state under its own step, in the background.

        Args:
          elbo: the validation bound, in nats.
          description: of the data, ``DataDescription.as_json()``: what ``zf_jax.open_run`` needs of them.

        Raises:
          CheckpointError: this or an earlier checkpoint cannot be written; the last good one is named.
        """
        self._own_writer.save(state, config, elbo, description)

    def wait(self) -> None:
        """Return when everything saved so far is on disk.

        Raises:
          CheckpointError: it cannot be written; the last good checkpoint is named.
        """
        self._own_writer.wait()

    def restore(self, like: TrainState, step: int) -> TrainState:
        """Read the state of ``step`` into the structure, shapes and shardings of ``like``, and check its digests.

        Raises:
          OtherModel: the arrays are not those of ``like``.
          CheckpointError: the checkpoint is damaged.
        """
        return self._told(step, *read_state(self.directory / str(step), like))

    def restore_params(self, like: Params, step: int) -> Params:
        """Read the parameters of ``step`` alone, which needs no optimiser, and check their digests.

        Where the optimiser keeps an average of the parameters, the average is read, as evaluations do.

        Args:
          like: parameters or their shapes, as ``jax.eval_shape(model.init, key)`` gives them.

        Raises:
          OtherModel: the parameters are not those of ``like``.
          CheckpointError: the checkpoint is damaged.
        """
        return self._told(step, *read_params(self.directory / str(step), like))

    def restore_newest(
        self, like: TrainState, which: Literal["latest", "best"] = "latest"
    ) -> tuple[TrainState, int] | None:
        """Restore the newest or the best checkpoint that is whole, and return it with its step; None if there is none.

        Damaged checkpoints are passed over with a warning.  A run that will go on from an earlier one
        (``create=True``) moves them to ``workdir/damaged``; a reader leaves them, and looks again if a checkpoint
        is being deleted while it is read.

        Raises:
          OtherModel: the first sound checkpoint holds the arrays of another model.
          CheckpointError: all checkpoints are damaged.
        """
        return self.newest(which, lambda step: self.restore(like, step))

    def newest(self, which: str, read: Callable[[int], _Read]) -> tuple[_Read, int] | None:
        """Return what ``read`` gives of the first checkpoint that is whole, as ``restore_newest`` does."""
        refused: dict[int, str] = {}
        while True:
            left = [step for step in self._preferred(which) if step not in refused]
            if not left:
                if not refused:
                    return None
                raise CheckpointError(f"{'; '.join(refused.values())}; no other is left: train again in a new workdir")
            step = left[0]
            try:
                found = read(step)
            except OtherModel:
                raise
            except CheckpointError as error:
                if self._writer is not None or self._stays(step):
                    refused[step] = str(error)
                continue
            if refused:
                self._warn(f"{'; '.join(refused.values())}: step {step} is read instead")
            if self._writer is not None:
                set_aside(self.directory, list(refused), "damaged", self._warn)
            return found, step

    def go_back(self, step: int) -> None:
        """Move every checkpoint after ``step`` to ``workdir/diverged``, so that ``step`` is the newest."""
        set_aside(self.directory, [later for later in self.steps() if later > step], "diverged", self._warn)

    def config(self, step: int) -> dict[str, Any]:
        """Return what was saved beside the state of ``step``; empty, with a warning, if it cannot be read."""
        folder = self.directory / str(step)
        try:
            config, record = read_json(folder / "config"), read_record(folder)
        except Damaged:
            config, record = None, None
        if not isinstance(config, dict) or (record is not None and record["config"] != json_digest(config)):
            self._warn(
                f"the config beside the checkpoint {folder} is damaged: whether its data are these is not checked"
            )
            return {}
        return config

    def description(self, step: int) -> dict[str, Any] | None:
        """Return the description of the data that was saved beside the state of ``step``; None if there was none.

        Raises:
          CheckpointError: it is damaged.
        """
        folder = self.directory / str(step)
        try:
            record = read_record(folder)
            if record is None or DESCRIPTION not in record:
                return None
            found = read_json(folder / DESCRIPTION)
        except Damaged as error:
            raise CheckpointError(f"the checkpoint {folder} is damaged ({error})") from error
        if not isinstance(found, dict) or record[DESCRIPTION] != json_digest(found):
            raise CheckpointError(f"the checkpoint {folder} is damaged ({DESCRIPTION}: not what was saved)")
        return found

    @property
    def _own_writer(self) -> Writer:
        if self._writer is None:
            raise ValueError("checkpoints that were opened with create=False are only read")
        return self._writer

    def _told(self, step: int, found: Any, checked: bool) -> Any:
        if not checked:
            folder = self.directory / str(step)
            self._warn(f"the checkpoint {folder} is older than digests: whether its arrays changed cannot be told")
        return found

    def _preferred(self, which: str) -> list[int]:
        """All steps, first the one asked for."""
        steps = self.steps()[::-1]
        if which == "latest":
            return steps
        scored = {step: elbo for step in steps if (elbo := elbo_of(self.directory / str(step))) is not None}
        best = sorted(scored, key=lambda step: (-scored[step], step))  # of equal ones the first
        return best + [step for step in steps if step not in scored]

    def _stays(self, step: int) -> bool:
        """Whether a checkpoint that could not be read is still there after a moment: not one that was being deleted."""
        limit = time.monotonic() + _GOING
        while time.monotonic() < limit:
            if step not in self.steps():
                return False
            time.sleep(0.1)
        return True
