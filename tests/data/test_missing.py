"""What was not observed is left out of every bound, exactly, and the networks know that it is missing."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import linear_gaussian_models as linear
from helpers.all_sequences import from_the_prior, tame
from helpers.few import few
from helpers.linear_gaussian_models import D, Z
from helpers.models_under_test import NAMES, random_noise, random_params
from reference import brute_force
from scipy import stats

import zf_jax
from zf_jax import Observation, bounds
from zf_jax.checks import check_batch
from zf_jax.emissions import build_emission, emission_log_prob, init_emission
from zf_jax.models.base import replay, unroll
from zf_jax.objective.bag_of_words import bag_log_prob

PRESENT = np.array(
    [[[1, 1], [0, 1], [0, 0], [1, 1]], [[1, 0], [1, 1], [0, 0], [0, 0]], [[0, 0], [1, 1], [1, 0], [0, 0]]]
)
LENGTHS = (4, 3, 4)  # row 1 ends on a missing step, row 2 begins and ends on one
BITS = Observation("tokens", 2, missing=True)
SIZES = {"rnn_dim": 4, "latent_dim": 2, "mlp_dim": 3, "embed_dim": 3}


@functools.cache
def model_of(name, observation, emission):
    return zf_jax.build_model(
        name, observation, emission=emission, **(SIZES if name != "rnn" else {"rnn_dim": 4, "embed_dim": 3})
    )


# Against the dense joint Gaussian -------------------------------------------------------------------------------------


@pytest.mark.x64
@pytest.mark.parametrize("name", NAMES)
def test_under_the_exact_posterior_every_weight_is_the_likelihood_of_what_was_observed(name):
    """log p(y_obs, z) - log p(z | y_obs) = log p(y_obs), whole steps and single dimensions missing."""
    matrices, rng = linear.random_linear(), np.random.default_rng(0)
    targets = rng.normal(size=(3, 4, D))
    latents, densities, exact = np.zeros((3, 4, Z if name != "rnn" else 0)), np.zeros(3), np.zeros(3)
    for row, length in enumerate(LENGTHS):
        present = PRESENT[row, :length]
        mean, cov, _, places = linear.joint(name, matrices, length, present)
        seen, values = places[present > 0], targets[row, :length][present > 0]
        exact[row] = stats.multivariate_normal(mean[seen], cov[np.ix_(seen, seen)]).logpdf(values)
        if name != "rnn":
            every = np.concatenate([seen, places[present == 0]])  # what is missing is integrated out of the posterior
            keep = np.sort(np.setdiff1d(np.arange(len(mean)), every[len(seen) :]))
            mean, cov, seen = mean[keep], cov[np.ix_(keep, keep)], np.searchsorted(keep, seen)
            posterior = stats.multivariate_normal(*brute_force.condition(mean, cov, seen, values))
            draw = posterior.rvs(random_state=rng)
            latents[row, :length], densities[row] = draw.reshape(length, Z), posterior.logpdf(draw)
    model = linear.build(name, missing=True)
    batch = zf_jax.batch_of(targets, LENGTHS, observed=PRESENT)
    batch = batch._replace(targets=np.where(PRESENT, targets, np.nan) * batch.mask[..., None])  # in double precision
    batch = batch._replace(inputs=np.concatenate([np.zeros((3, 1, D)), batch.targets[:, :-1]], axis=1))

    @jax.jit
    def log_joint(params, batch, latents):
        features = model.encode(params, batch)
        terms = model.score(params, features, replay(model, params, features, jnp.asarray(latents)))
        return jnp.sum(terms.emission_log_prob + terms.prior_log_prob, axis=1)

    found = log_joint(linear.parameters(name, matrices, missing=True), batch, latents) - densities
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-5)


# Against sums and Monte Carlo -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", few(NAMES, "zforcing", "srnn", "rnn"))
def test_the_probabilities_of_all_observed_values_sum_to_one(name):
    """For each draw of z from the prior, of T = 3 steps whose second is missing."""
    model = model_of(name, BITS, "bernoulli")
    values = np.array([(a, -1, b) for a, b in itertools.product((0, 1), repeat=2)])
    batch = zf_jax.batch_of(values, observation=BITS)
    noise = jnp.broadcast_to(random_noise(model, batch, num_samples=2)[:, :1], (2, 4, 3, model.latent_dim))
    blind: Any = from_the_prior(model)
    weights = bounds.iwae_log_weights(blind, random_params(model), batch, noise=noise)
    np.testing.assert_allclose(np.exp(weights).sum(axis=1), 1.0, rtol=1e-5)


def test_iwae_is_the_prior_estimate_of_the_observed_steps():
    """STORN, T = 3, the second step missing: the bound of many samples, and simulation of the observed steps alone."""
    observation = Observation("tokens", 5, missing=True)
    model = model_of("storn", observation, "categorical")
    params = tame(model)
    batch = zf_jax.batch_of([[2, 4, 1]], observed=[[1, 0, 1]], observation=observation)
    bound = bounds.iwae(model, params, batch, jax.random.key(0), num_samples=20_000)[0]

    draws = 20_000
    many = jax.tree.map(lambda x: jnp.broadcast_to(x[0], (draws, *x.shape[1:])), batch)

    @jax.jit
    def states(params, noise):
        features = model.encode(params, many)._replace(posterior=None)
        return unroll(model, params, features, noise)[1].state

    layer = params["emission"]["logits"]
    states = states(params, random_noise(model, many))
    logits = np.asarray(states) @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    weights = np.exp(log_probs[:, 0, 2] + log_probs[:, 2, 1])
    error = weights.std() / weights.mean() / draws**0.5
    assert error < 0.02
    assert abs(bound - np.log(weights.mean())) < 5 * error


# Heads ----------------------------------------------------------------------------------------------------------------

PAIR = Observation("frames", 2, missing=True)
LINE = np.linspace(-12.0, 12.0, 4001)
HEADS = {
    "bernoulli": (build_emission("bernoulli", PAIR), np.array([0.0, 1.0]), 1.0),
    "gaussian": (build_emission("gaussian", PAIR), LINE, LINE[1] - LINE[0]),
    "gmm": (build_emission("gmm", PAIR, num_components=3), LINE, LINE[1] - LINE[0]),
    "gmm per dimension": (
        build_emission("gmm", PAIR, num_components=3, per_dimension=True),
        *(LINE, LINE[1] - LINE[0]),
    ),
    "dmol": (build_emission("dmol", PAIR, num_components=2, levels=4), np.arange(-2.0, 2.0), 1.0),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_missing_dimension_is_integrated_out(name):
    emission, values, width = HEADS[name]
    params = init_emission(jax.random.key(3), emission, 4)
    hidden = jnp.asarray(np.random.default_rng(0).normal(size=4), jnp.float32)
    whole = np.stack([np.full_like(values, values[1]), values], axis=1).astype(np.float32)
    score = jax.jit(lambda x: emission_log_prob(params, emission, jnp.broadcast_to(hidden, (len(x), 4)), x))
    total = np.exp(np.asarray(score(whole), np.float64)).sum() * width
    found = score(np.array([[values[1], np.nan], [np.nan, np.nan]], np.float32))
    np.testing.assert_allclose(found, [np.log(total), 0.0], rtol=1e-4, atol=1e-5)


def test_an_autoregressive_head_takes_whole_frames_or_none():
    model = model_of("zforcing", PAIR, "nade")
    frames = np.array([[[1.0, 0.0], [np.nan, np.nan], [0.0, 1.0]]])
    batch = zf_jax.batch_of(frames, observation=PAIR)
    check_batch(model, batch)
    params = random_params(model)
    terms = bounds.step_terms(model, params, batch, jax.random.key(0))
    assert terms.emission_log_prob[0, 1] == 0
    assert np.isfinite(terms.emission_log_prob).all()
    partly = batch._replace(targets=np.where(np.arange(2) == 0, 1.0, batch.targets).astype(np.float32))
    with pytest.raises(ValueError, match=r"targets\[0, 1, 1\] is nan: the NADE emission scores whole frames"):
        bounds.elbo(model, params, partly, jax.random.key(0))
    assert np.isnan(jax.jit(functools.partial(bounds.elbo, model))(params, partly, jax.random.key(0))[0])


# What the networks see, and gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", few(["frames", "tokens"], "frames"))
def test_gradients_are_finite_and_a_missing_element_is_not_a_zero(kind):
    if kind == "frames":
        observation, values = PAIR, np.random.default_rng(0).normal(size=(3, 4, 2))
        values = np.where(PRESENT, values, np.nan)
    else:
        observation, values = BITS, np.where(PRESENT[..., 0], 0, -1)
    model = model_of("zforcing", observation, "gaussian" if kind == "frames" else "bernoulli")
    params, batch = random_params(model), zf_jax.batch_of(values, LENGTHS, observation=observation)
    noise = random_noise(model, batch)
    weights = zf_jax.Weights(1.0, 0.1, 0.1)
    loss = jax.jit(jax.grad(lambda p, b: zf_jax.loss_and_metrics(model, p, b, None, weights, noise=noise)[0]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loss(params, batch)))

    terms = bounds.step_terms(model, params, batch, noise=noise)
    real = np.asarray(batch.mask) > 0
    seen = np.asarray(PRESENT.any(axis=-1) if kind == "frames" else PRESENT[..., 0] > 0)
    assert ((terms.emission_log_prob != 0) == (real & seen)).all()
    read = np.concatenate([np.zeros((3, 1), bool), seen[:, :-1]], axis=1) & real  # u_t = y_{t-1}
    assert ((terms.reverse_log_prob != 0) == read).all()
    assert (np.asarray(terms.kl)[real] > 0).all()  # a latent for every real step, also a missing one
    zeros = jax.tree.map(lambda x: np.maximum(np.nan_to_num(x), 0) if kind == "tokens" else np.nan_to_num(x), batch)
    as_zeros = bounds.step_terms(model, params, zeros, noise=noise)
    assert abs(terms.kl - as_zeros.kl).max() > 1e-3


def test_a_model_without_missing_elements_has_no_parameters_for_them():
    for observation in (Observation("frames", 2), Observation("tokens", 2)):
        emission = "gaussian" if observation.kind == "frames" else "bernoulli"
        plain = random_params(model_of("vrnn", observation, emission))
        more = random_params(model_of("vrnn", Observation(observation.kind, 2, missing=True), emission))
        differ = {
            jax.tree_util.keystr(path): (leaf.shape[0], other.shape[0])
            for (path, leaf), other in zip(
                jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(more), strict=True
            )
            if leaf.shape != other.shape
        }
        expected = ("['embedding']['kernel']", (2, 4)) if observation.kind == "frames" else (None, (3, 4))
        assert differ == {expected[0] or "['embedding']['embedding']": expected[1]}


def test_a_missing_word_is_in_no_bag():
    rng = np.random.default_rng(0)
    params = {"bag_of_words": {"kernel": rng.normal(size=(2, 5)), "bias": rng.normal(size=5)}}
    latents = rng.normal(size=(1, 3, 2))
    found = bag_log_prob(params, jnp.asarray(latents), jnp.array([[3, -1, 2]]), jnp.ones((1, 3)))
    logits = latents[0] @ params["bag_of_words"]["kernel"] + params["bag_of_words"]["bias"]
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = [(log_probs[0, 3] + log_probs[0, 2]) / 2, log_probs[1, 2], log_probs[2, 2]]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


# Making such batches --------------------------------------------------------------------------------------------------


def test_marks_by_mask_and_by_value_make_the_same_batch():
    rows = [np.arange(6.0).reshape(3, 2), np.ones((2, 2))]
    marked = [rows[0].copy(), rows[1].copy()]
    marked[0][1, 0], marked[1][1] = np.nan, np.nan
    by_value = zf_jax.batch_of(marked, observation=PAIR)
    by_mask = zf_jax.batch_of(rows, observed=[[[1, 1], [0, 1], [1, 1]], [1, 0]], observation=PAIR)
    for one, other in zip(by_value, by_mask, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(by_mask.inputs[0], [[0, 0], [0, 1], [np.nan, 3]])
    assert by_mask.mask.sum() == 5
    tokens = zf_jax.batch_of(np.array([[1, 0]], np.uint8), observed=np.array([[True, False]]), observation=BITS)
    np.testing.assert_array_equal(tokens.targets, [[1, -1]])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (dict(targets=[[[np.nan, 0.0]]]), "if NaN means missing, give an Observation"),
        (
            dict(targets=np.zeros((1, 2, 2)), observed=[[1]]),
            r"observed has the shape \[1, 1\], and must be \[1, 2, 2\]",
        ),
        (dict(targets=np.zeros((1, 2, 2)), observed=[[1, 2]]), "observed must be 1 where"),
        (dict(targets=np.zeros((1, 2, 2)), observed=[[1, 0]], observation=Observation("frames", 2)), "missing=True"),
        (dict(targets=[np.zeros((2, 2))], observed=[]), "observed holds 0 sequences, and targets 1"),
        (dict(targets=[[-2, 0]], observation=BITS), r"targets\[0, 0\] is -2"),
        (dict(targets=np.full((1, 1, 2), np.inf), observation=PAIR), "not finite"),
    ],
)
def test_marks_that_do_not_fit_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        zf_jax.batch_of(**arguments)


def test_a_model_that_knows_of_nothing_missing_refuses_a_missing_element():
    batch = zf_jax.batch_of(np.zeros((1, 2, 2)), observed=[[1, 0]])
    with pytest.raises(ValueError, match=r"targets\[0, 1, 0\] is nan: a frame is of finite numbers$"):
        check_batch(model_of("vrnn", Observation("frames", 2), "gaussian"), batch)
    check_batch(model_of("vrnn", PAIR, "gaussian"), batch)
    with pytest.raises(ValueError, match="is inf: a frame is of finite numbers, or NaN where missing"):
        check_batch(model_of("vrnn", PAIR, "gaussian"), batch._replace(targets=np.full((1, 2, 2), np.inf, np.float32)))
