"""Models trained by one config and scored by one evaluator, beside the floors that any of them must clear."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.builder import build, build_config_model, units
from experiments.command_line import UserError
from experiments.loop import train
from experiments.scoring import evaluate
from zf_jax.data import DataSet, some_of
from zf_jax.evaluation import summarise
from zf_jax.floors import floors


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
    """One row a model and one a floor; figures are means over seeds, with their spread where there are several."""
    if not models or not seeds or num_samples < 1:
        raise UserError("a comparison needs at least one model, one seed and one sample")
    configs = [_for_model(config, name) for name in models]
    experiments = [build(one) for one in configs]  # every config is checked before the first is trained
    data = experiments[0].data
    data.split(split)
    if match_parameters:
        target = parameter_count(experiments[0].model)
        configs = [configs[0]] + [match(one, data, target) for one in configs[1:]]
        experiments = [build(one) for one in configs]
    rows = []
    for name, one, experiment in zip(models, configs, experiments, strict=True):
        found = []
        for seed in seeds:
            folder = workdir / f"{name}-seed{seed}"
            one.seed = seed
            trained = train(one, str(folder))
            if trained["interrupted"]:
                raise UserError("stopped by a signal; run the same command again to go on")
            scored = {"split": split, "num_sequences": num_sequences}
            elbo = evaluate(str(folder), bound="elbo", **scored)
            iwae = evaluate(str(folder), bound="iwae", num_samples=num_samples, **scored)
            found.append({"elbo": elbo, "iwae": iwae, "seconds_per_update": trained["seconds_per_update"]})
        row: dict[str, Any] = {"model": name, "parameters": parameter_count(experiment.model), "seeds": seeds}
        for bound in ("elbo", "iwae"):
            for figure in found[0][bound]:
                values = [result[bound][figure] for result in found]
                if isinstance(values[0], float) and all(value is not None for value in values):
                    row[f"{bound}.{figure}"] = float(np.mean(values))
                    if len(seeds) > 1:
                        row[f"{bound}.{figure}.spread"] = float(np.std(values, ddof=1))
        times = [result["seconds_per_update"] for result in found if result["seconds_per_update"] is not None]
        row["seconds_per_update"] = float(np.median(times)) if times else None
        row["num_samples"] = num_samples
        rows.append(row)
    for name, totals in floors(data.split("train"), some_of(data.split(split), num_sequences), data).items():
        if not experiments[0].model.emission.is_density and data.normalisation is not None:
            # The floors are densities of normalised samples; the mass of an integer is about that of the raw ones.
            shift = totals.lengths * data.observation.size * math.log(data.normalisation["std"])
            totals = totals._replace(bound=totals.bound - shift)
        figures = {k: v for k, v in summarise(totals, units(experiments[0])).items() if isinstance(v, float)}
        rows.append(
            {"model": name, "parameters": None, **{f"elbo.{k}": v for k, v in figures.items() if "kl_" not in k}}
        )
    (workdir / "compare.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text; the columns that this kind of data has."""
    samples = next((row["num_samples"] for row in rows if "num_samples" in row), 0)
    columns = [
        ("model", "model"),
        ("parameters", "parameters"),
        ("elbo.nats_per_sequence", "ELBO, nats/sequence"),
        ("iwae.nats_per_sequence", f"IWAE-{samples}, nats/sequence"),
        ("elbo.kl_nats_per_sequence", "KL, nats/sequence"),
        ("elbo.nats_per_step", "ELBO, nats/step"),
        ("elbo.perplexity", "perplexity (ELBO)"),
        ("iwae.perplexity", f"perplexity (IWAE-{samples})"),
        ("elbo.raw_nats_per_sequence", "ELBO, raw nats/sequence"),
        ("elbo.bits_per_sample", "bits/sample"),
        ("elbo.share_of_scales_below_one_step", "scales < 1 step"),
        ("seconds_per_update", "seconds/update"),
    ]
    columns = [(name, title) for name, title in columns if any(row.get(name) is not None for row in rows)]
    lines = [[title for _, title in columns]]
    for row in rows:
        lines.append([_cell(row.get(name), row.get(f"{name}.spread")) for name, _ in columns])
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    text = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join(f"| {line} |" for line in [text[0], " | ".join("-" * width for width in widths), *text[1:]])


def parameter_count(model: Any) -> int:
    """The number of trained scalars."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def match(config: Any, data: DataSet, target: int) -> Any:
    """The same config with the rnn_dim whose parameter count is nearest to ``target``."""

    def count(size: int) -> int:
        trial = copy.deepcopy(config)
        trial.model.rnn_dim = size
        return parameter_count(build_config_model(trial, data))

    low, high = 1, 2
    while count(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target else (low, middle)
    matched = copy.deepcopy(config)
    matched.model.rnn_dim = min((low, high), key=lambda size: abs(count(size) - target))
    return matched


def _for_model(config: Any, name: str) -> Any:
    config = copy.deepcopy(ConfigDict(config.to_dict()))
    config.model.name = name
    return config


def _cell(value: Any, spread: float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        form = ".4f" if abs(value) < 1e4 else ",.0f"
        return f"{value:{form}}" + ("" if spread is None else f" ± {spread:{form}}")
    return f"{value:,}" if isinstance(value, int) else str(value)
