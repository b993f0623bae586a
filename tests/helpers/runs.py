"""Runs so small that they train in a second, from Python and by the binaries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from experiments.configs import base

ROOT = Path(__file__).parents[2]
TINY = {
    "model.name": "storn",  # the quickest to compile of those with latents
    "model.rnn_dim": 8,
    "model.latent_dim": 2,
    "model.mlp_dim": 8,
    "model.embed_dim": 4,
    "train.batch_size": 8,
    "train.eval_sequences": 8,
    "train.eval_batch_size": 64,
    "train.log_every": 5,
    "train.eval_every": 20,
    "train.checkpoint_every": 10,
    "train.pictures": False,  # what draws takes longer to compile than what trains
    "objective.kl_temperature_start": 0.2,
    "objective.kl_temperature_steps": 30,
    "objective.aux_weight": 0.01,
    "objective.reverse_weight": 0.01,
}


def tiny_config(**changes):
    config = base.get_base()
    config.data.name = "digits"
    config.update_from_flattened_dict(TINY | changes)
    return config


def command(name, *flags):
    return [sys.executable, "-m", f"experiments.{name}", *flags]


def tiny_flags(workdir, **changes):
    values = TINY | changes
    return [
        "--config=experiments/configs/digits.py:pixels",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in values.items()),
    ]


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


def run(name, *flags, timeout=240):
    return subprocess.run(
        command(name, *flags), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout
    )


def one_sentence(result):
    """The message of a command that ended as a user's mistake should."""
    assert result.returncode != 0
    assert "Traceback" not in result.stderr, result.stderr
    return result.stderr.strip().splitlines()[-1]
