"""All binary sequences of a length have probability 1 between them, by every model and every estimator."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.all_sequences import everything, from_the_prior, tame, total
from helpers.few import few
from helpers.models_under_test import LATENT_NAMES, NAMES, READ_THE_PAST, random_noise, small, wrap
from reference import brute_force

from zf_jax.bounds.particle import particle_bound


@pytest.mark.parametrize("name", NAMES)
def test_importance_sampling_from_the_prior_sums_to_one(name):
    model = small(name)
    estimate, error = total(from_the_prior(model), tame(model))
    assert abs(estimate - 1.0) < 4 * error + 1e-5
    assert error < 0.05


@pytest.mark.parametrize("name", few(LATENT_NAMES, "zforcing", "srnn"))
def test_importance_sampling_from_the_posterior_sums_to_one(name):
    model = small(name)
    estimate, error = total(model, tame(model))
    assert abs(estimate - 1.0) < 4 * error
    assert error < 0.05
    assert total(from_the_prior(model), tame(model))[0] != estimate, "the proposals differ"


@pytest.mark.parametrize("name", few(LATENT_NAMES, "zforcing", "vrnn"))
def test_the_particle_filter_sums_to_one(name):
    model, runs = from_the_prior(small(name)), 40
    params = tame(model)
    batch = jax.tree.map(lambda x: jnp.repeat(x, runs, axis=0), everything())
    uniforms = jnp.asarray(np.random.default_rng(1).uniform(size=batch.mask.shape), jnp.float32)
    noise = (random_noise(model, batch, num_samples=6), uniforms)
    estimate = jax.jit(functools.partial(particle_bound, model, threshold=0.9))(params, batch, noise=noise)
    assert estimate.num_resampled.max() > 0
    value, error = brute_force.sum_to_one(np.asarray(estimate.bound).reshape(-1, runs))
    assert abs(value - 1.0) < 4 * error
    assert error < 0.05


@pytest.mark.parametrize("name", few(READ_THE_PAST, "zforcing", "rnn"))
def test_a_decoder_that_sees_its_target_is_found(name):
    model = small(name)

    def leaky(params, batch):
        return model.encode(params, batch._replace(inputs=batch.targets, input_mask=batch.mask))

    params = tame(model)
    params["embedding"] = jax.tree.map(lambda x: 3.0 * x, params["embedding"])
    estimate, error = total(from_the_prior(wrap(model, encode=leaky)), params)
    assert abs(estimate - 1.0) > 4 * error + 1e-3
