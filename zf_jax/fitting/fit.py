"""Train from Python: in a script, a notebook, or a thread."""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from zf_jax.bounds.noise import seed_key
from zf_jax.data import DataSet
from zf_jax.data.description import changes, fingerprint
from zf_jax.density import Density
from zf_jax.fitting.hooks import Callback
from zf_jax.fitting.loop import Loop
from zf_jax.fitting.result import Fitted
from zf_jax.fitting.settings import FitSettings
from zf_jax.models.base import Model, Wrapped
from zf_jax.objective.bag_of_words import with_head
from zf_jax.objective.loss import trainable
from zf_jax.objective.settings import Objective
from zf_jax.sharding import any_process, check_batch_size, data_mesh, replicated
from zf_jax.training import Schedules, TrainState, make_init, make_optimizer
from zf_jax.typing import Params

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of an object without a repr of its own, another in every process


def fit(
    model: Model | Density,
    data: DataSet,
    settings: FitSettings = FitSettings(),
    *,
    optimizer: Any = None,
    schedules: Schedules = Schedules(),
    objective: Objective = Objective(),
    seed: int = 0,
    params: Params | None = None,
    state: TrainState | None = None,
    workdir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    mesh: Mesh | None = None,
) -> Fitted:
    """Train ``model`` on the split ``"train"`` of ``data``, and validate on ``"valid"`` if there is one.

    The position in the data and the noise depend on ``seed`` and on the step alone: a training that goes on from
    ``state``, or from a checkpoint in ``workdir``, ends bit for bit where one that was never stopped ends, given the
    same settings.  No signal handler is set, so that a thread may train.

    Args:
      optimizer: any of optax; Adam at 1e-3 by default, its gradients clipped at a global norm of 100.
      schedules: the objective's weights as functions of the step.
      seed: of the parameters, the order of the data and the noise.
      params: parameters to begin with, instead of the model's own; copied.  Those that only the objective adds may be
        absent.
      state: where an earlier training ended; copied.  Patience counts from there: the state does not hold the best
        validation.
      workdir: a folder for ``checkpoints/`` and ``metrics.jsonl``.  A folder that has checkpoints is gone on with, and
        then ``params`` is not read.
      callbacks: functions of a ``Report``, called after every log line and every validation.  One that returns True
        ends the training.
      mesh: the devices; all of them by default.

    Raises:
      ValueError: arguments that do not go together; ``workdir`` holds another training, or cannot be written.
      CheckpointError: a checkpoint cannot be read or written.
      NotFinite: the updates, or the parameters, were not finite.
      DataError: the data cannot be read.
    """
    for name, value, kind, made in (
        ("model", model, (Model, Density, Wrapped), "what zf_jax.build_model returns"),
        ("data", data, DataSet, "what zf_jax.data.load or zf_jax.data.from_arrays returns"),
        ("settings", settings, FitSettings, "a zf_jax.FitSettings"),
        ("schedules", schedules, Schedules, "a zf_jax.Schedules"),
        ("objective", objective, Objective, "a zf_jax.Objective"),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be {made}, not {type(value).__name__}")
    if optimizer is not None and not hasattr(optimizer, "update"):
        raise TypeError(f"optimizer must be one of optax, such as optax.adam(1e-3), not {type(optimizer).__name__}")
    seed = operator.index(seed)  # Python's own, which is written as JSON
    if callable(callbacks):
        raise TypeError("callbacks must be a list of functions: give [callback]")
    if state is not None and (params is not None or workdir is not None):
        raise ValueError("give a state to go on from, or params, or a workdir, whose checkpoint has its own state")
    if workdir is not None:
        if "://" in str(workdir):
            raise ValueError(f"workdir {workdir}: only folders of a file system can be used; mount the store as one")
        workdir = Path(workdir).expanduser()
    if settings.patience and "valid" not in data.splits:
        raise ValueError("patience needs a split 'valid' to validate on: leave patience 0, or add one")
    if data.observation != model.observation:
        raise ValueError(f"the model is for {model.observation}, and the data are {data.observation}")
    mesh = data_mesh() if mesh is None else mesh
    check_batch_size(settings.batch_size, mesh, settings.accumulate)
    model = trainable(model, objective)
    optimizer = make_optimizer(1e-3, 100.0) if optimizer is None else optimizer
    begin = _first_state(model, optimizer, seed, params, mesh) if state is None else _copy(state, mesh)
    options: dict[str, Any] = {"schedules": schedules, "objective": objective, "seed": seed, "callbacks": callbacks}
    if workdir is None:
        return Loop(model, data, optimizer, mesh, settings, **options).run(begin)

    from zf_jax.runs.checkpoints import Checkpoints
    from zf_jax.runs.metrics import MetricWriter

    saved = _record(model, data, settings, objective, seed)
    with contextlib.ExitStack() as stack:
        _hold(stack, workdir)
        checkpoints = stack.enter_context(Checkpoints(workdir, keep_every=settings.keep_every))
        found = checkpoints.restore_newest(begin)
        if found is not None:
            begin = found[0]
            _check_record(checkpoints.config(found[1]), saved, workdir, data)
        if int(begin.skipped_in_a_row) >= settings.max_skipped_in_a_row:  # it diverged here, and tries again
            begin = begin._replace(skipped_in_a_row=begin.skipped_in_a_row * 0)
        writer = stack.enter_context(MetricWriter(workdir, resume_step=int(begin.step)))
        options |= {"checkpoints": checkpoints, "saved": saved, "writer": writer}
        return Loop(model, data, optimizer, mesh, settings, **options).run(begin)


def _first_state(model: Model | Density, optimizer: Any, seed: int, params: Params | None, mesh: Mesh) -> TrainState:
    """The state before the first update, on every device, from the model's own parameters or from those given."""
    state = make_init(model, optimizer, mesh)(seed_key(seed))
    if params is None:
        return state
    params = with_head(params, state.params)
    mine, given = _shapes(state.params), _shapes(params)
    differing = sorted(name for name in mine.keys() | given.keys() if mine.get(name) != given.get(name))
    if differing:
        name = differing[0]
        there, here = (shapes.get(name, "absent") for shapes in (given, mine))
        raise ValueError(
            f"params are not of this model: {len(differing)} arrays differ, as {name}, given {there}, here {here}"
        )
    params = _copy(params, mesh)
    return state._replace(params=params, opt_state=jax.jit(optimizer.init, out_shardings=replicated(mesh))(params))


def _shapes(params: Params) -> dict[str, list[int]]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): list(jnp.shape(leaf)) for path, leaf in leaves}


def _copy(tree: Any, mesh: Mesh) -> Any:
    """A copy on every device, since the train step reuses the buffers of its state."""
    return jax.tree.map(lambda x: jnp.copy(jax.device_put(x, replicated(mesh))), tree)


def _hold(stack: contextlib.ExitStack, workdir: Path) -> None:
    """Keep other trainings out of the folder until the end of ``stack``; process 0 for all."""
    from zf_jax.runs.held import held

    refused = ""
    if jax.process_index() == 0:
        try:
            stack.enter_context(held(workdir))
        except BlockingIOError:
            refused = f"another training is in {workdir}: wait for its end, or choose another workdir"
        except OSError as error:
            refused = f"the workdir {workdir} cannot be made or written: {error.strerror}; choose another workdir"
    if any_process(refused != ""):  # the other processes wait here for process 0
        raise ValueError(refused or f"process 0 was refused the workdir {workdir}, and says why")


def _record(
    model: Model | Density, data: DataSet, settings: FitSettings, objective: Objective, seed: int
) -> dict[str, Any]:
    """What must not change when a training goes on, as JSON; ``data_fingerprint`` is compared by ``changes``."""
    train = data.split("train")
    return {
        "seed": seed,
        "batch_size": settings.batch_size,
        "accumulate": settings.accumulate,
        "model": _ADDRESS.sub("", repr(model)),
        "objective": _ADDRESS.sub("", repr(objective)),
        "data": data.name,
        "training_sequences": len(train),
        "training_steps": int(np.sum(train.lengths)),
        "data_fingerprint": fingerprint(data),
    }


def _check_record(theirs: dict[str, Any], mine: dict[str, Any], workdir: str | Path, data: DataSet) -> None:
    if not theirs:  # damaged, which was warned of
        return
    saved = theirs.pop("data_fingerprint", None)  # runs of older versions have none
    mine = {name: value for name, value in mine.items() if name != "data_fingerprint"}
    if theirs.keys() != mine.keys():
        raise ValueError(f"{workdir} holds a run of another program: choose another workdir")
    differing = [name for name in mine if _plain_text(theirs[name]) != _plain_text(mine[name])]
    changed = [f"{name} was {theirs[name]} and is now {mine[name]}" for name in differing]
    changed += [found for found in [changes(saved, data)] if found]
    if changed:
        raise ValueError(f"{workdir} holds another training: {'; '.join(changed)}; choose another workdir")


def _plain_text(recorded: Any) -> Any:
    """Return a record's ``repr`` as it is now: older versions kept lists, and numpy's numbers, ``np.int64(3)``."""
    if not isinstance(recorded, str):
        return recorded
    recorded = re.sub(r"\bnp\.\w+\(([^()]*)\)", r"\1", recorded)
    one = re.sub(r"\[([^\[\],]+)\]", r"(\1,)", recorded)
    return re.sub(r"\[([^\[\]]*)\]", r"(\1)", one)
