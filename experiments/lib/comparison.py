"""Train models with one config, evaluate all with the same bounds, and add simple baselines."""

from __future__ import annotations

import copy
import math
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.lib.cli import UserError, finite, write_json
from experiments.lib.diagnosis import latent_figures
from experiments.lib.experiment import Experiment, build, initial_state, units
from experiments.lib.matching import match, parameter_count
from experiments.lib.run_folder import restore
from experiments.lib.scoring import evaluate
from experiments.lib.training_loop import train
from zf_jax.bounds.noise import seed_key
from zf_jax.data import subsample, train_batches
from zf_jax.densities import of
from zf_jax.density import Density
from zf_jax.evaluation.baselines import baselines
from zf_jax.evaluation.units import summarise
from zf_jax.sharding import global_batch

DIAGNOSED = 256  # sequences for the count of active units
ROUNDS = 5  # timings per model


def compare(
    config: Any,
    workdir: Path,
    *,
    models: list[str],
    seeds: list[int],
    num_samples: int,
    num_sequences: int = 0,
    split: str = "test",
    match_parameters: bool = False,
) -> list[dict[str, Any]]:
    """Return one row per model and one row per baseline, and write the rows to ``workdir/compare.json``.

    Figures are means over seeds.  With several seeds, ``<name>.spread`` is the standard deviation over seeds
    and ``<name>.values`` has the figure of each, in the order of ``seeds``.
    ``<name>_stderr`` is the standard error over sequences, averaged over seeds, because all seeds score the same
    sequences.

    Args:
      config: the config of every model but for name, emission, seed and, if matched, rnn_dim.
      workdir: the folder of all runs.
      models: names such as ``"vrnn"``, or ``"vrnn:gmm"`` for another emission than the config's.
      seeds: the seeds with which every model is trained.
      num_samples: K of the IWAE bound.
      num_sequences: the number of evenly spaced sequences to score; 0 for all.
      split: the split to score.
      match_parameters: choose each rnn_dim so that the parameter count is nearest to the first model's.

    Raises:
      UserError: an argument is wrong, a folder holds another run, or a signal stopped the training.
    """
    if not models or not seeds or num_samples < 1:
        raise UserError("a comparison needs at least one model, one seed and one sample")
    if match_parameters and len(models) < 2:
        raise UserError("--match_parameters matches the first model's count: name two models at least")
    if num_sequences < 0:
        raise UserError(f"--num_sequences must be at least 0, which means all: {num_sequences}")
    if any(name.endswith(":") for name in models):
        raise UserError(f"a model is NAME or NAME:EMISSION, not {', '.join(n for n in models if n.endswith(':'))}")
    configs = [_for_model(config, name) for name in models]
    experiments = [build(one) for one in configs]  # checks every config before the first training
    data = experiments[0].data
    data.split(split)
    labels = [_label(one, data) for one in configs]
    if len(set(labels)) < len(labels) or len(set(seeds)) < len(seeds):
        raise UserError(f"a model or a seed is named twice: {', '.join(labels)}; seeds {', '.join(map(str, seeds))}")
    if match_parameters:
        target = parameter_count(experiments[0].model)
        configs = [configs[0]] + [match(one, data, target) for one in configs[1:]]
        experiments = [build(one) for one in configs]
    if len({one.model.emission.is_density for one in experiments}) > 1:
        raise UserError(
            "densities and probabilities of integers (dmol) do not compare in nats: compare each kind separately"
        )
    scored = {"split": split, "num_sequences": num_sequences}
    rows = []
    for name, label, one, experiment in zip(models, labels, configs, experiments, strict=True):
        found = []
        for seed in seeds:
            folder = str(workdir / f"{name.replace(':', '-')}-seed{seed}")
            found.append(_train_and_score(_with_seed(one, seed), folder, scored, num_samples))
        facts = {
            "model": label,
            "kind": of(experiment.model).kind,
            "parameters": parameter_count(experiment.model),
            "rnn_dim": one.model.rnn_dim,
            "emission": one.model.emission or data.default_emission,
            "density": experiment.model.emission.is_density,
            "num_steps": one.train.num_steps,
            "seeds": seeds,
            "num_samples": num_samples,
        }
        rows.append(facts | _over_seeds(found))
    rows += _baselines(experiments[0], **scored)
    _write(rows, workdir)  # timing needs memory for all models at once, and may fail
    for row, seconds in zip(rows, seconds_per_update(experiments), strict=False):
        row["seconds_per_update"] = seconds
    _write(rows, workdir)
    return rows


def _label(config: Any, data: Any) -> str:
    """Return the model's name, and the emission's if not the data set's default."""
    name, emission = config.model.name, config.model.emission or data.default_emission
    return name if emission == data.default_emission else f"{name}:{emission}"


def _write(rows: list[dict[str, Any]], workdir: Path) -> None:
    write_json(workdir / "compare.json", [finite(row) for row in rows])


def seconds_per_update(experiments: list[Experiment]) -> list[float]:
    """Return the median seconds of an update of each model, timed in turns over ``ROUNDS`` rounds."""
    runs = []
    for experiment in experiments:
        batch = next(
            train_batches(experiment.data.split("train"), batch_size=experiment.config.train.batch_size, seed=0)
        )
        held = [initial_state(experiment)]

        def run(step=experiment.train_step(), held=held, batch=global_batch(batch, experiment.mesh), key=seed_key(0)):
            held[0] = jax.block_until_ready(step(held[0], batch, key)[0])

        run()  # compiles
        runs.append(run)
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for run, seconds in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def _train_and_score(config: Any, folder: str, scored: dict[str, Any], num_samples: int) -> dict[str, float]:
    """Train a run unless finished, and return the run's figures, ``{"elbo.nats_per_sequence": ..., ...}``."""
    trained = train(config, folder)
    if trained["interrupted"]:
        raise UserError("stopped by a signal: run the same command again to continue")
    if trained["step"] != config.train.num_steps and not trained["stopped_early"]:
        raise UserError(
            f"{folder} holds a run of {trained['step']} updates, and the config asks for {config.train.num_steps}: "
            "choose another --workdir"
        )
    restored = restore(folder, "best")
    bounds = {
        "elbo": evaluate(folder, bound="elbo", **scored, run=restored),
        "iwae": evaluate(folder, bound="iwae", num_samples=num_samples, **scored, run=restored),
    }
    figures = {f"{bound}.{k}": v for bound, result in bounds.items() for k, v in result.items() if type(v) is float}
    few = min(scored["num_sequences"] or DIAGNOSED, DIAGNOSED)
    if isinstance(restored.experiment.model, Density):
        active = None
    else:
        found = latent_figures(restored, split=scored["split"], num_sequences=few, num_mutual=0)
        active = found.get("active_units", 0)  # absent without latents, None for a single sequence
    figures |= {"best_step": float(bounds["elbo"]["step"]), "last_step": float(trained["step"])}
    return figures if active is None else figures | {"active_units": float(active)}


def _over_seeds(found: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of every figure, over seeds the deviation as ``"<name>.spread"``, and the ``"<name>.values"``."""
    row = {}
    for name in found[0]:
        values = [figures[name] for figures in found]
        row[name] = float(np.mean(values))
        if len(values) > 1:
            row[f"{name}.spread"] = float(np.std(values, ddof=1))
            row[f"{name}.values"] = values
    return row


def _baselines(experiment: Experiment, split: str, num_sequences: int) -> list[dict[str, Any]]:
    """Return one row per baseline, on the same sequences."""
    data, rows = experiment.data, []
    for name, totals in baselines(data.split("train"), subsample(data.split(split), num_sequences), data).items():
        if not experiment.model.emission.is_density and data.normalisation is not None:
            # Baselines are densities of normalised samples; a bin's probability is about the density times the width.
            shift = totals.samples(data.observation.size) * math.log(experiment.model.emission.step)
            totals = totals._replace(bound=totals.bound + shift)
        figures = {k: v for k, v in summarise(totals, units(experiment)).items() if isinstance(v, float)}
        rows.append(
            {"model": name, "parameters": None, **{f"elbo.{k}": v for k, v in figures.items() if "kl_" not in k}}
        )
    return rows


def _for_model(config: Any, name: str) -> Any:
    config = copy.deepcopy(ConfigDict(config.to_dict()))
    config.model.name, _, emission = name.partition(":")
    if emission:
        config.model.emission = emission
    return config


def _with_seed(config: Any, seed: int) -> Any:
    config = copy.deepcopy(config)
    config.seed = seed
    return config
