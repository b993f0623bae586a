"""The linear-Gaussian oracle: every model made linear, and its bounds held against the dense joint Gaussian.

``log p(x)`` comes from the joint covariance of all frames, by equations written out apart from the library's; see
``linear_gaussian_models``.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import linear_gaussian_models as linear
from helpers.few import few
from helpers.linear_gaussian_models import D, Z
from helpers.models_under_test import LATENT_NAMES, NAMES, READ_THE_PAST, random_noise, targets_batch
from reference import brute_force
from scipy import stats

from zf_jax import bounds
from zf_jax.bounds.particle import particle_bound
from zf_jax.models.base import replay
from zf_jax.typing import Observation

pytestmark = pytest.mark.x64

LENGTHS = (4, 3, 1)
CLOSE = {"rtol": 1e-6, "atol": 1e-5}


def frames(seed=0):
    return np.random.default_rng(seed).normal(size=(len(LENGTHS), max(LENGTHS), D))


def batch_of(targets):
    return targets_batch(Observation("frames", D), targets, LENGTHS)


def exact_log_prob(name, matrices, targets):
    """log p(y_{1:T}) of each row, from the dense joint."""
    result = []
    for y, length in zip(targets, LENGTHS, strict=True):
        mean, cov, _, observed = linear.joint(name, matrices, length)
        places = observed.ravel()
        result.append(stats.multivariate_normal(mean[places], cov[np.ix_(places, places)]).logpdf(y[:length].ravel()))
    return np.array(result)


@functools.cache
def log_joint_of(name, leak=False):
    """log p(y, z) of a trajectory with given latents, as the model scores it, compiled: ``[B]``."""
    model = linear.build(name)

    @jax.jit
    def log_joint(params, batch, latents):
        if leak:
            batch = batch._replace(inputs=batch.targets, input_mask=batch.mask)
        features = model.encode(params, batch)
        terms = model.score(params, features, replay(model, params, features, jnp.asarray(latents)))
        return jnp.sum(terms.emission_log_prob + terms.prior_log_prob, axis=1)

    return log_joint


def posterior_draws(name, matrices, targets, seed=2):
    """Latents from the exact p(z_{1:T} | y_{1:T}) of each row, zeros behind its end, and their log-density."""
    rng = np.random.default_rng(seed)
    latents, densities = np.zeros((*targets.shape[:2], Z)), []
    for row, length in enumerate(LENGTHS):
        mean, cov, _, observed = linear.joint(name, matrices, length)
        posterior = stats.multivariate_normal(*brute_force.condition(mean, cov, observed, targets[row, :length]))
        draw = posterior.rvs(random_state=rng)
        latents[row, :length] = draw.reshape(length, Z)
        densities.append(posterior.logpdf(draw))
    return latents, np.array(densities)


@pytest.mark.parametrize("name", NAMES)
def test_under_the_exact_posterior_every_weight_is_the_likelihood(name):
    """log p(y, z) - log p(z | y) = log p(y), whatever z: in full generality, recurrences, priors and all."""
    matrices, targets = linear.random_linear(), frames()
    params, batch = linear.parameters(name, matrices), batch_of(targets)
    exact = exact_log_prob(name, matrices, targets)
    for seed in range(3):
        if name == "rnn":
            latents, density = np.zeros((*targets.shape[:2], 0)), 0.0
        else:
            latents, density = posterior_draws(name, matrices, targets, seed)
        np.testing.assert_allclose(log_joint_of(name)(params, batch, latents) - density, exact, **CLOSE)
    if name == "rnn":
        np.testing.assert_allclose(bounds.elbo(linear.build(name), params, batch, jax.random.key(0)), exact, **CLOSE)


@pytest.mark.parametrize("name", few(READ_THE_PAST, "zforcing", "srnn"))
def test_a_leak_is_found(name):
    matrices, targets = linear.random_linear(), frames()
    latents = np.zeros((*targets.shape[:2], 0)) if name == "rnn" else posterior_draws(name, matrices, targets)[0]
    params, batch = linear.parameters(name, matrices), batch_of(targets)
    apart = log_joint_of(name)(params, batch, latents) - log_joint_of(name, leak=True)(params, batch, latents)
    assert np.abs(apart).max() > 1e-2


@functools.cache
def estimators(name):
    """Compiled IWAE weights ``[K, B]`` and particle bound of the linear model, both by given noise."""
    model = linear.build(name)
    return (
        jax.jit(lambda params, batch, noise: bounds.iwae_log_weights(model, params, batch, noise=noise)),
        jax.jit(lambda params, batch, noise, uniforms: particle_bound(model, params, batch, noise=(noise, uniforms))),
    )


@pytest.mark.parametrize("name", LATENT_NAMES)
def test_the_model_s_own_posterior_can_be_exact(name):
    """Where the exact posterior is within its reach, the inference network attains it: weights of zero variance."""
    matrices, targets = linear.separable(name), frames(1)
    params = linear.parameters(name, matrices, linear.exact_posterior(name, matrices))
    batch, exact = batch_of(targets), exact_log_prob(name, matrices, targets)
    weights = estimators(name)[0](params, batch, random_noise(linear.build(name), batch, num_samples=5))
    np.testing.assert_allclose(weights, np.tile(exact, (5, 1)), **CLOSE)
    # And then the ELBO is tight too, its KL in closed form, once averaged over z.
    spoilt = linear.exact_posterior(name, matrices)
    spoilt["posterior"]["mean"]["bias"] = spoilt["posterior"]["mean"]["bias"] + 0.3
    weights = estimators(name)[0](params | spoilt, batch, random_noise(linear.build(name), batch, num_samples=5))
    assert weights.std(axis=0).max() > 1e-2


@pytest.mark.parametrize("name", few(LATENT_NAMES, "zforcing"))
def test_bounds_climb_to_the_likelihood_and_stay_below(name):
    """With a posterior that is wrong, but not narrow: IWAE climbs, both estimates of p(x) are unbiased."""
    matrices, targets = linear.separable(name), frames(1)
    wrong = linear.exact_posterior(name, matrices)
    wrong["posterior"]["mean"]["bias"] = wrong["posterior"]["mean"]["bias"] + np.array([0.3, -0.2])
    wrong["posterior"]["log_std"]["bias"] = wrong["posterior"]["log_std"]["bias"] + 0.2
    # A latent that lives on in the state, which this posterior ignores.
    general = linear.random_linear(1)
    keep = {"recurrence": 0.3 * general.recurrence, "state_latent": 0.3 * general.state_latent}
    if name in ("zforcing", "storn"):
        keep = {"recurrence": 0.3 * general.recurrence}
    matrices = matrices._replace(
        **(keep if name not in ("srnn", "dmm") else {"prior_latent": 0.3 * general.prior_latent})
    )
    params = linear.parameters(name, matrices, wrong)
    batch, exact = batch_of(targets), exact_log_prob(name, matrices, targets)
    iwae, filtered = estimators(name)

    num_samples = 4096
    noise = random_noise(linear.build(name), batch, num_samples=num_samples)
    weights = np.asarray(iwae(params, batch, noise)) - exact
    heights = []
    for k in (1, 16, 256):
        groups = np.logaddexp.reduce(weights.reshape(-1, k, len(LENGTHS)), axis=1) - np.log(k)
        error = groups.std(axis=0, ddof=1) / len(groups) ** 0.5
        assert np.all(groups.mean(axis=0) < 3 * error), "above the likelihood"
        heights.append(groups.mean(axis=0))
    assert np.all(np.diff(heights, axis=0) > 0)
    assert np.all(heights[0] < -0.01)
    assert np.all(heights[-1] > -0.02)
    assert_unbiased(np.exp(weights))

    # Thirty filters of 64 particles side by side, as rows of a batch.
    runs = 30
    many = jax.tree.map(lambda x: jnp.repeat(x, runs, axis=0), batch)
    uniforms = jnp.asarray(np.random.default_rng(9).uniform(size=many.mask.shape))
    bound = filtered(params, many, random_noise(linear.build(name), many, num_samples=64), uniforms).bound
    bound = np.asarray(bound).reshape(len(LENGTHS), runs).T - exact
    error = bound.std(axis=0, ddof=1) / runs**0.5
    assert np.all(bound.mean(axis=0) < 3 * error)
    assert np.all(bound.mean(axis=0) > -0.1)
    assert np.all(bound.mean(axis=0) > heights[0])
    assert_unbiased(np.exp(bound))


def assert_unbiased(ratios):
    """Estimates of p(x) / p(x), ``[N, B]``, average to 1."""
    error = ratios.std(axis=0, ddof=1) / len(ratios) ** 0.5
    assert np.all(error < 0.1)
    assert np.all(np.abs(ratios.mean(axis=0) - 1.0) < 4 * error)
