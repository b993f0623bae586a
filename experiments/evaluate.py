"""Evaluate a run: zf_jax evaluate --workdir=runs/digits --split=test --bound=iwae --num_samples=64

Read the checkpoint of the best validation ELBO, score every sequence of the split once, and print one JSON object on
the last line.  Write the object to WORKDIR/eval_SPLIT_BOUND.json; flags that differ from the defaults are part of the
name, as in eval_test_iwae-samples64-seed1.json.  NAME_stderr is the standard error of NAME over sequences.

For every bound, kl_nats_per_sequence and kl_nats_per_step are the KL of the one-sample ELBO, from a separate pass.  The
IWAE and particle bounds have no KL term: the KL measures how much the latents are used, and is not to be added to a
bound.  The particle bound also prints resampled_steps_per_sequence.
"""

from __future__ import annotations

import json

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import define_own_config
from experiments.lib.processes import define_distributed_flags, join_processes

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_SPLIT = flags.DEFINE_string("split", "test", "Split to score: train, valid, test or another split of the data.")
_BOUND = flags.DEFINE_enum(
    "bound", "elbo", ["elbo", "iwae", "particle"], "The bound; the printed KL is always the one-sample ELBO's."
)
_NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples", 25, "Samples K of the IWAE bound, or particles; the ELBO takes one sample."
)
_NUM_SEQUENCES = flags.DEFINE_integer("num_sequences", 0, "Number of evenly spaced sequences to score; 0 for all.")
_CHUNK = flags.DEFINE_integer(
    "chunk_size", 8, "IWAE: samples held in memory at once; particle bound: sequences held in memory at once."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Checkpoint to read.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data, if moved since training.")
define_own_config()
define_distributed_flags()


def main() -> None:
    """Score one split, and print the result."""
    join_processes()
    from experiments.lib.scoring import evaluate

    evaluate(
        _WORKDIR.value,
        split=_SPLIT.value,
        bound=_BOUND.value,
        num_samples=_NUM_SAMPLES.value,
        num_sequences=_NUM_SEQUENCES.value,
        chunk_size=_CHUNK.value,
        seed=_SEED.value,
        checkpoint=_CHECKPOINT.value,
        data_dir=_DATA_DIR.value,
        report=lambda result: print(json.dumps(result), flush=True),
    )


if __name__ == "__main__":
    cli.run(main, cli.run_flags_for)
