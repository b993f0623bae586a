"""Run folders with one checkpoint of initial parameters: nothing is trained, and little is compiled."""

from __future__ import annotations

import json

import numpy as np

from experiments.configs import arrays as preset
from experiments.lib.experiment import build, initial_state
from experiments.lib.run_folder import opened
from zf_jax.data.description import DataDescription, fingerprint
from zf_jax.runs.checkpoints import Checkpoints

SIZES = {"model.rnn_dim": 4, "model.latent_dim": 2, "model.mlp_dim": 4, "model.embed_dim": 3}


def write_frames(path, number=20, dimension=2, mean=7.0, std=3.0, seed=0, **more):
    """An npz file of frames of their own lengths."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 8, size=number)
    values = rng.normal(mean, std, (number, 7, dimension)).astype(np.float32)
    np.savez(path, values=values, lengths=lengths, **more)
    return [row[:length] for row, length in zip(values, lengths, strict=True)]


def arrays_config(path, name="vrnn", **changes):
    """A config for the sequences of an npz file."""
    config = preset.get_config("small")
    config.update_from_flattened_dict(SIZES | {"model.name": name, "data.dir": str(path)} | changes)
    return config


def save_run(workdir, config, *, described=True, elbo=-1.0):
    """Save the state before the first update, as training does; without a description if not ``described``."""
    experiment = build(config, any_batch_size=True)
    saved = json.loads(config.to_json()) | {"data_fingerprint": fingerprint(experiment.data)}
    description = DataDescription.of(experiment.data).as_json() if described else None
    with opened(str(workdir), config) as path, Checkpoints(path) as checkpoints:
        checkpoints.save(initial_state(experiment), saved, elbo, description=description)
    return experiment
