"""Train several models with one config, and print one table with simple baselines:

    zf_jax compare --config=digits --workdir=runs/compare --models=zforcing,rnn

Every model is evaluated with the ELBO and the IWAE bound at the checkpoint of the best validation ELBO.  Afterwards the
updates of all models are timed in turns.  Run again, the program continues: finished runs are only read.  Each run has
a folder WORKDIR/MODEL-seedSEED; the table's rows are written to WORKDIR/compare.json.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import config_of, define_config, set_on_the_command_line

_CONFIG = define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all runs.", required=True)
_MODELS = flags.DEFINE_list("models", ["zforcing", "rnn"], "Models to train: NAME or NAME:EMISSION, such as vrnn:gmm.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds with which to train every model.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 25, "Samples K of the IWAE bound.")
_NUM_SEQUENCES = flags.DEFINE_integer("num_sequences", 0, "Number of evenly spaced sequences to score; 0 for all.")
_SPLIT = flags.DEFINE_string("split", "test", "Split to score.")
_MATCH = flags.DEFINE_bool(
    "match_parameters", False, "Choose each rnn_dim so that parameter counts match the first model's."
)
flags.mark_flag_as_required("config")


def main() -> None:
    """Train and evaluate the models, and print the table."""
    from experiments.lib.comparison import compare
    from experiments.lib.tables import table

    for field, flag in (("seed", "--seeds"), ("model.name", "--models")):
        if field in set_on_the_command_line(_CONFIG):
            raise cli.UserError(f"--config.{field} is not read by compare: give {flag}")
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
