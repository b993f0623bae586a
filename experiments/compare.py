"""Train models side by side and print one table, with the baselines that any model must clear:

    python -m experiments.compare --config=experiments/configs/digits.py --workdir=runs/compare --models=zforcing,rnn

Every model is trained by the same config and evaluated with the same bounds on the test split, at its best validation
checkpoint; updates are timed afterwards, in turns.  Started again, the program continues: finished runs are only
read.  Writes WORKDIR/compare.json.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import config_of, define_config

_CONFIG = define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for all runs, one folder each.", required=True)
_MODELS = flags.DEFINE_list("models", ["zforcing", "rnn"], "Models to train, by name; or NAME:EMISSION, as vrnn:gmm.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds to train every model with.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 25, "Samples K of the iwae bound.")
_NUM_SEQUENCES = flags.DEFINE_integer("num_sequences", 0, "Number of evenly spaced sequences to score; 0 for all.")
_SPLIT = flags.DEFINE_string("split", "test", "Which split to score.")
_MATCH = flags.DEFINE_bool("match_parameters", False, "Choose each rnn_dim to match the first model's parameters.")
flags.mark_flag_as_required("config")


def main() -> None:
    """Train, evaluate, print."""
    from experiments.lib.comparison import compare
    from experiments.lib.tables import table

    rows = compare(
        config_of(_CONFIG),
        Path(_WORKDIR.value),
        models=[name for name in _MODELS.value if name],
        seeds=cli.seeds_of(_SEEDS),
        num_samples=_NUM_SAMPLES.value,
        num_sequences=_NUM_SEQUENCES.value,
        split=_SPLIT.value,
        match_parameters=_MATCH.value,
    )
    print(table(rows))


if __name__ == "__main__":
    cli.run(main)
