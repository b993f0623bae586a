"""Draws of what is missing follow the model's own conditional distribution, of later elements too."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import linear_gaussian_models as linear
from helpers.all_sequences import from_the_prior, tame
from helpers.linear_gaussian_models import D
from helpers.models_under_test import random_params, take
from reference import brute_force

import zf_jax
from zf_jax import Observation
from zf_jax.emissions import build_emission, draw_missing

PRESENT = np.array([[[1, 1], [0, 0], [1, 1]], [[1, 1], [0, 1], [1, 1]], [[0, 1], [1, 1], [0, 0]]])
LONG = np.ones((1, 16, D), int)  # of which whole trajectories would have one weight alone
LONG[0, 9], LONG[0, 12, 0] = 0, 0
DRAWS = 3000


@pytest.mark.x64
@pytest.mark.parametrize("presents", [PRESENT, LONG], ids=["short", "long"])
def test_draws_have_the_moments_of_the_smoother(presents):
    """Proposals from the prior know nothing of what was observed: it is the weights that bring the draws there."""
    rows, steps = presents.shape[:2]
    matrices, rng, targets = linear.random_linear(), np.random.default_rng(0), np.zeros((rows, steps, D))
    for row, present in enumerate(presents):  # from the model: what is likely leaves many particles of some weight
        mean, cov, _, places = linear.joint("zforcing", matrices, steps, present)
        targets[row] = rng.multivariate_normal(mean, cov)[places]
    model: Any = from_the_prior(linear.build("zforcing", missing=True))
    params = linear.parameters("zforcing", matrices, missing=True)
    batch = zf_jax.batch_of(targets, observed=presents)
    seen = np.where(presents, targets, np.nan)
    batch = batch._replace(targets=seen, inputs=np.concatenate([np.zeros((rows, 1, D)), seen[:, :-1]], axis=1))
    impute = jax.jit(lambda p, b, k: zf_jax.impute(model, p, b, k, num_samples=DRAWS, num_particles=DRAWS))
    found = impute(params, batch, jax.random.key(0))
    kept = found.values[:, presents > 0]
    np.testing.assert_array_equal(kept, np.broadcast_to(targets[presents > 0], kept.shape))
    moved = 0.0
    for row, present in enumerate(presents):
        mean, cov, latent, places = linear.joint("zforcing", matrices, steps, present)
        known, values = places[present > 0], targets[row][present > 0]
        rest = np.setdiff1d(np.arange(len(mean)), known)
        exact, spread = brute_force.condition(mean, cov, known, values)
        begin = int(present[: steps // 3].sum())
        past = brute_force.condition(mean, cov, known[:begin], values[:begin])[0]
        drawn = np.concatenate([found.latents[:, row], found.values[:, row]], axis=-1).reshape(DRAWS, -1)[:, rest]
        # From the first gap on: before it, fewer particles may be left.
        since = rest >= (present.min(axis=1) == 0).argmax() * (len(mean) // steps)
        std, size = np.sqrt(np.diag(spread)), float(found.effective_sample_size[row])
        assert size > 100
        assert (np.abs(drawn.mean(axis=0) - exact)[since] < 6 * std[since] / size**0.5).all()
        assert (np.abs(drawn.std(axis=0) / std - 1)[since] < 6 / size**0.5).all()
        later = np.setdiff1d(np.arange(len(mean)), known[:begin])
        moved = max(moved, np.max(np.abs(past[np.searchsorted(later, rest)] - exact) / std * size**0.5))
        assert latent.shape == (steps, linear.Z)
    assert moved > 20  # what the past alone says is far away: the later elements matter


def test_an_observed_dimension_tells_the_component_of_a_missing_one():
    head = build_emission("gmm", Observation("frames", 2, missing=True), num_components=2, log_std_bounds=None)
    values = {"logits": jnp.zeros(2), "mean": jnp.array([-5.0, 5.0, -5.0, 5.0]), "log_std": jnp.zeros(4)}
    values = jax.tree.map(lambda x: jnp.broadcast_to(x, (500, *x.shape)), values)
    x = jnp.broadcast_to(jnp.array([4.0, jnp.nan]), (500, 2))
    drawn = draw_missing(head, values, head.noise(jax.random.key(0), (500,)), x)
    assert (drawn[:, 0] == 4.0).all()
    assert (drawn[:, 1] > 0).all()


def test_tokens_are_filled_in_and_padding_is_zero():
    observation = Observation("tokens", 3, missing=True)
    model = zf_jax.build_model(
        "srnn", observation, emission="categorical", rnn_dim=3, latent_dim=2, mlp_dim=3, embed_dim=2
    )
    batch = zf_jax.batch_of([[2, -1, 1], [-1, 0]], observation=observation)
    params = tame(model)
    found = zf_jax.impute(model, params, batch, jax.random.key(0), num_samples=50, num_particles=5, chunk_size=10)
    values = np.asarray(found.values)
    assert values.shape == (50, 2, 3)
    assert ((values[:, 0, 0] == 2) & (values[:, 0, 2] == 1) & (values[:, 1, 1] == 0) & (values[:, 1, 2] == 0)).all()
    for drawn in (values[:, 0, 1], values[:, 1, 0]):
        assert 1 < len(set(drawn)) <= len({0, 1, 2} | set(drawn)) == 3
    keys = jax.random.split(jax.random.key(1), 2)
    both = zf_jax.impute(model, params, batch, keys, num_particles=5)
    swapped = zf_jax.impute(model, params, take(batch, slice(None, None, -1)), keys[::-1], num_particles=5)
    np.testing.assert_array_equal(both.values[:, ::-1], swapped.values)
    for name, value in (("num_samples", 0), ("num_particles", 0), ("chunk_size", 0), ("chunk_size", -1)):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, not {value}"):
            zf_jax.impute(model, params, batch, keys, **{name: value})


def test_a_model_without_latents_fills_in_what_its_likelihood_says():
    observation = Observation("tokens", 3, missing=True)
    model = zf_jax.build_model("rnn", observation, emission="categorical", rnn_dim=3, embed_dim=2)
    params, key = tame(model), jax.random.key(0)
    batch = zf_jax.batch_of([[2, -1, 1], [0, 1]], observation=observation)
    found = zf_jax.impute(model, params, batch, key, num_samples=4000, num_particles=2000, chunk_size=1)
    assert found.latents.shape == (4000, 2, 3, 0)
    filled = [[2, token, 1] for token in range(3)]
    likely = np.exp(zf_jax.elbo(model, params, zf_jax.batch_of(filled, observation=observation), key))
    drawn = np.bincount(np.asarray(found.values)[:, 0, 1], minlength=3) / 4000
    np.testing.assert_allclose(drawn, likely / likely.sum(), atol=0.03)


def test_a_model_that_knows_of_nothing_missing_imputes_nothing():
    model = zf_jax.build_model("rnn", Observation("frames", 2), emission="gaussian", rnn_dim=3, embed_dim=2)
    with pytest.raises(ValueError, match="missing=True"):
        zf_jax.impute(model, random_params(model), zf_jax.batch_of(np.zeros((1, 2, 2))), jax.random.key(0))
