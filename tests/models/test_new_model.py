"""A new model is one file: everything else is handed a ``Model`` and never knows which."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from helpers.all_sequences import everything, from_the_prior
from helpers.models_under_test import random_batch, random_noise
from reference import brute_force

import zf_jax
from examples import new_model
from zf_jax import bounds
from zf_jax.bounds.particle import particle_bound
from zf_jax.evaluation.latents import inspect, summarise_latents
from zf_jax.typing import Observation

BITS = Observation("tokens", 2)


@pytest.fixture
def model():
    return new_model.Markov(BITS, latent_dim=3, mlp_dim=4, embed_dim=3)


def test_it_trains_and_every_bound_agrees_with_the_others(model):
    batch = random_batch(BITS, (6, 3, 5), 6)
    optimizer = zf_jax.make_optimizer(3e-2)
    state = jax.jit(functools.partial(zf_jax.init_state, model, optimizer))(jax.random.key(0))
    update = jax.jit(functools.partial(zf_jax.update, model, optimizer))
    before = None
    for _ in range(40):
        state, metrics = update(state, batch, jax.random.key(1))
        before = metrics["elbo_nats_per_sequence"] if before is None else before
    assert metrics["elbo_nats_per_sequence"] > before + 0.5
    params = state.params
    noise = random_noise(model, batch, num_samples=500)
    elbo = jax.jit(jax.vmap(lambda n: bounds.elbo(model, params, batch, noise=n)))(noise).mean(axis=0)
    wide = from_the_prior(model)  # whose weights have no heavy tails
    iwae = jax.jit(functools.partial(bounds.iwae, wide))(params, batch, noise=noise)
    particle = jax.jit(functools.partial(particle_bound, wide, num_particles=500))(params, batch, jax.random.key(2))
    assert np.all(elbo < iwae)
    np.testing.assert_allclose(particle.bound, iwae, atol=0.2)
    assert (
        summarise_latents([jax.jit(functools.partial(inspect, model))(params, batch, jax.random.key(3))])["latent_dim"]
        == 3
    )
    drawn = zf_jax.sample(model, params, jax.random.key(4), num_samples=2, length=5)
    assert drawn.values.shape == (2, 5)


def test_its_likelihood_is_honest(model):
    batch = everything()
    noise = random_noise(model, batch, num_samples=300)
    params = jax.jit(model.init)(jax.random.key(0))
    weights = jax.jit(functools.partial(bounds.iwae_log_weights, from_the_prior(model)))(params, batch, noise=noise)
    total, error = brute_force.sum_to_one(np.asarray(weights).T)
    assert abs(total - 1.0) < 4 * error
    assert error < 0.05
