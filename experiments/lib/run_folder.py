"""The folder of a run: its config, and what may change when it goes on."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from experiments.configs.base import get_base
from experiments.lib.cli import UserError, warn
from experiments.lib.experiment import Experiment, build, initial_state
from zf_jax.data import DataSet
from zf_jax.data.description import changes
from zf_jax.data.registry import option_defaults
from zf_jax.runs.checkpoints import Checkpoints, OtherModel
from zf_jax.runs.held import held
from zf_jax.sharding import any_process
from zf_jax.training import TrainState, evaluated_params

# What may differ when a run goes on: how long it is, how often it reports, where the same data lie.
_MAY_CHANGE = {
    "train.num_steps",
    "train.log_every",
    "train.eval_every",
    "train.checkpoint_every",
    "train.keep_every",
    "train.eval_batch_size",
    "train.eval_sequences",
    "train.patience",
    "train.pictures",
    "train.max_skipped_in_a_row",
    "train.updates_per_call",
    "parallel.shard_params",
    "data.dir",
}

# What may also differ once a run has diverged.
_AFTER_DIVERGENCE = {"train.learning_rate", "train.warmup_steps", "train.decay_steps", "train.clip_norm"}


@contextlib.contextmanager
def opened(workdir: str, config: Any) -> Iterator[Path]:
    """The folder to train in, made or found to hold this config's run, ``config.json`` written, kept from other runs.

    The place of the data stays the one written before: call ``keep_place`` once they are known to be the run's.

    Raises:
      UserError: the folder cannot be made, holds a run of another config (the message says what differs), or another
        run is training in it.
    """
    path = Path(workdir)
    with contextlib.ExitStack() as stack:
        with _by_process_0(path) as mine:
            if mine:
                stack.enter_context(held(path))
                _write(path, _going_on(path, config))
        yield path


def keep_place(path: Path, config: Any) -> None:
    """Write where the data lie now into ``config.json``; ``UserError`` if that cannot be written."""
    with _by_process_0(path) as mine:
        if mine:
            _write(path, json.loads(config.to_json()))


@contextlib.contextmanager
def _by_process_0(path: Path) -> Iterator[bool]:
    """Whether this process writes; what process 0 is refused in the context ends all processes with a sentence."""
    refused = ""
    try:
        yield jax.process_index() == 0
    except UserError as error:
        refused = str(error)
    except BlockingIOError:
        refused = f"another run is training in {path}: wait for its end, or choose another --workdir"
    except OSError as error:
        refused = f"the workdir {path} cannot be made or written: {error.strerror}"
    if any_process(refused != ""):
        raise UserError(refused or f"process 0 was refused the workdir {path}, and says why")


def _going_on(path: Path, config: Any) -> dict[str, Any]:
    """Return a config that may go on with the run in a folder, if there is one, with the place of the run's data."""
    mine = json.loads(config.to_json())
    theirs = _stored(path)
    if theirs is not None:
        # An option of the data that is younger than the run has its default there.
        younger = {k: v for k, v in option_defaults(mine["data"]["name"]).items() if k in mine["data"]}
        theirs["data"] = younger | theirs["data"]
        differing = sorted(_differences(theirs, mine))
        may_change = _MAY_CHANGE | (_AFTER_DIVERGENCE if (path / "diverged.json").exists() else set())
        changed = [name for name in differing if name not in may_change]
        if changed:
            was, now = flat(theirs), flat(mine)
            listed = "; ".join(f"config.{k} was {was.get(k)!r} and is now {now.get(k)!r}" for k in changed)
            raise UserError(f"{path} holds a run of another configuration: {listed}; choose another --workdir")
        mine["data"]["dir"] = theirs["data"]["dir"]
    return mine


def _write(path: Path, config: dict[str, Any]) -> None:
    unfinished = path / "config.json.tmp"
    unfinished.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, path / "config.json")


def _stored(path: Path) -> dict[str, Any] | None:
    """Return the run's config, from a checkpoint if ``config.json`` is damaged; None if there is no run."""
    if not (path / "config.json").exists() and not (path / "checkpoints").is_dir():
        return None
    try:
        return _read(path)
    except UserError as error:
        if not (path / "checkpoints").is_dir():
            raise
        with Checkpoints(path, create=False, warn=warn) as checkpoints:
            for step in reversed(checkpoints.steps()):
                saved = checkpoints.config(step)
                if saved:
                    warn(f"{error}: the config beside the checkpoint of step {step} is read instead")
                    saved.pop("data_fingerprint", None)
                    return _with_defaults(saved, path)
        if (path / "config.json").exists():
            raise
        return None


def read_config(workdir: str) -> Any:
    """The config of the run in ``workdir``.

    Raises:
      UserError: there is none, or it cannot be read.
    """
    path = Path(workdir)
    found = _stored(path)
    if found is None:
        raise UserError(f"there is no run in {workdir}: train one there first, with zf_jax train")
    return ConfigDict(found)


def check_fingerprint(saved: dict[str, Any], data: DataSet) -> None:
    """Raise ``UserError`` where the data are not those of the checkpoint that ``saved`` came with."""
    changed = changes(saved.get("data_fingerprint"), data)
    if changed:
        raise UserError(f"the data of {data.name} are not those that the run was trained on: {changed}")


def _read(path: Path) -> dict[str, Any]:
    try:
        written = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path / 'config.json'} cannot be read ({reason})") from error
    return _with_defaults(written, path)


def _with_defaults(written: Any, path: Path) -> dict[str, Any]:
    # A field that is younger than the run has its default there.
    merged = json.loads(get_base().to_json())
    try:
        for name, value in written.items():
            merged[name] = merged[name] | value if isinstance(merged.get(name), dict) else value
        for name, default in flat(json.loads(get_base().to_json())).items():
            value = flat(merged)[name]
            numbers = isinstance(value, (int, float)) and isinstance(default, (int, float))
            if default is not None and type(value) is not type(default) and not numbers:
                raise TypeError(name)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path / 'config.json'} is no config") from error
    return merged


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested dict by dotted name, as ``"train.num_steps"``."""
    found = {}
    for name, value in tree.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _differences(a: dict[str, Any], b: dict[str, Any]) -> set[str]:
    a, b = flat(a), flat(b)
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


class RestoredRun(NamedTuple):
    """A run with its data.

    Attributes:
      experiment: what its config stands for.
      state: that of one checkpoint.
      path: its folder.
    """

    experiment: Experiment
    state: TrainState
    path: Path


def restore(
    workdir: str, checkpoint: str = "best", data_dir: str | None = None, run: RestoredRun | None = None
) -> RestoredRun:
    """Return the run in ``workdir`` at the ``"best"`` or ``"latest"`` checkpoint.

    The state's parameters are those to evaluate: their average, where the run keeps one.

    Args:
      data_dir: where the run's data lie now; None where ``config.data.dir`` says.
      run: the run at its best checkpoint, if the caller has restored it already; returned.

    Raises:
      UserError: there is no run, or the data are not those that it was trained on.
      DataError: the data are missing or damaged.
      CheckpointError: it has no checkpoint, or a damaged one.
    """
    if run is not None:
        if (run.path, checkpoint, data_dir) != (Path(workdir), "best", None):
            raise ValueError(f"the run that is given is the best checkpoint of {run.path}, and another is asked for")
        return run
    if checkpoint not in ("best", "latest"):
        raise UserError(f"unknown checkpoint {checkpoint!r}: choose best or latest")
    config = read_config(workdir)
    if data_dir is not None:
        config.data.dir = data_dir
    with Checkpoints(workdir, create=False, warn=warn) as checkpoints:
        if checkpoints.latest_step is None:
            raise UserError(f"the run in {workdir} has no checkpoint yet; train it first, with zf_jax train")
        # Batches are shared by all devices here, so a size that suited training need not suit this machine.
        experiment = build(config, any_batch_size=True)
        try:
            found = checkpoints.restore_newest(initial_state(experiment, whole=True), checkpoint)
        except OtherModel:
            # Other data may make another model, of another vocabulary: then it is the data that are named.
            check_fingerprint(checkpoints.config(max(checkpoints.steps())), experiment.data)
            raise
        if found is None:
            raise UserError(f"the checkpoints of {workdir} were deleted while they were read")
        state, step = found
        check_fingerprint(checkpoints.config(step), experiment.data)
        return RestoredRun(experiment, state._replace(params=evaluated_params(state)), Path(workdir))
