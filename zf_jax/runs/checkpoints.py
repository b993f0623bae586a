"""Checkpoints with orbax: the latest ones, and the one of the best validation ELBO (rule A10)."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from zf_jax.extras import needs
from zf_jax.runs.record import (
    Damaged,
    Record,
    changed_arrays,
    json_digest,
    leaf_name,
    make_record,
    read_json,
    read_record,
)
from zf_jax.sharding import any_process, wait_for_all
from zf_jax.training import TrainState

with needs("experiments"):
    import orbax.checkpoint as ocp
    from orbax.checkpoint.checkpoint_managers import preservation_policy

_METRIC = "elbo_nats_per_sequence"
_GOING = 2.0  # seconds in which a checkpoint that another process deletes will have gone


class CheckpointError(RuntimeError):
    """What is wrong with a run's checkpoints: one sentence that says what to do."""


class OtherModel(CheckpointError):
    """A sound checkpoint whose arrays are not those of the model or the optimiser."""


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
        self.directory = Path(workdir).absolute() / "checkpoints"
        self._create, self._warn, self._keep_every = create, warn, keep_every
        self._writer: ocp.CheckpointManager | None = None
        self._saving: int | None = None
        if not create:
            if not self.directory.is_dir():
                raise CheckpointError(
                    f"there is no run in {workdir}: it has no checkpoints; train one there first, with "
                    "experiments.train"
                )
        elif jax.process_index() == 0:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                for path in self.directory.iterdir():  # what a killed process was writing
                    if "orbax-checkpoint-tmp" in path.name:
                        shutil.rmtree(path, ignore_errors=True)
            except OSError as error:
                raise CheckpointError(f"{self.directory} cannot be made or written: {error.strerror}") from error

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._writer is None:
            return
        try:
            self._writer.wait_until_finished()
            self._writer.close()
        except Exception as failure:
            if error is None:
                raise self._unwritten(failure) from failure

    def steps(self) -> list[int]:
        """Return the steps of all checkpoints, ascending."""
        try:
            return sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdigit())
        except OSError:
            return []

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
        elbo = None if step is None else self._elbo(step)
        return None if step is None or elbo is None else (step, elbo)

    def save(self, state: TrainState, config: dict[str, Any], elbo: float | None = None) -> None:
        """Write the state under its own step, in the background; ``elbo`` is the validation bound, in nats.

        Raises:
          CheckpointError: this or an earlier checkpoint cannot be written; the last good one is named.
        """
        step = int(state.step)
        if step == self._saving or step in self.steps():
            return
        if not self.directory.is_dir():
            raise self._unwritten(FileNotFoundError(errno.ENOENT, "the folder is gone"))
        self._saving = step
        # A bound that is not finite must not count as best, and push a good checkpoint out.
        elbo = float(elbo) if elbo is not None and math.isfinite(elbo) else None
        try:
            self._open_writer().save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    config=ocp.args.JsonSave(config),
                    record=ocp.args.JsonSave(make_record(state, config, elbo)),
                ),
                metrics=None if elbo is None else {_METRIC: elbo},
                force=True,
            )
        except Exception as error:  # orbax and its stores raise many kinds
            raise self._unwritten(error) from error

    def wait(self) -> None:
        """Return when everything saved so far is on disk.

        Raises:
          CheckpointError: it cannot be written; the last good checkpoint is named.
        """
        if self._writer is not None:
            try:
                self._writer.wait_until_finished()
            except Exception as error:
                raise self._unwritten(error) from error

    def restore(self, like: TrainState, step: int) -> TrainState:
        """Read the state of ``step`` into the structure, shapes and shardings of ``like``, and check its digests.

        Raises:
          OtherModel: the arrays are not those of ``like``.
          CheckpointError: the checkpoint is damaged.
        """
        folder, record = self.directory / str(step), None
        try:
            record = read_record(folder)
            self._check_names(folder, record, like)
            abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
            with ocp.StandardCheckpointer() as reader:
                state = reader.restore(folder / "state", abstract)
            changed = [] if record is None else changed_arrays(record, state)
            reason = f"{', '.join(changed[:3])}: not the values that were saved" if changed else ""
            if int(state.step) != step:
                reason = f"it holds step {int(state.step)}"
        except CheckpointError:
            raise
        except Exception as error:  # orbax and its stores raise many kinds; all mean the same to the user
            cause = error if isinstance(error, Damaged) or error.__cause__ is None else error.__cause__
            state, reason = None, (str(cause).strip().splitlines() or [type(cause).__name__])[0][:120]
        if any_process(bool(reason)) or state is None:
            raise CheckpointError(f"the checkpoint {folder} is damaged ({reason or 'as another process read it'})")
        if record is None:
            self._warn(f"the checkpoint {folder} is older than digests: whether its arrays changed cannot be told")
        return state

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
        refused: dict[int, str] = {}
        while True:
            left = [step for step in self._preferred(which) if step not in refused]
            if not left:
                if not refused:
                    return None
                raise CheckpointError(f"{'; '.join(refused.values())}; no other is left: train again in a new workdir")
            step = left[0]
            try:
                state = self.restore(like, step)
            except OtherModel:
                raise
            except CheckpointError as error:
                if self._create or self._stays(step):
                    refused[step] = str(error)
                continue
            if refused:
                self._warn(f"{'; '.join(refused.values())}: step {step} is read instead")
            if self._create:
                self._set_aside(list(refused))
            return state, step

    def go_back(self, step: int) -> None:
        """Move every checkpoint after ``step`` to ``workdir/diverged``, so that ``step`` is the newest."""
        self._set_aside([later for later in self.steps() if later > step], "diverged")

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

    def _preferred(self, which: str) -> list[int]:
        """All steps, first the one asked for."""
        steps = self.steps()[::-1]
        if which == "latest":
            return steps
        scored = {step: elbo for step in steps if (elbo := self._elbo(step)) is not None}
        return sorted(scored, key=lambda step: (scored[step], step), reverse=True) + [
            s for s in steps if s not in scored
        ]

    def _elbo(self, step: int) -> float | None:
        folder = self.directory / str(step)
        try:
            record = read_record(folder)
            found = record if record is not None else read_json(folder / "metrics", "metrics")
            elbo = found[_METRIC]
        except (Damaged, TypeError, KeyError):
            return None
        return elbo if isinstance(elbo, float) and math.isfinite(elbo) else None

    def _check_names(self, folder: Path, record: Record | None, like: TrainState) -> None:
        """Tell another model's checkpoint from a damaged one."""
        mine = _shapes(like)
        if record is None:
            with ocp.StandardCheckpointer() as reader:
                theirs = _shapes(reader.metadata(folder / "state").item_metadata.tree)
        else:
            theirs = {name: (array["shape"], array["dtype"]) for name, array in record["arrays"].items()}
        differing = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
        if differing:
            name = differing[0]
            here, there = (f"{t[name][0]} {t[name][1]}" if name in t else "absent" for t in (mine, theirs))
            raise OtherModel(
                f"the checkpoint {folder} is sound, and of another model or optimiser: {len(differing)} arrays differ, "
                f"as {name}, there {there}, here {here}"
            )

    def _stays(self, step: int) -> bool:
        """Whether a checkpoint that could not be read is still there after a moment: not one that was being deleted."""
        limit = time.monotonic() + _GOING
        while time.monotonic() < limit:
            if step not in self.steps():
                return False
            time.sleep(0.1)
        return True

    def _set_aside(self, steps: list[int], kind: str = "damaged") -> None:
        if jax.process_index() == 0:
            for step in steps:
                aside = self.directory.parent / kind / str(step)
                shutil.rmtree(aside, ignore_errors=True)
                aside.parent.mkdir(exist_ok=True)
                os.replace(self.directory / str(step), aside)
                self._warn(f"the checkpoint of step {step} lies in {aside} now")
        wait_for_all("checkpoints set aside")

    def _open_writer(self) -> ocp.CheckpointManager:
        if self._writer is None:
            if jax.process_index() == 0:
                self._mend()
            wait_for_all("checkpoints mended")
            every = [preservation_policy.EveryNSteps(self._keep_every)] if self._keep_every else []
            keep = preservation_policy.AnyPreservationPolicy(
                [
                    *every,
                    preservation_policy.LatestN(2),
                    preservation_policy.BestN(
                        get_metric_fn=lambda metrics: metrics[_METRIC], n=1, keep_checkpoints_without_metrics=False
                    ),
                ]
            )
            self._writer = ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    best_fn=lambda metrics: metrics[_METRIC],  # without it the metrics are not written down
                    preservation_policy=keep,
                ),
                item_names=("state", "config", "record"),
            )
        return self._writer

    def _mend(self) -> None:
        """Set aside or write anew what orbax itself reads of every checkpoint, and would refuse them all for."""
        for step in self.steps():
            folder = self.directory / str(step)
            if not _is_json(folder / "_CHECKPOINT_METADATA"):
                self._warn(f"the checkpoint {folder} is damaged (_CHECKPOINT_METADATA)")
                self._set_aside([step])
                continue
            elbo, file = self._elbo(step), folder / "metrics" / "metrics"
            written = {} if not _is_json(file) else json.loads(file.read_text(encoding="utf-8"))
            if elbo is not None and written != {_METRIC: elbo}:
                self._warn(f"{file} is damaged: written anew from the checkpoint's record")
                file.parent.mkdir(exist_ok=True)
                file.write_text(json.dumps({_METRIC: elbo}), encoding="utf-8")
            elif elbo is None and file.exists():
                self._warn(f"{file} is damaged: the checkpoint of step {step} counts as not validated")
                os.replace(file, file.with_suffix(".damaged"))

    def _unwritten(self, error: Exception) -> CheckpointError:
        """Say what could not be written and what is left."""
        good = self.latest_step
        reason = _system_reason(error) or (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        left = "there is none yet" if good is None else f"the last good one is {self.directory / str(good)}"
        return CheckpointError(
            f"a checkpoint cannot be written into {self.directory}: {reason}; {left}; make room or mend the folder, "
            "and run the same command again to go on"
        )


def _shapes(tree: Any) -> dict[str, tuple[list[int], str]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {leaf_name(path): (list(leaf.shape), str(jnp.dtype(leaf.dtype))) for path, leaf in leaves}


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return True


def _system_reason(error: BaseException | None) -> str | None:
    """Return the operating system's words behind an error, for example "No space left on device"."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        for words in ("No space left on device", "File too large", "Permission denied", "Read-only file system"):
            if words in str(error):
                return words
        error = error.__cause__ or error.__context__
    return None
