"""Checkpoints with orbax: the latest ones, and the one of the best validation ELBO (rule A10)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from zf_jax.training import TrainState

_METRIC = "elbo_nats_per_sequence"


class CheckpointError(RuntimeError):
    """What is wrong with a run's checkpoints: one sentence that says what to do."""


class Checkpoints:
    """The checkpoints of one run, under ``workdir/checkpoints``.

    Kept are the two latest and the one of the best validation ELBO.  A checkpoint appears under its name only when
    it is complete, so that a process killed at any moment leaves the earlier ones as they were.
    """

    def __init__(self, workdir: str | Path, *, create: bool = True):
        self.directory = Path(workdir).absolute() / "checkpoints"
        if not create and not self.directory.is_dir():
            raise CheckpointError(
                f"there is no run in {workdir}: it has no checkpoints; train one there first, with experiments.train"
            )
        keep = preservation_policy.AnyPreservationPolicy(
            [
                preservation_policy.LatestN(2),
                preservation_policy.BestN(
                    get_metric_fn=lambda metrics: metrics[_METRIC], n=1, keep_checkpoints_without_metrics=False
                ),
            ]
        )
        try:
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    best_fn=lambda metrics: metrics[_METRIC],  # without it the metrics are not written down
                    preservation_policy=keep,
                    create=create,
                    cleanup_tmp_directories=create,
                    read_only=not create,
                ),
                item_names=("state", "config"),
            )
        except Exception as error:  # orbax reads what stands beside each state, and raises many kinds
            raise CheckpointError(self._advice(error)) from error

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    @property
    def latest_step(self) -> int | None:
        """The step of the newest checkpoint; None where there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """The step of the best validation ELBO; the newest where none was validated; None where there is none."""
        best = self.best
        return best[0] if best else self.latest_step

    @property
    def best(self) -> tuple[int, float] | None:
        """The step of the best validation ELBO, and the ELBO, nats a sequence; None where none was validated."""
        scored = {step: self._metrics(step) for step in self._manager.all_steps()}
        scored = {step: m[_METRIC] for step, m in scored.items() if m and math.isfinite(m[_METRIC])}
        return max(scored.items(), key=lambda item: (item[1], item[0])) if scored else None

    def save(self, state: TrainState, config: dict[str, Any], elbo: float | None = None) -> None:
        """Write the state under its own step, in the background; ``elbo`` is the validation bound."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardSave(state), config=ocp.args.JsonSave(config)),
            # A bound that is not finite must not count as best, and push a good checkpoint out.
            metrics={_METRIC: elbo} if elbo is not None and math.isfinite(elbo) else None,
            force=True,
        )

    def wait(self) -> None:
        """Return when everything saved so far is on disk."""
        self._manager.wait_until_finished()

    def restore(self, like: TrainState, step: int) -> TrainState:
        """Read the state of ``step`` into the structure, shapes and shardings of ``like``.

        Raises:
          CheckpointError: the checkpoint is damaged, or belongs to another model.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract)))
            return restored["state"]
        except Exception as error:  # orbax and its stores raise many kinds; all mean the same to the user
            raise CheckpointError(self._advice(error, step)) from error

    def _advice(self, error: Exception, step: int | None = None) -> str:
        """Which checkpoint cannot be read, and what to do about it."""
        steps = sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdigit())
        damaged = {s for s in steps if s == step or not _whole_metadata(self.directory / str(s))}
        sound = [s for s in steps if s not in damaged]
        names = ", ".join(str(self.directory / str(s)) for s in sorted(damaged)) or str(self.directory)
        advice = "train again in a new workdir"
        if sound and damaged:
            advice = f"remove what is named to go on from step {sound[-1]}"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
        return f"the checkpoint {names} cannot be read, it is damaged or of another model; {advice} ({reason})"

    def config(self, step: int) -> dict[str, Any]:
        """What was saved beside the state of ``step``; empty where it cannot be read."""
        try:
            return self._manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore()))["config"]
        except Exception:  # the state itself may still be sound, and says so for itself
            return {}

    def _metrics(self, step: int) -> dict[str, float] | None:
        try:
            return self._manager.metrics(step)
        except Exception:  # a damaged metrics file must not hide the checkpoint itself
            return None


def _whole_metadata(folder: Path) -> bool:
    """Whether what orbax writes beside a state is whole JSON."""
    try:
        for path in (folder / "_CHECKPOINT_METADATA", *folder.glob("*/_METADATA")):
            json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
