"""See what lies between two sequences: python -m experiments.interpolate --workdir=runs/digits

Takes the posterior's latents of two sequences (the mean at every step), draws a straight line between them, and decodes
eleven points of it: greedily, every element the likeliest given those before it, and by sampling.  Behind the end of
the shorter of two sequences its latent is the prior's mean at that step.  Writes JSON, a picture, and text, sound or
MIDI into WORKDIR/interpolation, or --out; text ends at its first end of sentence, all else at a length on the line
between both.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from experiments.lib import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder to write into; WORKDIR/interpolation by default.")
_SPLIT = flags.DEFINE_string("split", "valid", "Which split to take the two sequences from.")
_ENDS = flags.DEFINE_list("ends", None, "Their numbers, e.g. 3,17; two that differ by default.")
_NUM_POINTS = flags.DEFINE_integer("num_points", 11, "Points on the line, both ends among them.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the sampled decoding.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint to read.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data, if they moved since the run was trained.")


def main() -> None:
    """Decode and say where."""
    from experiments.lib.interpolation import interpolate

    ends = None
    if _ENDS.value is not None:
        try:
            first, last = (int(end) for end in _ENDS.value)
        except ValueError:
            raise cli.UserError(f"--ends must be two numbers, as 3,17, not {','.join(_ENDS.value)}") from None
        ends = first, last
    interpolate(
        _WORKDIR.value,
        split=_SPLIT.value,
        ends=ends,
        num_points=_NUM_POINTS.value,
        seed=_SEED.value,
        checkpoint=_CHECKPOINT.value,
        data_dir=_DATA_DIR.value,
        out=_OUT.value,
        report=_print_text,
    )


def _print_text(result: dict[str, Any]) -> None:
    """Print what was decoded, if that is text."""
    for name in ("greedy", "sampled"):
        if result.get(name) and isinstance(result[name][0], str):
            print(name)
            print("\n".join(f"  {w:.1f}  {text}" for w, text in zip(result["weights"], result[name], strict=True)))


if __name__ == "__main__":
    cli.run(main, cli.run_flags_for)
