"""Draw from a run: python -m experiments.sample --workdir=runs/digits --num_samples=16

Reads the checkpoint of the best validation ELBO and draws samples beside real data, reconstructions and completions
into WORKDIR/samples, or --out.  The arrays, in the units of the data, are in samples.npz there: ``samples``, ``real``,
``reconstructions``, ``completions`` [3, B, T, ...], the real ``lengths`` and the number of steps ``given``.
"""

from __future__ import annotations

import math
from pathlib import Path

from absl import flags

from experiments.lib import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the pictures; WORKDIR/samples by default.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 16, "Sequences to draw.")
_LENGTH = flags.DEFINE_integer("length", 0, "Steps of the samples; 0 for as many as the data have.", 0)
_TEMPERATURE = flags.DEFINE_float("temperature", None, "Spread of latents and elements: under 1 less than the model's.")
_GREEDY = flags.DEFINE_bool("greedy", False, "Draw nothing: means, and the likeliest of classes.")
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
    if _TEMPERATURE.value is not None and not 0 < _TEMPERATURE.value < math.inf:
        raise cli.UserError(f"--temperature must be above 0 and finite, not {_TEMPERATURE.value}: or pass --greedy")
    if _TEMPERATURE.value is not None and _GREEDY.value:
        raise cli.UserError("--greedy draws nothing, so that there is no --temperature: pass one of the two")
    experiment, state, path = restore(_WORKDIR.value, _CHECKPOINT.value, _DATA_DIR.value)
    folder = path / "samples" if _OUT.value is None else Path(_OUT.value)
    how = {"length": _LENGTH.value, "temperature": _TEMPERATURE.value, "greedy": _GREEDY.value}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Gallery(experiment, _NUM_SAMPLES.value, **how).draw(state.params, folder, seed=_SEED.value)
    except OSError as error:
        raise cli.UserError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}; choose another folder with --out"
        ) from error
    plotting.draw_curves(path, folder)
    for written in sorted(folder.iterdir()):
        print(written)


if __name__ == "__main__":
    cli.run(main, cli.run_flags_for)
