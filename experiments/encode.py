"""Write a run's posterior means as features: zf_jax encode --workdir=runs/digits --out=features.npz

A sequence gives one array [T, Z]: the posterior mean at each step, given the means of earlier steps.  FILE.npz has the
arrays "0", "1", ... in the order of the split, and "names" if the data have names.  A folder gets 0.npy, 1.npy, ... and
names.txt, and may not hold such arrays before.  --data_dir is as for zf_jax score.
"""

from __future__ import annotations

from absl import flags

from experiments.lib import cli
from experiments.lib.config_flag import define_own_config

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_OUT = flags.DEFINE_string("out", None, "FILE.npz, or a folder for one npy file per sequence.", required=True)
_SPLIT = flags.DEFINE_string("split", None, "Split to encode: test by default, all with --data_dir.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder or file of the data to encode; the run's own by default.")
_BATCH = flags.DEFINE_integer("batch_size", 64, "Sequences encoded at once.", 1)
_CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Checkpoint to read.")
define_own_config()


def main() -> None:
    """Encode the sequences, and print the path."""
    from experiments.lib.encoding import encode

    number, path = encode(
        _WORKDIR.value,
        _OUT.value,
        split=_SPLIT.value,
        data_dir=_DATA_DIR.value,
        batch_size=_BATCH.value,
        checkpoint=_CHECKPOINT.value,
    )
    print(f"{path} holds the posterior means of {number} sequences")


if __name__ == "__main__":
    cli.run(main, cli.split_flags_for)
