"""Fill the gaps of a split: python -m experiments.impute --workdir=runs/mine --split=test --num_samples=10

For a run whose data have missing elements.  Each missing element is drawn given all that was observed of its sequence,
before and after.  Writes WORKDIR/imputed_SPLIT.npz, or --out: ``values`` [S, N, T, ...] in the units of the data, 0
behind an end; ``observed`` [N, T, ...]; ``lengths`` [N]; and ``effective_sample_size`` [N], of --num_particles.  Where
that is near 1, all draws have nearly the same latents, and more particles are needed.
"""

from __future__ import annotations

from absl import flags

from experiments.lib import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OUT = flags.DEFINE_string("out", None, "File to write; WORKDIR/imputed_SPLIT.npz by default.")
_SPLIT = flags.DEFINE_string("split", "test", "Which split to fill.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 10, "Draws of each sequence.")
_NUM_PARTICLES = flags.DEFINE_integer("num_particles", 100, "Latent trajectories to resample from.")
_NUM_SEQUENCES = flags.DEFINE_integer("num_sequences", 0, "Evenly spaced sequences of the split; 0 for all.")
_CHUNK_SIZE = flags.DEFINE_integer("chunk_size", 8, "Trajectories in memory at once, per sequence.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint to read.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data, if they moved since the run was trained.")


def main() -> None:
    """Draw and say where."""
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
