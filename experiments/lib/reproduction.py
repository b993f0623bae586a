"""Train and score one row of the paper's tables, or read the row's JSON file if finished."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import platform
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import soundfile

from experiments import family
from experiments.configs import digits
from experiments.lib import paper
from experiments.lib.cli import UserError
from experiments.lib.experiment import build, prepared
from experiments.lib.grid import grid_config, settings
from experiments.lib.interpolation import interpolate
from experiments.lib.matching import match, parameter_count
from experiments.lib.run_folder import RestoredRun, flat, restore
from experiments.lib.scoring import evaluate
from experiments.lib.training_loop import train
from zf_jax.data import subsample
from zf_jax.evaluation.length_regression import length_regression
from zf_jax.runs.metrics import read_metrics

SPEECH = ("rnn", "rnn_gmm", "vrnn_i", "vrnn", "vrnn_gmm", "srnn", "ours", "kla", "aux", "kla_aux")
DIGITS = ("rnn", "storn", "vrnn", "srnn", "ours", "kla", "aux", "kla_aux")
ZFORCING = ("ours", "kla", "aux", "kla_aux", "aux_0.0025", "aux_0.005")
SAMPLES = 25
_TINY = {"rnn_dim": 6, "latent_dim": 2, "mlp_dim": 4, "embed_dim": 4}


class Stopped(UserError):
    """A signal ended the training of a part."""


class Table(NamedTuple):
    """The rows of a table, the splits to score, and the paper's numbers."""

    title: str
    rows: tuple[str, ...]
    splits: tuple[str, ...]
    figure: str  # the column of the JSON files that the paper prints
    unit: str
    paper: dict[str, paper.Number]


def tables(speech_set: str) -> dict[str, Table]:
    """Return the tables by name; table 1, left, has the paper's numbers for TIMIT and Blizzard only."""
    nats = "nats/sequence, higher is better"
    published = {"timit": paper.TIMIT, "blizzard": paper.BLIZZARD}.get(speech_set, {})
    test = "test_chunks" if speech_set == "blizzard" else "test"
    return {
        "digits": Table("Digits, row by row", DIGITS, ("valid", "test"), "test.iwae.nats_per_sequence", nats, {}),
        "grid": Table(
            "Grid of settings: digits, row by row",
            tuple(settings()),
            ("valid", "test"),
            "test.iwae.nats_per_sequence",
            nats,
            {},
        ),
        "1-left": Table(
            f"Table 1, left: speech ({speech_set})", SPEECH, (test,), f"{test}.elbo.nats_per_sequence", nats, published
        ),
        "1-right": Table(
            "Table 1, right: MNIST", ("rnn", "ours", "aux"), ("test",), "test.elbo.nats_per_sequence", nats, paper.MNIST
        ),
        "2": Table(
            "Table 2: IMDB",
            ("rnn", "ours", "aux_0.0025", "aux_0.005"),
            ("valid", "test"),
            "test.elbo.perplexity",
            "perplexity per word, lower is better",
            paper.IMDB,
        ),
    }


def config_of(table: str, row: str, scale: str, speech_set: str, dirs: dict[str, str]) -> Any:
    """Return the config of one row at a scale; ``dirs`` has the folders of ``speech``, ``mnist`` and ``imdb``."""
    if table in ("digits", "grid"):
        config = _digits(row) if table == "digits" else grid_config(row)
        return _smoke(config, row, "digits", {}) if scale == "smoke" else config
    file = {"1-left": f"{speech_set}.py", "1-right": "mnist.py", "2": "imdb.py"}[table]
    if scale == "paper":
        config = family.get_config(file, row)
    else:
        config = family.get_config(file, f"{row}_small" if row in ZFORCING else "small")
        if row not in ZFORCING:
            config.model.name = row.removesuffix("_gmm")
            config.model.emission = "gmm" if row.endswith("_gmm") else ""
            config.objective.update(aux_weight=0.0, reverse_weight=0.0)
            config.objective.update(kl_temperature_start=1.0, kl_temperature_steps=0)
    kind = {"1-left": "speech", "1-right": "mnist", "2": "imdb"}[table]
    config.data.dir = dirs.get(kind, "")
    if kind == "speech" and "split_by" in config.data and dirs.get("split_by"):
        config.data.split_by = dirs["split_by"]
    return _smoke(config, row, table, dirs) if scale == "smoke" else config


def _digits(row: str) -> Any:
    """Return the config of a row of ``digits``; all rows but ``ours`` and ``aux`` anneal the KL."""
    config = digits.get_config()
    if row in ZFORCING:
        if row in ("ours", "aux"):
            config.objective.update(kl_temperature_start=1.0, kl_temperature_steps=0)
        if row in ("aux", "kla_aux"):
            config.objective.update(aux_weight=0.005, reverse_weight=0.005)
    else:
        config.model.name = row
    return config


def _smoke(config: Any, row: str, table: str, dirs: dict[str, str]) -> Any:
    """Return the config with tiny sizes, two updates and generated data, as a test of the program.

    Only row ``ours`` draws pictures, because what draws takes longer to compile than what trains.
    """
    config.model.update(_TINY)
    if config.model.emission == "gmm":
        config.model.num_components = 2
    config.train.update(num_steps=2, batch_size=4, log_every=1, eval_every=2, checkpoint_every=2, decay_steps=0)
    config.train.update(eval_sequences=4, eval_batch_size=8, pictures=row == "ours")
    if table == "1-right":
        config.data.name = "digits"
        config.data.dir = ""
    elif table != "digits":
        made = Path(dirs["made"])
        config.data.dir = str(made / ("speech" if table == "1-left" else "text.txt"))
        config.data.cache_dir = str(made / "cache")
        if table == "2":
            config.data.name = "text_folder"
            config.data.vocabulary_size = 30
    return config


def make_smoke_data(folder: Path) -> None:
    """Write 24 recordings of a noisy tone and 300 sentences, the data of scale ``smoke``."""
    rng = np.random.default_rng(0)
    (folder / "speech").mkdir(parents=True, exist_ok=True)
    for number in range(24):
        time_ = np.arange(9000) / 16000
        tone = 6000 * np.sin(2 * np.pi * rng.uniform(100, 900) * time_) + rng.normal(0, 500, time_.size)
        soundfile.write(folder / "speech" / f"{number}.wav", tone.astype(np.int16), 16000, subtype="PCM_16")
    nouns, verbs = ("film", "story", "cast", "score"), ("moves", "fails", "works", "ends")
    ends = ("well", "very well", "badly", "very very badly")
    sentences = [f"the {rng.choice(nouns)} {rng.choice(verbs)} {rng.choice(ends)}." for _ in range(300)]
    (folder / "text.txt").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")


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
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["scale"] != scale:
            raise UserError(f"{file} is of scale {found['scale']}, not {scale}: choose another --workdir")
        _check_config(found["config"], json.loads(config.to_json()), file)
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
    few = 8 if scale == "smoke" else 0
    figures = {}
    run = restore(str(part))
    for split in tables(speech_set)[table].splits:
        for bound in ("elbo",) if table == "1-left" else ("elbo", "iwae"):
            how = {"num_samples": samples, "num_sequences": few}
            scored = evaluate(str(part), split=split, bound=bound, **how, run=run)
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
    found = length_regression(run.experiment.model, params, train_split, test_split, num_steps=2)
    names = {"latents": "latents", "state": "state", "num_test": "sentences"}
    return {f"test.length_r2.{name}": found[key] for key, name in names.items() if found.get(key) is not None}


def part_name(table: str, row: str, seed: int) -> str:
    """Return the name of the file, without ``.json``, that holds the results of one part."""
    return f"{table}-{row}-seed{seed}"


def read_results(workdir: Path) -> list[dict[str, Any]]:
    """Return the results of all finished parts of a workdir."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((workdir / "results").glob("*.json"))]
