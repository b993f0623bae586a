"""Print the parameter count of every model of the family at paper size, without data:

    zf_jax family

A row is the model of ``--config=FILE:VARIANT``, with heads that are used in training only.  The last column is the
ratio to SRNN's count.
"""

from __future__ import annotations

import importlib
from typing import Any

from experiments.configs.family import RNN_DIMS
from experiments.lib import cli


def main() -> None:
    """Print the table; config files with equal rows share the rows."""
    shared: dict[str, list[str]] = {}
    for file in RNN_DIMS:
        lines = [f"  {name or '(none)':<10}{h:>8,}{count:>14,}{ratio:>9.4f}" for name, h, count, ratio in sizes(file)]
        shared.setdefault("\n".join(lines), []).append(file)
    print(f"  {'variant':<10}{'rnn_dim':>8}{'parameters':>14}{'/ SRNN':>9}")
    for lines, files in shared.items():
        print(f"{', '.join(files)}\n{lines}")


def sizes(file: str) -> list[tuple[str, int, int, float]]:
    """Return (variant, rnn_dim, parameters, ratio to SRNN) of a config file, SRNN first and the plain file last."""
    from experiments.lib.matching import parameter_count

    rows = []
    for variant in (*RNN_DIMS[file], ""):
        config = get_config(file, variant)
        rows.append((variant, config.model.rnn_dim, parameter_count(model_of(config))))
    return [(*row, row[-1] / rows[0][-1]) for row in rows]


def get_config(file: str, variant: str) -> Any:
    """Return the config of ``--config=FILE:VARIANT``."""
    return importlib.import_module(f"experiments.configs.{file.removesuffix('.py')}").get_config(variant)


def model_of(config: Any) -> Any:
    """Return the model of a config, built for a data set without sequences."""
    from experiments.lib.experiment import build_config_model
    from zf_jax.data import DataSet
    from zf_jax.data.music import NOTES
    from zf_jax.typing import Observation

    name, normalisation = config.data.name, None
    if name == "mnist":
        observation, emission = Observation("tokens", 2), "bernoulli"
    elif "vocabulary_size" in config.data:
        observation, emission = Observation("tokens", config.data.vocabulary_size), "categorical"
    elif "frame_size" in config.data:
        observation, emission = Observation("frames", config.data.frame_size), "gaussian"
        normalisation = {"mean": 0.0, "std": 1.0}
    else:
        observation, emission = Observation("frames", NOTES), "bernoulli"
    return build_config_model(config, DataSet(name, observation, emission, splits={}, normalisation=normalisation))


if __name__ == "__main__":
    cli.run(main)
