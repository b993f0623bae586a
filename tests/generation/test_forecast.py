"""A forecast against the exact predictive distribution of linear-Gaussian models, and the CRPS by its definition."""

import jax
import numpy as np
import pytest
from helpers import linear_gaussian_models as linear
from helpers.few import few
from helpers.linear_gaussian_models import D
from helpers.models_under_test import random_params, small, targets_batch
from scipy import stats

from zf_jax.evaluation.crps import covered, crps
from zf_jax.evaluation.forecast import _filtered, forecast
from zf_jax.typing import Batch, Observation

LENGTHS, AHEAD, DRAWS = (4, 1), 2, 20_000


def predictive(name, matrices, seen):
    """Mean and standard deviation of the frames after ``seen`` ``[S, D]`` given them, from the dense joint."""
    mean, cov, _, places = linear.joint(name, matrices, len(seen) + AHEAD)
    given, ahead = places[: len(seen)].ravel(), places[len(seen) :].ravel()
    gain = np.linalg.solve(cov[np.ix_(given, given)], cov[np.ix_(given, ahead)]).T
    variance = np.diag(cov[np.ix_(ahead, ahead)] - gain @ cov[np.ix_(given, ahead)])
    return (mean[ahead] + gain @ (seen.ravel() - mean[given])).reshape(AHEAD, D), variance.reshape(AHEAD, D) ** 0.5


@pytest.mark.x64
@pytest.mark.parametrize("name", few(["zforcing", "srnn", "vrnn"], "srnn"))
def test_draws_have_the_exact_predictive_mean_and_deviation(name):
    matrices = linear.random_linear()
    targets = np.random.default_rng(0).normal(size=(len(LENGTHS), max(LENGTHS), D))
    prefix = targets_batch(Observation("frames", D), targets, LENGTHS)
    drawn = forecast(
        linear.build(name),
        linear.parameters(name, matrices),
        prefix,
        jax.random.key(0),
        length=AHEAD,
        num_samples=DRAWS,
        num_particles=DRAWS,
    )
    for row, length in enumerate(LENGTHS):
        mean, std = predictive(name, matrices, targets[row, :length])
        np.testing.assert_allclose(np.mean(drawn[row], axis=0), mean, atol=0.05 * std.max())
        np.testing.assert_allclose(np.std(drawn[row], axis=0), std, rtol=0.05)


@pytest.mark.x64
def test_weights_without_resampling_have_the_exact_evidence_as_their_mean_however_wrong_the_posterior():
    matrices, length, number = linear.random_linear(), 3, 100_000
    targets = np.random.default_rng(0).normal(size=(1, length, D))
    params = linear.parameters("zforcing", matrices)
    params["posterior"]["mean"]["bias"] = params["posterior"]["mean"]["bias"] + 1.0
    model = linear.build("zforcing")
    batch = targets_batch(Observation("frames", D), targets, (length,))

    @jax.jit
    def log_weights(params):
        one = jax.tree.map(lambda x: x[0], model.encode(params, batch))
        return _filtered(model, params, one, jax.random.key(0), number, threshold=0.0)[2]

    weights = np.asarray(log_weights(params))
    mean, cov, _, places = linear.joint("zforcing", matrices, length)
    seen = places.ravel()
    exact = stats.multivariate_normal(mean[seen], cov[np.ix_(seen, seen)]).logpdf(targets.ravel())
    shares = np.exp(weights - exact)
    assert abs(shares.mean() - 1.0) < 5.0 * shares.std() / number**0.5 < 0.1


def test_draws_of_a_sequence_depend_on_neither_its_place_nor_the_padding():
    model = small("srnn", "words")
    params = random_params(model)
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 5, (3, 6))
    batch = targets_batch(model.observation, targets, (6, 2, 3))
    keys = jax.random.split(jax.random.key(3), 3)
    how = {"length": 3, "num_samples": 7, "num_particles": 5}
    together = forecast(model, params, batch, keys, **how)
    alone = forecast(model, params, Batch(*(leaf[1:2, :2] for leaf in batch[:4]), batch.lengths[1:2]), keys[1:2], **how)
    np.testing.assert_array_equal(together[1], alone[0])
    assert together.shape == (3, 7, 3) and together.dtype == np.int32
    for name, value in (("num_samples", 0), ("chunk_size", 0), ("chunk_size", -1)):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, not {value}"):
            forecast(model, params, batch, keys, length=1, **{name: value})


def test_a_sequence_without_a_step_has_no_forecast():
    model = small("storn", "frames")
    batch = targets_batch(model.observation, np.zeros((2, 3, 2)), (3, 0))
    for prefix in (batch, jax.tree.map(np.asarray, batch)):
        with pytest.raises(ValueError, match=r"lengths\[1\] is 0: .* zf_jax.sample"):
            forecast(model, random_params(model), prefix, jax.random.key(0), length=1)


def test_the_crps_is_the_mean_over_pairs():
    rng = np.random.default_rng(2)
    draws, truth = rng.normal(size=(6, 2, 3)), rng.normal(size=(2, 3))
    expected = np.zeros((2, 3))
    for place in np.ndindex(2, 3):
        values = draws[(slice(None), *place)]
        pairs = [abs(a - b) for i, a in enumerate(values) for j, b in enumerate(values) if i != j]
        expected[place] = np.mean([abs(a - truth[place]) for a in values]) - np.mean(pairs) / 2
    np.testing.assert_allclose(crps(draws, truth), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="at least 2 draws"):
        crps(draws[:1], truth)


def test_the_crps_of_a_gaussian_is_its_closed_form_for_few_draws_and_many():
    rng = np.random.default_rng(3)
    truth, mean, std = np.array([0.3, -2.0]), np.array([0.0, 1.0]), np.array([1.0, 2.5])
    at = (truth - mean) / std
    exact = std * (at * (2 * stats.norm.cdf(at) - 1) + 2 * stats.norm.pdf(at) - np.pi**-0.5)
    many = crps(rng.normal(mean, std, (400_000, 2)), truth)
    np.testing.assert_allclose(many, exact, rtol=0.01)
    pairs = np.mean([crps(rng.normal(mean, std, (2, 2)), truth) for _ in range(20_000)], axis=0)
    np.testing.assert_allclose(pairs, exact, atol=0.06)  # the fair form has no bias for 2 draws; the plain one has 0.28


def test_intervals_cover_their_share():
    rng = np.random.default_rng(4)
    draws, truth = rng.normal(size=(2000, 3000)), rng.normal(size=3000)
    for level in (0.5, 0.9):
        assert covered(draws, truth, level).mean() == pytest.approx(level, abs=0.03)
