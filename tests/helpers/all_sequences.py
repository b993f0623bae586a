"""All binary sequences of one length, and the estimate of their total probability."""

from __future__ import annotations

import functools

import jax
import numpy as np
from reference import brute_force

from helpers.models_under_test import random_noise, random_params, targets_batch, wrap
from zf_jax import bounds
from zf_jax.typing import Observation

NUM_STEPS, NUM_SAMPLES = 6, 600
BITS = Observation("tokens", 2)


def everything():
    """The batch of all 2^T sequences, in a bucket one step too long."""
    sequences = np.pad(brute_force.all_binary_sequences(NUM_STEPS), [(0, 0), (0, 1)])
    return targets_batch(BITS, sequences, np.full(len(sequences), NUM_STEPS))


def from_the_prior(model):
    """The same model with the prior as proposal, whose weights have no heavy tails."""
    return wrap(model, encode=lambda params, batch: model.encode(params, batch)._replace(posterior=None))


def tame(model):
    """Random parameters whose posterior is near the prior, and wider: a raw random one has heavy tails.

    The emissions, which the total probability is about, stay as wild as they are.
    """
    params = random_params(model)
    for head in ("prior", "posterior"):
        if head in params:
            parts = [part for part in ("mean", "log_std", "proposal") if part in params[head]]
            params[head] |= {part: jax.tree.map(lambda x: 0.03 * x, params[head][part]) for part in parts}
    if "posterior" in params:
        params["posterior"]["log_std"]["bias"] += 0.2
    return params


def total(model, params, seed=0):
    """The estimate of the total probability by importance sampling, and its standard error."""
    batch = everything()
    noise = random_noise(model, batch, seed, num_samples=NUM_SAMPLES if model.latent_dim else 1)
    weights = jax.jit(functools.partial(bounds.iwae_log_weights, model))(params, batch, noise=noise)
    return brute_force.sum_to_one(np.asarray(weights).T)
