"""Forecast the steps after a prefix: zf_jax forecast --workdir=runs/mine --prefix=0.5 --steps=20

Run a particle filter over the prefix of each sequence, with proposals from the prior and from the posterior of the
prefix alone, and draw the next --steps steps from the model.  Print the CRPS, the share of true values inside central
intervals, and the ELBO per step of the same sequences, as one JSON object on the last line.  Write mean and quantiles
of the draws and the true values into WORKDIR/forecast, or into --out, as SPLIT.npz, SPLIT.csv and a fan chart,
SPLIT.png.

With --past_end, whole sequences are given, and what follows their ends is drawn: nothing came yet, so that there are no
scores, and SPLIT_past_end.npz, .csv and .png are written.  Data with a context need the context of the steps to come:
--future_context=PATH, tables with the columns of context or an npz file with context [N, steps, K], whose sequences
have the names of the data's.

Of real numbers, drawn_from_given has the scores of draws from the numbers of the prefix itself, and with --season=12
seasonal_naive those of the number of 12 steps before and a change over 12 steps drawn from those of the prefix.

Numbers are in the unit of the data; two tokens are the numbers 0 and 1.  More than two tokens have no order: the draws
are written instead (text data as text), with the share of draws that equal the true token.
"""

from __future__ import annotations

import json
from typing import Any

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import define_own_config

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_PREFIX = flags.DEFINE_string(
    "prefix", "0.5", "Length of the prefix: a number of steps, such as 20, or a share of the sequence, such as 0.5."
)
_PAST_END = flags.DEFINE_bool("past_end", False, "Forecast what follows whole sequences, past the end of the data.")
_FUTURE = flags.DEFINE_string("future_context", None, "With --past_end: file or folder of the context to come.")
_OUT = flags.DEFINE_string("out", None, "Folder to write into; WORKDIR/forecast by default.")
_STEPS = flags.DEFINE_integer("steps", 10, "Steps to forecast.", 1)
_SPLIT = flags.DEFINE_string("split", None, "Split to forecast: test by default, all with --data_dir.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder or file of the data; the run's own by default.")
_NUM_SEQUENCES = flags.DEFINE_integer("num_sequences", 64, "Number of evenly spaced sequences; 0 for all.", 0)
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 100, "Number of draws per sequence.", 2)
_NUM_PARTICLES = flags.DEFINE_integer("num_particles", 100, "Number of particles of the filter.", 1)
_SEASON = flags.DEFINE_integer("season", 0, "Steps of a season, for the seasonal naive forecast; 0 for none.", 0)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", 0, 2**32 - 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Checkpoint to read.")
define_own_config()


def main() -> None:
    """Forecast, write, and print the scores."""
    from experiments.lib.forecasting import forecast_past_end, forecast_run

    options: dict[str, Any] = {
        "steps": _STEPS.value,
        "split": _SPLIT.value,
        "data_dir": _DATA_DIR.value,
        "num_sequences": _NUM_SEQUENCES.value,
        "num_samples": _NUM_SAMPLES.value,
        "num_particles": _NUM_PARTICLES.value,
        "seed": _SEED.value,
        "checkpoint": _CHECKPOINT.value,
        "out": _OUT.value,
        "report": lambda result: print(json.dumps(result), flush=True),
    }
    if not _PAST_END.value:
        if _FUTURE.value is not None:
            raise cli.UserError("--future_context is of steps past the end of the data: pass --past_end, too")
        forecast_run(_WORKDIR.value, prefix=_prefix(_PREFIX.value), season=_SEASON.value, **options)
        return
    for flag in (_PREFIX, _SEASON):
        if flag.present:
            raise cli.UserError(f"--past_end gives whole sequences and has no scores: leave --{flag.name} out")
    forecast_past_end(_WORKDIR.value, future_context=_FUTURE.value, **options)


def _prefix(value: str) -> int | float:
    try:
        number = float(value)
        if number >= 1 and number == int(number) and "." not in value:
            return int(number)
        if 0 < number < 1:
            return number
    except (ValueError, OverflowError):
        pass
    raise cli.UserError(
        f"--prefix={value} must be a number of steps, as 20, or a share of them, as 0.5; --past_end gives all"
    )


if __name__ == "__main__":
    cli.run(main, cli.split_flags_for)
