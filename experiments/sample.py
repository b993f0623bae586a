"""Draw samples from a run: zf_jax sample --workdir=runs/digits --num_samples=16

Read the checkpoint of the best validation ELBO, and draw samples, reconstructions and completions next to validation
sequences.  Write pictures, samples.npz, and text, sound or MIDI into WORKDIR/samples, or into --out.  The arrays of
samples.npz are in the units of the data: ``samples``, ``real``, ``reconstructions``, ``completions`` [3, B, T, ...],
the ``lengths`` of the real sequences, and ``given``, the number of real steps that a completion starts from.
"""

from __future__ import annotations

import math
from pathlib import Path

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import define_own_config

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder to write into; WORKDIR/samples by default.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 16, "Number of sequences to draw.")
_LENGTH = flags.DEFINE_integer(
    "length", 0, "Steps per sample; 0 for the length of the longest validation sequence shown.", 0
)
_TEMPERATURE = flags.DEFINE_float(
    "temperature", None, "Scale of the randomness of latents and elements; below 1, less random than the model."
)
_GREEDY = flags.DEFINE_bool("greedy", False, "Take means and most likely classes instead of drawing.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Checkpoint to read.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data, if moved since training.")
define_own_config()


def main() -> None:
    """Draw the samples, and print the files' names."""
    from experiments.lib.gallery import Gallery
    from experiments.lib.limits import check_rows
    from experiments.lib.run_folder import restore
    from zf_jax import plotting

    if _NUM_SAMPLES.value < 1:
        raise cli.UserError(f"--num_samples must be at least 1, not {_NUM_SAMPLES.value}")
    if _TEMPERATURE.value is not None and not 0 < _TEMPERATURE.value < math.inf:
        raise cli.UserError(f"--temperature must be above 0 and finite, not {_TEMPERATURE.value}: or pass --greedy")
    if _TEMPERATURE.value is not None and _GREEDY.value:
        raise cli.UserError("--greedy has no --temperature: pass only one of the two flags")
    run = restore(_WORKDIR.value, _CHECKPOINT.value, _DATA_DIR.value)
    check_rows("--num_samples", _NUM_SAMPLES.value, run.experiment.data, "valid", _LENGTH.value)
    folder = run.path / "samples" if _OUT.value is None else Path(_OUT.value)
    how = {"length": _LENGTH.value, "temperature": _TEMPERATURE.value, "greedy": _GREEDY.value}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Gallery(run.experiment, _NUM_SAMPLES.value, **how).draw(run.state.params, folder, seed=_SEED.value)
    except OSError as error:
        raise cli.UserError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}; choose another folder with --out"
        ) from error
    plotting.draw_curves(run.path, folder)
    for written in sorted(folder.iterdir()):
        print(written)


if __name__ == "__main__":
    cli.run(main, cli.run_flags_for)
