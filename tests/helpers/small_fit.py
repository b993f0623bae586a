"""A small training: a model, data, and settings under which a dozen updates take a moment."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import optax

import zf_jax
from zf_jax.data import from_arrays

OBSERVATION = zf_jax.Observation("tokens", 3)
MODEL = zf_jax.build_model(
    "storn", OBSERVATION, emission="categorical", rnn_dim=3, latent_dim=2, mlp_dim=3, embed_dim=2
)
SETTINGS = zf_jax.FitSettings(
    num_steps=12, batch_size=4, log_every=2, eval_every=4, checkpoint_every=3, eval_batch_size=8
)
STILL = optax.sgd(0.0)


@functools.cache
def data(splits=("train", "valid")):
    rows = np.random.default_rng(0).integers(0, 3, (24, 5))
    return from_arrays({name: rows if name == "train" else rows[:8] for name in splits}, observation=OBSERVATION)


def optimizer():
    return zf_jax.make_optimizer(0.05, 100.0)


def fit(settings=SETTINGS, **options: Any):
    return zf_jax.fit(MODEL, data(), settings, **{"optimizer": optimizer(), **options})


def settings(**changes: Any):
    return zf_jax.FitSettings(**{**SETTINGS.__dict__, **changes})


@functools.cache
def whole():
    """A training of twelve updates, never stopped."""
    found = fit()
    return found._replace(state=jax.device_get(found.state))


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))
