"""Train models side by side and print one table, with the floors that any model must clear:

    python -m experiments.compare --config=experiments/configs/digits.py --workdir=runs/compare --models=zforcing,rnn

Every model is trained by the same config and evaluated with the same bounds on the test split, at its best validation
checkpoint.  Run again it goes on where it was: runs that are finished are only read.  Writes WORKDIR/compare.json.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import command_line

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, e.g. experiments/configs/digits.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for all runs, one folder each.", required=True)
_MODELS = flags.DEFINE_list("models", ["zforcing", "rnn"], "Models to train, by name.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds to train every model with.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 25, "Samples K of the iwae bound.")
_SPLIT = flags.DEFINE_string("split", "test", "Which split to score.")
_MATCH = flags.DEFINE_bool("match_parameters", False, "Choose each rnn_dim so that all are as large as the first.")
flags.mark_flag_as_required("config")


def main() -> None:
    """Train, evaluate, print."""
    try:
        seeds = [int(seed) for seed in _SEEDS.value]
    except ValueError:
        raise command_line.UserError(f"--seeds must be whole numbers, not {','.join(_SEEDS.value)}") from None
    rows = compare(
        command_line.config_of(_CONFIG),
        Path(_WORKDIR.value),
        models=_MODELS.value,
        seeds=seeds,
        num_samples=_NUM_SAMPLES.value,
        split=_SPLIT.value,
        match_parameters=_MATCH.value,
    )
    print(table(rows))


def compare(
    config: Any,
    workdir: Path,
    *,
    models: list[str],
    seeds: list[int],
    num_samples: int,
    split: str = "test",
    match_parameters: bool = False,
) -> list[dict[str, Any]]:
    """One row a model and one a floor; figures are means over seeds, with their spread where there are several."""
    import numpy as np

    from experiments.builder import build, units
    from experiments.evaluate import evaluate
    from experiments.loop import train
    from zf_jax.evaluation import summarise
    from zf_jax.floors import floors

    configs = [_for_model(config, name) for name in models]
    experiments = [build(one) for one in configs]  # every config is checked before the first is trained
    if match_parameters:
        target = parameter_count(experiments[0].model)
        configs = [configs[0]] + [match(one, target) for one in configs[1:]]
        experiments = [build(one) for one in configs]
    rows = []
    for name, one, experiment in zip(models, configs, experiments, strict=True):
        found = []
        for seed in seeds:
            folder = workdir / f"{name}-seed{seed}"
            one.seed = seed
            trained = train(one, str(folder))
            if trained["interrupted"]:
                raise command_line.UserError("stopped by a signal; run the same command again to go on")
            elbo = evaluate(str(folder), split=split, bound="elbo")
            iwae = evaluate(str(folder), split=split, bound="iwae", num_samples=num_samples)
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
    data = experiments[0].data
    for name, totals in floors(data, split).items():
        figures = {k: v for k, v in summarise(totals, units(data)).items() if isinstance(v, float)}
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
        ("elbo.bits_per_sample", "bits/sample (density)"),
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
    import math

    import jax

    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def match(config: Any, target: int) -> Any:
    """The same config with the rnn_dim whose parameter count is nearest to ``target``."""
    from experiments.builder import build_config_model
    from zf_jax.data import load

    options = {k: v for k, v in config.data.items() if k not in ("name", "dir")}
    data = load(config.data.name, data_dir=config.data.dir or None, **options)

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


if __name__ == "__main__":
    command_line.run(main)
