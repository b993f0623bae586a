"""Train a model: python -m experiments.train --config=experiments/configs/digits.py --workdir=runs/digits

Started again with the same flags, training continues from the last checkpoint; SIGTERM and Ctrl-C save and stop.  Any
field of the config can be set on the command line, e.g. --config.train.num_steps=200 --config.model.name=rnn.
"""

from __future__ import annotations

from absl import flags
from ml_collections import config_flags

from experiments import command_line

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The experiment, e.g. experiments/configs/digits.py or timit.py:VARIANT; a wrong VARIANT lists those there are.",
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder that the run writes into.", required=True)
_PROFILE = flags.DEFINE_bool("profile", False, "Write a trace of ten updates into WORKDIR/profile.")
command_line.define_distributed_flags()
flags.mark_flag_as_required("config")


def main() -> None:
    """Train, or go on training."""
    command_line.join_processes()
    from experiments.loop import train

    train(command_line.config_of(_CONFIG), _WORKDIR.value, profile=_PROFILE.value)


if __name__ == "__main__":
    command_line.run(main)
