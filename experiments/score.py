"""Score every sequence: zf_jax score --workdir=runs/digits --split=test --lowest=10

Print one line of JSON per sequence: the index in the split, the name if the data have names, the length, and the bound
in nats, with bits per sample for audio and perplexity for text.  --lowest=N prints the N sequences of the lowest bound
per step, for the search for anomalies.  Nats are of the model's unit; raw_nats_per_sequence is of the data's unit.

--data_dir=DIR scores other data, normalised with the run's statistics or read with the run's vocabulary: a folder of
recordings, text, tables, or an npz file of arrays.  All sequences of DIR are scored, and a warning names the files that
have none: recordings shorter than a step and, if the run was trained with skip_bad_files, bad files.  With --split, DIR
is read as a set like the run's data, for data that have moved.
"""

from __future__ import annotations

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import define_own_config

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_SPLIT = flags.DEFINE_string("split", None, "Split to score: test by default, all with --data_dir.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder or file of the data to score; the run's own by default.")
_BOUND = flags.DEFINE_enum("bound", "elbo", ["elbo", "iwae", "particle"], "The bound.")
_NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples", 25, "Samples K of the IWAE bound, or particles; the ELBO takes one sample."
)
_CHUNK = flags.DEFINE_integer("chunk_size", 8, "Samples held in memory at once.")
_BATCH = flags.DEFINE_integer("batch_size", 64, "Sequences scored at once, without effect on the scores.")
_PER_STEP = flags.DEFINE_bool("per_step", False, "Add a list of the ELBO's terms per step, in nats.")
_LOWEST = flags.DEFINE_integer("lowest", 0, "Print the N sequences that are least likely per step; 0 prints all.", 0)
_OUT = flags.DEFINE_string("out", None, "Write all sequences to FILE.jsonl or FILE.parquet.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Checkpoint to read.")
define_own_config()


def main() -> None:
    """Score, write and print."""
    from experiments.lib.rows_file import RowsFile
    from experiments.lib.sequence_scoring import score

    out = None if _OUT.value is None else RowsFile(_OUT.value)
    scores = score(
        _WORKDIR.value,
        split=_SPLIT.value,
        data_dir=_DATA_DIR.value,
        bound=_BOUND.value,
        num_samples=_NUM_SAMPLES.value,
        chunk_size=_CHUNK.value,
        batch_size=_BATCH.value,
        seed=_SEED.value,
        per_step=_PER_STEP.value,
        checkpoint=_CHECKPOINT.value,
    )
    rows = [cli.finite(row) for row in scores.rows()]
    written = False
    if out is not None and out.write(rows):
        written = True
        print(out.path)
    shown = [rows[index] for index in scores.lowest(_LOWEST.value)] if _LOWEST.value else [] if written else rows
    for row in shown:
        print(cli.as_json(row))


if __name__ == "__main__":
    cli.run(main, cli.split_flags_for)
