"""Begin a run with the parameters of another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.lib.cli import UserError, warn
from experiments.lib.experiment import Experiment
from zf_jax.runs.checkpoints import CheckpointError, Checkpoints
from zf_jax.training import TrainState
from zf_jax.typing import Params

_RECORD = "init_from.json"


class StartingPoint(NamedTuple):
    """The best parameters of another run.

    Attributes:
      run: its folder.
      step: the step of the checkpoint.
      params: the parameters.
    """

    run: str
    step: int
    params: Params


def starting_point(init_from: str | None, workdir: str, experiment: Experiment) -> StartingPoint | None:
    """Read the parameters that the run in ``workdir`` is to begin with; None for its own, or if it has begun.

    A run that ended before its first checkpoint begins where it began before.

    Args:
      init_from: the folder of another run; None where none was asked for.

    Raises:
      UserError: the run in ``workdir`` began elsewhere, or the other run has no checkpoint of parameters like these;
        nothing was written.
    """
    path = Path(workdir)
    recorded = _recorded(path)
    asked = None if init_from is None else str(Path(init_from).absolute())
    if asked is not None and recorded not in (None, asked):
        raise UserError(f"{path} holds a run that began from {recorded}, not {init_from}: choose another --workdir")
    if any(checkpoint.name.isdigit() for checkpoint in (path / "checkpoints").glob("*")):
        if asked is not None and recorded is None:
            raise UserError(
                f"{path} holds a run that began with parameters of its own: choose another --workdir to begin from "
                f"{init_from}"
            )
        return None
    source = asked or recorded
    if source is None:
        return None
    shapes = jax.eval_shape(experiment.model.init, jax.random.key(0))
    try:
        with Checkpoints(source, create=False, warn=warn) as theirs:
            found = theirs.newest("best", lambda step: theirs.restore_params(shapes, step))
    except CheckpointError as error:
        raise UserError(f"--init_from={source}: {error}") from error
    if found is None:
        raise UserError(f"--init_from={source}: that run has no checkpoint yet; train it first")
    return StartingPoint(source, found[1], found[0])


def begin(point: StartingPoint, path: Path, experiment: Experiment, state: TrainState) -> TrainState:
    """Return the initial state with the other run's parameters, and write down in ``path`` whose they are."""
    if jax.process_index() == 0:
        record = json.dumps({"run": point.run, "step": point.step}) + "\n"
        (path / _RECORD).write_text(record, encoding="utf-8")
    where = jax.tree.map(lambda leaf: leaf.sharding, state)
    params = jax.device_put(jax.device_get(point.params), where.params)
    init = jax.jit(experiment.optimizer.init, out_shardings=where.opt_state)
    return state._replace(params=params, opt_state=init(params))


def _recorded(path: Path) -> str | None:
    """The run that this one began from, as it is written down."""
    file = path / _RECORD
    if not file.exists():
        return None
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))["run"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} cannot be read: delete it, and name the run again with --init_from") from error
    return str(found)
