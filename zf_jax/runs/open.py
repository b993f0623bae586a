"""Open a run from Python: its model and parameters, and what its data are, without the data or the optimiser."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from zf_jax.data import DataError, DataSet, load
from zf_jax.data.description import DataDescription, changes
from zf_jax.density import Density
from zf_jax.models import Model
from zf_jax.objective.bag_of_words import with_bag_of_words
from zf_jax.runs.build import build_run_model
from zf_jax.runs.errors import OtherModel, RunError
from zf_jax.runs.run import Run
from zf_jax.typing import Params

if TYPE_CHECKING:  # orbax is slow to import
    from zf_jax.runs.checkpoints import Checkpoints


def open_run(
    workdir: str | Path,
    checkpoint: str = "best",
    *,
    model: Model | Density | None = None,
    data_dir: str | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Run:
    """Open the run in a folder: build its model and read its parameters, whose digests are checked.

    Args:
      workdir: the folder that ``zf_jax train`` or ``zf_jax.fit`` wrote.
      checkpoint: ``"best"``, of the best validation ELBO, or ``"latest"``.
      model: of a run of ``zf_jax.fit``, which keeps no config to build the model from.
      data_dir: where the data lie; read only where the run is older than descriptions of data.
      warn: told, in one sentence, about damage that costs no more than a checkpoint.

    Raises:
      RunError: there is no run or no checkpoint, all are damaged, or the data of an old run cannot be loaded.
      ValueError: an unknown checkpoint, or a config that this version cannot build.
    """
    if checkpoint not in ("best", "latest"):
        raise ValueError(f"unknown checkpoint {checkpoint!r}: choose best or latest")
    from zf_jax.runs.checkpoints import Checkpoints

    if "://" in str(workdir):
        raise RunError(f"workdir {workdir}: only folders of a file system can be used; mount the store as one")
    path = Path(workdir).expanduser()
    with Checkpoints(path, create=False, warn=warn) as checkpoints:

        def read(step: int) -> Run:
            config = _config_of(path, checkpoints.config(step))
            described = checkpoints.description(step)
            if described is None:
                data = _description_of_old(path, config, data_dir)
            else:
                data = DataDescription.from_json(described)
            built = _model_of(path, config, data) if model is None else model
            built, params = _with_params(checkpoints, built, step)
            return Run(path, built, params, step, config, data, config.pop("data_fingerprint", None))

        found = checkpoints.newest(checkpoint, read)
    if found is None:
        raise RunError(f"the run in {path} has no checkpoint yet; train it first, with zf_jax train")
    return found[0]


def _with_params(checkpoints: Checkpoints, model: Any, step: int) -> tuple[Any, Params]:
    """Return the model and its parameters of a checkpoint; the model with f_bag where ``fit`` trained that too."""
    try:
        return model, checkpoints.restore_params(jax.eval_shape(model.init, jax.random.key(0)), step)
    except OtherModel:
        if isinstance(model, Model):
            with contextlib.suppress(OtherModel, ValueError):
                whole = with_bag_of_words(model)
                return whole, checkpoints.restore_params(jax.eval_shape(whole.init, jax.random.key(0)), step)
        raise


def _model_of(path: Path, config: dict[str, Any], data: DataDescription) -> Model | Density:
    if not isinstance(config.get("model"), dict):
        raise RunError(
            f"the run in {path} is of zf_jax.fit, which keeps no config of its model: open it from Python, with "
            "zf_jax.open_run(DIR, model=model)"
        )
    return build_run_model(config, data)


def _config_of(path: Path, saved: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's config with the place of the data that ``config.json`` has, which may be newer."""
    if not saved:
        return _config_file(path)
    with contextlib.suppress(RunError, KeyError, TypeError):  # a run of zf_jax.fit has no such file
        saved["data"]["dir"] = _config_file(path)["data"]["dir"]
    return saved


def _config_file(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path / 'config.json'} cannot be read ({error}): train again in a new workdir") from error


def _description_of_old(path: Path, config: dict[str, Any], data_dir: str | None) -> DataDescription:
    """Describe the data of a run that has no description by loading them."""
    options = {name: value for name, value in config["data"].items() if name not in ("name", "dir")}
    folder = data_dir or config["data"]["dir"] or None
    try:
        data: DataSet = load(config["data"]["name"], data_dir=folder, **options)
    except DataError as error:
        raise RunError(
            f"the run in {path} is older than descriptions of data, and its data cannot be loaded ({error.fact}): pass "
            "their folder as data_dir, or train it one update further with zf_jax train"
        ) from error
    if changes(config.get("data_fingerprint"), data):
        raise RunError(f"the data in {folder} are not those that the run in {path} was trained on: pass their folder")
    return DataDescription.of(data)
