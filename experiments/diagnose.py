"""Measure how a run uses latents: zf_jax diagnose --workdir=runs/digits

Read the checkpoint of the best validation ELBO and compute, on one split: the KL per step and per dimension, active
units, the mutual information, the log-likelihood lost if z is drawn from the prior, is another sequence's or is 0, and
the share of scales below one quantisation step.  Means over sequences have standard errors.  Write SPLIT.json,
SPLIT_kl.png and SPLIT_latents.png into WORKDIR/diagnostics, and print the JSON without lists as one object on the last
line.
"""

from __future__ import annotations

import json
from typing import Any

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import define_own_config

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_SPLIT = flags.DEFINE_string("split", "valid", "Split to read: train, valid, test or another split of the data.")
_NUM_SEQUENCES = flags.DEFINE_integer("num_sequences", 0, "Number of evenly spaced sequences to read; 0 for all.")
_NUM_MUTUAL = flags.DEFINE_integer(
    "num_mutual",
    64,
    "Number of sequences for the mutual information, evenly spaced among sequences no shorter than the median, because "
    "only steps that all sequences have can be compared; 0 for none.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the posterior samples.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Checkpoint to read.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data, if moved since training.")
define_own_config()


def main() -> None:
    """Diagnose the run, and print the scalars."""
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
