"""A finished or running experiment, read back from its folder."""

from __future__ import annotations

from pathlib import Path

from experiments.builder import Experiment, build, initial_state
from experiments.command_line import UserError, warn
from experiments.workdir import check_fingerprint, read_config
from zf_jax.runs.checkpoints import Checkpoints
from zf_jax.training import TrainState


def restore(workdir: str, checkpoint: str = "best") -> tuple[Experiment, TrainState, Path]:
    """The experiment in ``workdir``, its state at the ``"best"`` or ``"latest"`` checkpoint, and the folder.

    Raises:
      UserError: there is no run.
      CheckpointError: it has no checkpoint, or a damaged one.
    """
    if checkpoint not in ("best", "latest"):
        raise UserError(f"unknown checkpoint {checkpoint!r}: choose best or latest")
    config = read_config(workdir)
    with Checkpoints(workdir, create=False, warn=warn) as checkpoints:
        if checkpoints.latest_step is None:
            raise UserError(f"the run in {workdir} has no checkpoint yet; train it first, with experiments.train")
        # Batches are shared by all devices here, so a size that suited training need not suit this machine.
        experiment = build(config, any_batch_size=True)
        found = checkpoints.restore_newest(initial_state(experiment), checkpoint)
        if found is None:
            raise UserError(f"the checkpoints of {workdir} were deleted while they were read")
        state, step = found
        check_fingerprint(checkpoints.config(step), experiment.data)
        return experiment, state, Path(workdir)
