"""Draw from a run: python -m experiments.sample --workdir=runs/digits --num_samples=16

Reads the checkpoint of the best validation ELBO and draws samples beside real data, reconstructions and completions
into WORKDIR/samples, or --out.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from experiments.lib import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the pictures; WORKDIR/samples by default.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 16, "Sequences to draw.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint to read.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data, if they moved since the run was trained.")


def main() -> None:
    """Draw and say where."""
    from experiments.lib.gallery import Gallery
    from experiments.lib.run_folder import restore
    from zf_jax import plotting

    if _NUM_SAMPLES.value < 1:
        raise cli.UserError(f"--num_samples must be at least 1, not {_NUM_SAMPLES.value}")
    experiment, state, path = restore(_WORKDIR.value, _CHECKPOINT.value, _DATA_DIR.value)
    folder = path / "samples" if _OUT.value is None else Path(_OUT.value)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Gallery(experiment, _NUM_SAMPLES.value).draw(state.params, folder, seed=_SEED.value)
    except OSError as error:
        raise cli.UserError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}; choose another folder with --out"
        ) from error
    plotting.draw_curves(path, folder)
    for written in sorted(folder.iterdir()):
        print(written)


if __name__ == "__main__":
    cli.run(main, cli.run_flags_for)
