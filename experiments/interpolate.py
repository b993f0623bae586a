"""Interpolate between the latents of two sequences: zf_jax interpolate --workdir=runs/digits

Take the posterior means of two sequences at every step, interpolate linearly between the two, and decode eleven points:
once greedily, with the most likely element at every step, and once by sampling.  Past the end of the shorter sequence,
the shorter sequence's latents are the prior's means.  Write SPLIT.json (with decoded text or notes), SPLIT.png, and
sound or MIDI into WORKDIR/interpolation, or into --out.  Decoded text ends at the first end of sentence; other data
have a length interpolated between the two lengths.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import define_own_config

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder to write into; WORKDIR/interpolation by default.")
_SPLIT = flags.DEFINE_string("split", "valid", "Split of the two sequences.")
_ENDS = flags.DEFINE_list(
    "ends", None, "Indices of the two sequences in the split, such as 3,17; by default, two that differ."
)
_NUM_POINTS = flags.DEFINE_integer("num_points", 11, "Number of points, with both ends.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the sampled decoding.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Checkpoint to read.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the data, if moved since training.")
define_own_config()


def main() -> None:
    """Decode the points, and print decoded text."""
    from experiments.lib.interpolation import interpolate

    ends = None
    if _ENDS.value is not None:
        try:
            first, last = (int(end) for end in _ENDS.value)
        except ValueError:
            raise cli.UserError(
                f"--ends must be two whole numbers, such as 3,17, not {','.join(_ENDS.value)}"
            ) from None
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
    """Print the decoded sequences, if the data are text."""
    for name in ("greedy", "sampled"):
        if result.get(name) and isinstance(result[name][0], str):
            print(name)
            print("\n".join(f"  {w:.1f}  {text}" for w, text in zip(result["weights"], result[name], strict=True)))


if __name__ == "__main__":
    cli.run(main, cli.run_flags_for)
