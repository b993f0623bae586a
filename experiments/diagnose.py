"""See what a run's latents do: python -m experiments.diagnose --workdir=runs/digits

Reads the checkpoint of the best validation ELBO and looks at a split: KL by step and dimension, active units, mutual
information, what is lost without z, and the share of scales under one quantisation step.  Writes JSON and pictures into
WORKDIR/diagnostics and prints the JSON's scalars as one object on the last line; means over sequences with their
standard errors, and the mutual information with the number of steps and sequences that it is over.
"""

from __future__ import annotations

import json
from typing import Any

from absl import flags

from experiments.lib import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_SPLIT = flags.DEFINE_string("split", "valid", "Which split to look at: train, valid, test or another the data have.")
_NUM_SEQUENCES = flags.DEFINE_integer("num_sequences", 0, "How many sequences of the split, evenly spaced; 0 for all.")
_NUM_MUTUAL = flags.DEFINE_integer(
    "num_mutual",
    64,
    "How many of them to take the mutual information over, evenly spaced among those no shorter than the median, since "
    "only the steps that all of them have can be compared; 0 for none.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint to read.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data, if they moved since the run was trained.")


def main() -> None:
    """Look, write, and print the scalars."""
    from experiments.lib.diagnosis import diagnose

    diagnose(
        _WORKDIR.value,
        split=_SPLIT.value,
        num_sequences=_NUM_SEQUENCES.value,
        num_mutual=_NUM_MUTUAL.value,
        seed=_SEED.value,
        checkpoint=_CHECKPOINT.value,
        data_dir=_DATA_DIR.value,
        report=_print,
    )


def _print(result: dict[str, Any]) -> None:
    print(json.dumps({name: value for name, value in result.items() if not isinstance(value, list)}), flush=True)


if __name__ == "__main__":
    cli.run(main, cli.run_flags_for)
