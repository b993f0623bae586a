"""Train and score one row of the paper's tables, or read the row's JSON file if finished."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import platform
import time
from pathlib import Path
from typing import Any

import jax

from experiments.lib.cli import UserError
from experiments.lib.experiment import build, prepared
from experiments.lib.interpolation import interpolate
from experiments.lib.matching import match, parameter_count
from experiments.lib.run_folder import RestoredRun, flat, restore
from experiments.lib.scoring import evaluate
from experiments.lib.table_rows import config_of, tables
from experiments.lib.training_loop import train
from zf_jax.bounds.noise import seed_key
from zf_jax.data import subsample
from zf_jax.evaluation.length_regression import length_regression
from zf_jax.runs.metrics import read_metrics

SAMPLES = 25
SEQUENCES = {"smoke": 8, "small": 2500, "paper": 0}  # of a split, evenly spaced, that a scale scores; 0 means all


class Stopped(UserError):
    """A signal ended the training of a part."""


def run_part(
    table: str, row: str, seed: int, scale: str, workdir: Path, speech_set: str, dirs: dict[str, str], command: str
) -> dict[str, Any]:
    """Train and score one row with one seed, and return the result; read the JSON file if the row is finished.

    Raises:
      Stopped: the run was interrupted.
      UserError: the folder or the JSON file holds another config or scale.
    """
    part = workdir / "runs" / table / f"{row}-seed{seed}"
    file = workdir / "results" / f"{part_name(table, row, seed)}.json"
    config = copy.deepcopy(config_of(table, row, scale, speech_set, dirs))
    config.seed = seed
    if file.exists():
        found = _read(file)
        if found["scale"] != scale:
            raise UserError(f"{file} is of scale {found['scale']}, not {scale}: choose another --workdir")
        _check_config(found["config"], json.loads(config.to_json()), file)
        scored = max(
            found["figures"].get(f"{split}.elbo.num_sequences", 0) for split in tables(speech_set)[table].splits
        )
        if 0 < SEQUENCES[scale] < scored:
            raise UserError(
                f"{file} was scored on {scored} sequences, and other rows on at most {SEQUENCES[scale]}: "
                "choose another --workdir, or remove the file to have the row scored again"
            )
        return found
    experiment = build(config)
    if config.model.name != "zforcing" and scale == "small":
        ours = next(row for row in tables(speech_set)[table].rows if row == "ours" or row.startswith("zforcing"))
        equal = build(config_of(table, ours, scale, speech_set, dirs)).model
        config = match(config, experiment.data, parameter_count(equal))
        experiment = build(config)
    began = time.time() if not part.exists() else None  # a continued run is not timed: this process saw a part
    trained = train(config, str(part))
    if trained["interrupted"]:
        raise Stopped("stopped by a signal: run the same command again to continue")
    samples = 2 if scale == "smoke" else SAMPLES
    figures = {}
    run = restore(str(part))
    for split in tables(speech_set)[table].splits:
        for bound in ("elbo",) if table == "1-left" else ("elbo", "iwae"):
            scored = evaluate(
                str(part), split=split, bound=bound, num_samples=samples, num_sequences=SEQUENCES[scale], run=run
            )
            figures |= {f"{split}.{bound}.{k}": v for k, v in scored.items() if isinstance(v, (int, float))}
    if experiment.data.vocabulary is not None:
        figures |= _length_figures(run, 64 if scale == "smoke" else 5000)
    lines = [line for line in read_metrics(part) if line["split"] == "valid"]
    latents = experiment.model.latent_dim > 0
    if latents and config.train.pictures:
        interpolate(str(part), num_points=3 if scale == "smoke" else 11, run=run)
    result = {
        "table": table,
        "row": row,
        "scale": scale,
        "seed": seed,
        "command": command,
        "config": json.loads(config.to_json()),
        "parameters": parameter_count(experiment.model),
        "exact": not latents,
        "num_samples": samples,
        "last_step": trained["step"],
        "best_step": figures[f"{tables(speech_set)[table].splits[0]}.elbo.step"],
        "stopped_early": trained["stopped_early"],
        "seconds": None if began is None else time.time() - began,
        "figures": figures,
        "valid": [[line["step"], line["elbo_nats_per_sequence"], line["kl_nats_per_sequence"]] for line in lines],
        "folder": str(part.relative_to(workdir)),
        "device": jax.devices()[0].device_kind,
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", "optax")}
        | {"python": platform.python_version()},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".tmp")
    unfinished.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(file)
    return result


def _check_config(theirs: dict[str, Any], mine: dict[str, Any], file: Path) -> None:
    """Refuse a finished row of other settings; fields that only one of two versions has are not compared."""
    was, now = flat(theirs), flat(mine)
    free = {"data.dir", "data.cache_dir", "model.rnn_dim"}  # where the data lie; rnn_dim is matched
    changed = [name for name in now if name in was and name not in free and was[name] != now[name]]
    if changed:
        listed = "; ".join(f"config.{name} was {was[name]!r} and is now {now[name]!r}" for name in changed)
        raise UserError(f"{file} has a row of other settings: {listed}; choose another --workdir, or remove the file")


def _length_figures(run: RestoredRun, num_sequences: int) -> dict[str, float]:
    """Return the R² on test of the sentence length, regressed on latents or state of the first two steps."""
    train_split, test_split = (subsample(run.experiment.data.split(name), num_sequences) for name in ("train", "test"))
    params = prepared(run.experiment, run.state.params)
    key = seed_key(0, "length_regression")
    found = length_regression(run.experiment.model, params, train_split, test_split, key=key, num_steps=2)
    names = {"latents": "drawn_latents", "state": "state", "num_test": "sentences"}
    return {f"test.length_r2.{name}": found[one] for one, name in names.items() if found.get(one) is not None}


def part_name(table: str, row: str, seed: int) -> str:
    """Return the name of the file, without ``.json``, that holds the results of one part."""
    return f"{table}-{row}-seed{seed}"


def read_results(workdir: Path) -> list[dict[str, Any]]:
    """Return the results of all finished parts of a workdir."""
    return [_read(path) for path in sorted((workdir / "results").glob("*.json"))]


def _read(file: Path) -> dict[str, Any]:
    """Return the result in a file; ``UserError`` if it holds none, as where a copy of it was cut short."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not {"table", "row", "seed", "scale", "config", "figures"} <= found.keys():
            raise ValueError("it is of another kind")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{file} is no result of a row ({error}): remove it, and the row is scored again from its run, or trained"
        ) from None
    return found
