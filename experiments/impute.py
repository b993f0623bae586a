"""Draw the missing elements of a split: zf_jax impute --workdir=runs/mine --split=test --num_samples=10

The run's data must have missing elements.  A missing element is drawn given all observed elements of the sequence,
earlier and later.  Write WORKDIR/imputed_SPLIT.npz, or --out, with ``values`` [S, N, T, ...] in the units of the data
and 0 on padding, ``observed`` [N, T, ...], ``lengths`` [N], ``effective_sample_size`` [N], out of --num_particles,
``index`` [N], the place of each sequence in the split, and ``names`` [N] where the data have names.
An effective sample size near 1 means that all draws share the latents of some gap: use more particles.
"""

from __future__ import annotations

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import define_own_config

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OUT = flags.DEFINE_string("out", None, "File to write; WORKDIR/imputed_SPLIT.npz by default.")
_SPLIT = flags.DEFINE_string("split", "test", "Split to read.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 10, "Number of draws per sequence.")
_NUM_PARTICLES = flags.DEFINE_integer("num_particles", 100, "Number of particles of the filter.")
_NUM_SEQUENCES = flags.DEFINE_integer("num_sequences", 0, "Number of evenly spaced sequences; 0 for all.")
_CHUNK_SIZE = flags.DEFINE_integer("chunk_size", 8, "Sequences in memory at once.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Checkpoint to read.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data, if moved since training.")
define_own_config()


def main() -> None:
    """Draw the missing elements, and print the path."""
    from experiments.lib.imputing import impute_split

    written = impute_split(
        _WORKDIR.value,
        split=_SPLIT.value,
        num_samples=_NUM_SAMPLES.value,
        num_particles=_NUM_PARTICLES.value,
        num_sequences=_NUM_SEQUENCES.value,
        chunk_size=_CHUNK_SIZE.value,
        seed=_SEED.value,
        checkpoint=_CHECKPOINT.value,
        data_dir=_DATA_DIR.value,
        out=_OUT.value,
    )
    print(written)


if __name__ == "__main__":
    cli.run(main, cli.run_flags_for)
