"""Train a model: zf_jax train --config=digits --workdir=runs/digits

Run again with the same flags, the program continues from the last checkpoint.  SIGTERM and Ctrl-C save a checkpoint and
stop.  Every field of the config is a flag, such as --config.train.num_steps=200 --config.model.name=rnn.
"""

from __future__ import annotations

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import config_of, define_config
from experiments.lib.processes import define_distributed_flags, join_processes

_CONFIG = define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_INIT_FROM = flags.DEFINE_string("init_from", None, "A run whose best parameters a new run begins with.")
_PROFILE = flags.DEFINE_bool("profile", False, "Write a trace of ten updates into WORKDIR/profile.")
define_distributed_flags()
flags.mark_flag_as_required("config")


def main() -> None:
    """Train from the start or from the last checkpoint."""
    join_processes()
    from experiments.lib.training_loop import train

    train(config_of(_CONFIG), _WORKDIR.value, init_from=_INIT_FROM.value, profile=_PROFILE.value)


if __name__ == "__main__":
    cli.run(main)
