"""The mutual information against quadrature and direct computation, and the sequences it is taken over."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import linear_gaussian_models as linear
from helpers.models_under_test import KINDS, random_batch, random_params, small, targets_batch, x64
from scipy import integrate, stats

from zf_jax import bounds
from zf_jax.evaluation.latents import inspect, summarise_latents
from zf_jax.evaluation.mutual_information import Information, long_enough_indices, mutual_information
from zf_jax.models.base import replay, unroll
from zf_jax.typing import Observation

pytestmark = pytest.mark.x64


def two_posteriors(distance):
    """One step, one latent dimension that follows the first of two frames: means 0 and ``distance``, std 1."""
    matrices = linear.separable("storn")
    params = linear.parameters("storn", matrices, linear.exact_posterior("storn", matrices))
    head = params["posterior"]
    head["log_std"]["bias"] = np.zeros(linear.Z)
    model = linear.build("storn")
    batch = targets_batch(Observation("frames", linear.D), np.array([[[0.0, 0.0]], [[1.0, 0.0]]]))
    means = jax.jit(model.encode)(params, batch).posterior.mean[:, 0]
    # Scale the head's way out of the hidden layer, around the means' middle, to set the distance.
    factor = distance / float(jnp.linalg.norm(means[1] - means[0]))
    head["mean"]["bias"] = head["mean"]["bias"] * factor
    head["mean"]["kernel"] = head["mean"]["kernel"] * factor
    return model, params, batch


@pytest.mark.parametrize("distance", [1.0, 2.0, 12.0])
def test_mutual_information_against_quadrature(distance):
    model, params, batch = two_posteriors(distance)
    information = jax.jit(jax.vmap(lambda key: mutual_information(model, params, batch, key)))
    found = np.ravel(information(jax.random.split(jax.random.key(0), 4000)).nats)

    def integrand(z):
        p, q = stats.norm.pdf(z), stats.norm.pdf(z, distance)
        return p * np.log(2 * p / (p + q)) if p > 0 else 0.0

    expected = integrate.quad(integrand, -8, 8)[0]
    error = found.std(ddof=1) / len(found) ** 0.5
    assert abs(found.mean() - expected) < 4 * error + 1e-6
    assert found.max() <= np.log(2) + 1e-9
    looked = jax.jit(functools.partial(inspect, model))(params, batch, jax.random.key(0))
    result = summarise_latents([looked], Information(jnp.asarray(found[:100]), jnp.asarray(1)))
    assert result["mutual_information_nats"]["stderr"] > 0 or distance > 10
    np.testing.assert_allclose(result["mutual_information_ceiling_nats"], np.log(100))
    assert (result["mutual_information_num_sequences"], result["mutual_information_num_steps"]) == (100, 1)


def test_mutual_information_is_over_the_steps_that_all_sequences_have():
    model, frames = small("zforcing", "frames"), KINDS["frames"][0]
    params, batch = random_params(model, spread=0.1), random_batch(frames, (6, 3, 5), 6)
    keys = jax.random.split(jax.random.key(1), 3)
    look = jax.jit(functools.partial(mutual_information, model))
    found = look(params, batch, keys)
    assert int(found.num_steps) == 3

    @jax.jit
    def drawn(params):
        noise = bounds.draw_noise(keys, batch, model.latent_dim)
        return unroll(model, params, model.encode(params, batch), noise)[1].latent

    @jax.jit
    def proposed(params, latents):
        return replay(model, params, model.encode(params, batch), latents).proposal

    latents = drawn(params)
    log_q = np.zeros((3, 3))  # of the trajectory drawn given i, under q given j
    for i in range(3):
        same = jnp.broadcast_to(latents[i], latents.shape)
        q = proposed(params, same)
        per_step = stats.norm.logpdf(same, q.mean, np.exp(q.log_std)).sum(axis=-1)
        log_q[i] = per_step[:, :3].sum(axis=1)
    expected = np.diag(log_q) - np.log(np.exp(log_q).mean(axis=1))
    assert expected.max() > 0.05
    np.testing.assert_allclose(found.nats, expected, rtol=1e-7)
    with pytest.raises(ValueError, match="typed PRNG key"):
        mutual_information(model, params, batch, jax.random.PRNGKey(0))
    garbage = jnp.where(batch.mask[..., None] > 0, batch.targets, 1e3)
    inputs = jnp.where(batch.mask[..., None] > 0, batch.inputs, -1e3)
    padded = look(params, batch._replace(inputs=inputs, targets=garbage), keys)
    np.testing.assert_allclose(padded.nats, expected, rtol=1e-7)


def test_a_long_trajectory_keeps_its_digits_in_single_precision():
    """Of the pairs A A B B a trajectory tells which pair it is of, log 2; log q itself is in the thousands of nats."""
    with x64(False):
        model, steps = small("storn", "frames"), 500
        params = random_params(model)
        params["posterior"]["log_std"]["bias"] -= 6.0
        a, b = np.random.default_rng(0).normal(size=(2, steps, 2)).astype(np.float32)
        batch = targets_batch(model.observation, np.stack([a, a, b, b]))
        looked = mutual_information(model, params, batch, jax.random.key(0))
        assert looked.nats.dtype == jnp.float32
    np.testing.assert_allclose(looked.nats, np.log(2.0), rtol=1e-6)


def test_sequences_to_compare_are_no_shorter_than_the_median():
    lengths = np.array([40, 1, 60, 50, 55, 70, 45])
    assert long_enough_indices(lengths, 64).tolist() == [2, 3, 4, 5]
    assert long_enough_indices(lengths, 2).tolist() == [2, 5]
    assert long_enough_indices(np.full(9, 7), 3).tolist() == [0, 4, 8]
    assert long_enough_indices(np.array([3, 8]), 64).tolist() == [0, 1], "two are compared wherever there are two"
