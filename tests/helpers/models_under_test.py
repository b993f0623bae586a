"""Every registered model, made small: one registry line brings a new model under all the checks written against it."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from zf_jax.models import MODELS, build_model
from zf_jax.models.base import Wrapped
from zf_jax.typing import Batch, Observation

SIZES = {"rnn_dim": 5, "latent_dim": 3, "mlp_dim": 4, "embed_dim": 4}
KINDS = {
    "binary": (Observation("tokens", 2), "bernoulli"),
    "words": (Observation("tokens", 5), "categorical"),
    "frames": (Observation("frames", 2), "gaussian"),
}


def x64(wanted=True):
    """Double precision for a while, or single, under either name that JAX has had for it."""
    return jax.enable_x64(wanted) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64(wanted)


def wrap(model, **methods):
    """``model`` with other ``methods``, each called without a self."""
    return type("Wrap", (Wrapped,), {name: staticmethod(method) for name, method in methods.items()})(model)


@functools.cache
def small(name, kind="binary", **options):
    """The model called ``name``, of tiny sizes, for one of ``KINDS``."""
    observation, emission = KINDS[kind]
    known = {field.name for field in dataclasses.fields(MODELS[name])}
    sizes = {size: value for size, value in SIZES.items() if size in known}
    return build_model(name, observation, **{"emission": emission, **sizes, **options})


def random_params(model, seed=0, spread=0.4):
    """Parameters unlike the initial ones, so that no bias is 0 and every term depends on every parameter."""
    rng = np.random.default_rng(seed)  # numpy, and shapes alone from init: nothing to compile

    def draw(leaf):
        fan_in = leaf.shape[0] if len(leaf.shape) > 1 else 1
        return jnp.asarray(rng.normal(size=leaf.shape) * (spread + fan_in**-0.5), jnp.result_type(float))

    return jax.tree.map(draw, jax.eval_shape(model.init, jax.random.key(0)))


def targets_batch(observation, targets, lengths=None):
    """The batch of the ``full`` protocol: u_t = y_{t-1} behind a start token or a frame of zeros."""
    targets = np.asarray(targets)
    num_rows, num_steps = targets.shape[:2]
    lengths = np.full(num_rows, num_steps) if lengths is None else np.asarray(lengths)
    inputs = np.roll(targets, 1, axis=1)
    inputs[:, 0] = observation.start_token if observation.kind == "tokens" else 0
    mask = (np.arange(num_steps) < lengths[:, None]).astype(np.float32)
    input_mask = mask * (np.arange(num_steps) > 0)
    dtype = jnp.int32 if observation.kind == "tokens" else jnp.result_type(float)
    inputs, targets = jnp.asarray(inputs, dtype), jnp.asarray(targets, dtype)
    return Batch(inputs, targets, jnp.asarray(mask), jnp.asarray(input_mask), jnp.asarray(lengths, jnp.int32))


def random_targets(observation, num_rows, num_steps, seed=0):
    """Random sequences ``[B, T]`` or ``[B, T, D]``."""
    rng = np.random.default_rng(seed)
    if observation.kind == "tokens":
        return rng.integers(0, observation.size, (num_rows, num_steps))
    return rng.normal(size=(num_rows, num_steps, observation.size))


def random_batch(observation, lengths=(6, 6, 6), num_steps=6, seed=0):
    """A batch of random sequences of the given lengths."""
    return targets_batch(observation, random_targets(observation, len(lengths), num_steps, seed), lengths)


def take(batch, rows):
    """Some rows of a batch."""
    return jax.tree.map(lambda x: x[rows], batch)


def random_noise(model, batch, seed=0, num_samples=()):
    """Standard normal noise ``[*num_samples, B, T, Z]`` from numpy: a generator in the program is long to compile."""
    shape = (*np.atleast_1d(num_samples).astype(int), *batch.mask.shape, model.latent_dim)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.result_type(float))


NAMES = tuple(MODELS)
# Models that read their inputs; a deep Markov model knows the past by z_{t-1} alone.
READ_THE_PAST = tuple(name for name in NAMES if name != "dmm")
LATENT_NAMES = tuple(name for name in NAMES if small(name).latent_dim > 0)
# Every model on frames, and one on tokens too: models and kinds of data meet only in the embedding and in the head.
CASES = tuple((name, "frames") for name in NAMES) + (("zforcing", "binary"),)
