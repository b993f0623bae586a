"""The bounds of any model: IWAE climbs from the one-sample bound, chunks and company change nothing."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import (
    KINDS,
    LATENT_NAMES,
    random_batch,
    random_noise,
    random_params,
    small,
    take,
    targets_batch,
)
from scipy import special

from zf_jax import bounds
from zf_jax.typing import Batch

pytestmark = pytest.mark.x64

LENGTHS = (6, 3, 5, 0)


@functools.cache
def case(name):
    model = small(name, "frames")
    batch = random_batch(KINDS["frames"][0], LENGTHS, 6)
    noise = random_noise(model, batch, num_samples=64)
    params = random_params(model, spread=0.2)
    weights = jax.jit(functools.partial(bounds.iwae_log_weights, model))(params, batch, noise=noise)
    return model, params, batch, noise, weights


@pytest.mark.parametrize("name", few(LATENT_NAMES, "zforcing", "storn"))
def test_iwae_climbs_with_the_number_of_samples(name):
    weights = np.asarray(case(name)[-1])[:, :3]  # the real rows
    log_mean_exp, means = jax.jit(bounds.log_mean_exp), []
    for k in (1, 2, 4, 8, 16, 32, 64):
        # Every group of k samples is an estimate of the bound of k; a bound that averages over groups of groups
        # climbs on these very samples, by Jensen's inequality, not only in expectation.
        means.append(np.mean(log_mean_exp(weights.reshape(64 // k, k, -1).swapaxes(0, 1)), axis=0))
    assert np.all(np.diff(np.stack(means), axis=0) > 0)


@pytest.mark.parametrize("name", few(LATENT_NAMES, "zforcing", "storn"))
def test_one_sample_is_the_one_sample_bound(name):
    model, params, batch, noise, weights = case(name)
    terms = jax.jit(functools.partial(bounds.step_terms, model))(params, batch, noise=noise[0])
    one = jnp.sum(terms.emission_log_prob + terms.prior_log_prob - terms.posterior_log_prob, axis=1)
    np.testing.assert_allclose(bounds.log_mean_exp(weights[:1]), one, rtol=1e-10, atol=1e-10)
    # Over many samples the one-sample bound is the ELBO, whose KL is in closed form.
    elbo = jax.jit(jax.vmap(lambda n: bounds.elbo(model, params, batch, noise=n)))(noise)
    difference = np.asarray(elbo - weights)
    error = difference.std(axis=0, ddof=1) / len(difference) ** 0.5
    assert np.all(np.abs(difference.mean(axis=0)) <= 4 * error)


def test_chunks_change_nothing():
    model, params, batch, noise, weights = case("storn")
    iwae = jax.jit(functools.partial(bounds.iwae, model), static_argnames="chunk_size")
    for chunk_size in (2, 50):
        cut = iwae(params, batch, noise=noise[:5], chunk_size=chunk_size)
        np.testing.assert_allclose(cut, bounds.log_mean_exp(weights[:5]), rtol=1e-12)


def test_samples_drawn_from_a_key_depend_on_nothing_else():
    """A key a sequence: neither chunks, nor the place in the batch, nor the width of the bucket change its noise."""
    model, params, batch, _, _ = case("storn")
    keys = jax.random.split(jax.random.key(8), len(LENGTHS))
    together = jax.jit(functools.partial(bounds.iwae, model, num_samples=3))(params, batch, keys)
    order = np.array([2, 0, 3, 1])
    cut = jax.jit(functools.partial(bounds.iwae, model, num_samples=3, chunk_size=2))
    np.testing.assert_allclose(cut(params, take(batch, order), keys[order]), together[order], rtol=1e-10)
    narrow = Batch(*(x[:, :4] for x in batch[:4]), batch.lengths)
    np.testing.assert_array_equal(bounds.draw_noise(keys, batch, 3)[:, :4], bounds.draw_noise(keys, narrow, 3))


def test_the_samples_of_a_key_are_drawn_apart():
    """Each from the key of its number, whether one key is given or one a sequence."""
    model, params, batch, _, _ = case("storn")
    weights = jax.jit(functools.partial(bounds.iwae_log_weights, model, num_samples=3))
    key, rows = jax.random.key(8), range(len(LENGTHS))
    one = [bounds.draw_noise(jax.random.fold_in(key, k), batch, model.latent_dim) for k in range(3)]
    keys, each = jax.random.split(key, len(LENGTHS)), []
    for k in range(3):
        of_row = [jax.random.fold_in(keys[row], k) for row in rows]
        each.append(jnp.stack([jax.random.normal(of, (6, model.latent_dim)) for of in of_row]))
    for given, noise in ((key, one), (keys, each)):
        found = weights(params, batch, given)
        np.testing.assert_allclose(found, weights(params, batch, noise=jnp.stack(noise)), rtol=1e-10)
        assert np.abs(np.diff(found[np.array([0, 1, 2, 0])][:, :3], axis=0)).min() > 1e-3, "of the real rows"
        np.testing.assert_allclose(bounds.log_mean_exp(found), special.logsumexp(found, axis=0) - np.log(3.0))


def test_a_key_of_the_old_kind_is_refused():
    model = small("zforcing")
    batch = targets_batch(model.observation, [[0, 1]])
    for key in (jax.random.PRNGKey(0), 7):
        with pytest.raises(ValueError, match="typed PRNG key"):
            bounds.elbo(model, random_params(model), batch, key)


def test_noise_of_another_shape_is_refused_rather_than_broadcast():
    model = small("zforcing")
    batch = targets_batch(model.observation, [[0, 1], [1, 1]])
    with pytest.raises(ValueError, match="noise must have the shape"):
        bounds.elbo(model, random_params(model), batch, noise=jnp.zeros((1, 2, model.latent_dim)))


def test_wrong_arguments_are_refused():
    model, params, batch, _, _ = case("zforcing")
    with pytest.raises(ValueError, match="key"):
        bounds.iwae(model, params, batch)
    for bound in (bounds.iwae, bounds.iwae_log_weights):
        for wrong in ({"num_samples": 0}, {"chunk_size": -1}, {"chunk_size": 0}):
            with pytest.raises(ValueError, match="at least 1"):
                bound(model, params, batch, jax.random.key(0), **wrong)
        with pytest.raises(ValueError, match=r"chunk_size must be whole, not 2\.5"):
            bound(model, params, batch, jax.random.key(0), chunk_size=2.5)


def test_averages_in_the_wrong_place_are_found():
    """The mutations that were published: a mean of logs in place of the log of the mean; weights mixed step by step."""
    model, params, batch, noise, weights = case("storn")
    weights = weights[:, :3]
    terms = jax.jit(jax.vmap(lambda n: bounds.step_terms(model, params, batch, noise=n)))(noise)
    per_step = terms.emission_log_prob + terms.prior_log_prob - terms.posterior_log_prob
    step_by_step = jnp.sum(bounds.log_mean_exp(per_step), axis=1)[:3]
    honest = bounds.log_mean_exp(weights)
    assert np.all(honest - weights.mean(axis=0) > 1e-2)
    assert np.all(np.abs(step_by_step - honest) > 1e-2)
