"""The emission heads against scipy and numpyro, bins that sum to one, draws that follow their own probabilities."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as npd
import pytest
from helpers.models_under_test import x64
from scipy import special, stats

from zf_jax import distributions
from zf_jax.emissions import build_emission
from zf_jax.models import build_model
from zf_jax.typing import Observation

FRAMES, WORDS, BITS = Observation("frames", 3), Observation("tokens", 5), Observation("tokens", 2)
UNBOUNDED = {"log_std_bounds": (None, None)}
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def values_of(head, seed=0, shape=(4,), spread=1.0):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(spread * rng.normal(size=(*shape, size))) for name, size in head.outputs.items()}


def log_prob(head, values, x):
    return jax.jit(head.log_prob)(values, x)


def theirs(distribution, x):
    """The same by numpyro."""
    return jax.jit(distribution.log_prob)(x)


def frames(seed=1, shape=(4,)):
    return np.random.default_rng(seed).normal(size=(*shape, 3))


def test_bernoulli_and_categorical():
    with x64():
        head = build_emission("bernoulli", BITS)
        values, x = values_of(head), np.array([0, 1, 1, 0])
        logits = np.asarray(values["logits"])[:, 0]
        np.testing.assert_allclose(log_prob(head, values, x), stats.bernoulli(special.expit(logits)).logpmf(x), **CLOSE)
        np.testing.assert_allclose(log_prob(head, values, x), theirs(npd.BernoulliLogits(logits), x), **CLOSE)

        head = build_emission("categorical", WORDS)
        values, x = values_of(head), np.array([0, 4, 2, 2])
        logits = np.asarray(values["logits"])
        np.testing.assert_allclose(log_prob(head, values, x), special.log_softmax(logits, -1)[np.arange(4), x], **CLOSE)
        np.testing.assert_allclose(log_prob(head, values, x), theirs(npd.CategoricalLogits(logits), x), **CLOSE)


def test_gaussian():
    with x64():
        head = build_emission("gaussian", FRAMES, **UNBOUNDED)
        values, x = values_of(head), frames()
        mean, std = np.asarray(values["mean"]), np.exp(values["log_std"])
        np.testing.assert_allclose(log_prob(head, values, x), stats.norm(mean, std).logpdf(x).sum(-1), **CLOSE)
        np.testing.assert_allclose(log_prob(head, values, x), theirs(npd.Normal(mean, std).to_event(1), x), **CLOSE)


@pytest.mark.parametrize("per_dimension", [False, True])
def test_mixture_of_gaussians(per_dimension):
    with x64():
        head = build_emission("gmm", FRAMES, num_components=4, per_dimension=per_dimension, **UNBOUNDED)
        values, x = values_of(head), frames()
        mean, std = (np.asarray(values[k]).reshape(4, 3, 4) for k in ("mean", "log_std"))
        std = np.exp(std)
        log_probs = stats.norm(mean, std).logpdf(x[..., None])  # [4, D, C]
        if per_dimension:
            logits = np.asarray(values["logits"]).reshape(4, 3, 4)
            expected = special.logsumexp(special.log_softmax(logits, -1) + log_probs, axis=-1).sum(-1)
            mixture = npd.MixtureSameFamily(npd.CategoricalLogits(logits), npd.Normal(mean, std)).to_event(1)
        else:
            logits = np.asarray(values["logits"])
            expected = special.logsumexp(special.log_softmax(logits, -1) + log_probs.sum(1), axis=-1)
            components = npd.Normal(mean.swapaxes(1, 2), std.swapaxes(1, 2)).to_event(1)
            mixture = npd.MixtureSameFamily(npd.CategoricalLogits(logits), components)
        np.testing.assert_allclose(log_prob(head, values, x), expected, **CLOSE)
        np.testing.assert_allclose(log_prob(head, values, x), theirs(mixture, x), **CLOSE)


@pytest.mark.parametrize("coding", ["linear", "mu_law"])
def test_discretised_logistics_against_differences_of_distribution_functions(coding):
    """On a coarse grid, where the difference of two distribution functions is still a number to be trusted."""
    levels, step, zero = 16, 0.25, 0.1
    with x64():
        head = build_emission("dmol", FRAMES, num_components=2, levels=levels, step=step, zero=zero, coding=coding)
        values = values_of(head, spread=0.3)
        n = np.random.default_rng(3).integers(-8, 8, (4, 3))
        n[0], n[1] = (-8, 0, 7), (7, -8, -1)
        logits, mean, log_scale = (np.asarray(values[k]).reshape(4, 3, 2) for k in ("logits", "mean", "log_scale"))
        if coding == "linear":
            axis, location, unit = (lambda v: v), (mean - zero) / step, 1.0 / step
        else:
            axis = lambda v: 8 * np.sign(v) * np.log1p(15 * np.abs(v) / 8) / np.log(16)  # noqa: E731
            location, unit = 8 * mean, 8.0
        lower, upper = (axis(np.clip(n + e, -8, 8))[..., None] for e in (-0.5, 0.5))
        lower, upper = np.where(n[..., None] == -8, -np.inf, lower), np.where(n[..., None] == 7, np.inf, upper)
        raw = log_scale + np.log(unit)
        scale = np.exp(12.0 - np.logaddexp(0.0, 12.0 + 7.0 - np.logaddexp(0.0, raw + 7.0)))  # the smooth bounds
        ours = log_prob(head, values, n * step + zero)
        for cdf in (stats.logistic(location, scale).cdf, npd.Logistic(location, scale).cdf):
            mass = np.sum(special.softmax(logits, -1) * (np.asarray(cdf(upper)) - np.asarray(cdf(lower))), -1)
            np.testing.assert_allclose(ours, np.log(mass).sum(-1), **CLOSE)


def all_bins(head):
    """Every integer of the grid as a frame of one sample, in the units of the targets: ``[levels, 1]``."""
    return (np.arange(head.levels)[:, None] - head.levels // 2) * head.step + head.zero


def extreme_values(head, location, log_scale):
    """One component at each location and scale, far out and tiny ones among them."""
    return {
        "logits": jnp.zeros((1, 2)),
        "mean": jnp.asarray([location, -location / 3.0]),
        "log_scale": jnp.asarray([log_scale, log_scale + 1.0]),
    }


EXTREMES = [(0.0, 0.0), (0.3, -4.0), (0.001, -30.0), (50.0, -2.0), (-1e4, 0.0), (0.2, 30.0), (1e4, -30.0)]
AUDIO = {
    256: {"levels": 256, "step": 1 / 37.3, "zero": 0.02},
    65536: {"levels": 65536, "step": 1 / 548.136, "zero": -0.01},
}


@pytest.mark.parametrize("coding", ["linear", "mu_law"])
@pytest.mark.parametrize("levels", [256, 65536])
def test_all_bins_sum_to_one_in_single_precision(levels, coding):
    head = build_emission("dmol", Observation("frames", 1), num_components=2, coding=coding, **AUDIO[levels])
    x = jnp.asarray(all_bins(head), jnp.float32)
    np.testing.assert_array_equal(head.integers(x)[:, 0], np.arange(levels) - levels // 2)  # one bin each
    log_prob = jax.jit(head.log_prob)
    for location, log_scale in EXTREMES:
        log_probs = np.asarray(log_prob(extreme_values(head, location, log_scale), x), np.float64)
        assert np.isfinite(log_probs).all()
        assert abs(np.exp(log_probs).sum() - 1.0) < (1e-5 if levels == 256 else 1e-4), (location, log_scale)


@pytest.mark.parametrize("coding", ["linear", "mu_law"])
def test_each_bin_of_16_bits_has_its_mass_in_single_precision(coding):
    """That they sum to 1 does not say it: errors of shared edges cancel in a sum."""
    head = build_emission("dmol", Observation("frames", 1), num_components=1, coding=coding, **AUDIO[65536])
    half = head.levels // 2
    n = np.arange(-half, half)
    edges = np.stack([n - 0.5, n + 0.5])
    if coding == "mu_law":
        edges = half * np.sign(edges) * np.log1p(65535 * np.abs(edges) / half) / np.log(65536)
    log_prob = jax.jit(head.log_prob)
    units = 60.0 if coding == "linear" else 1.0  # in which half the grid is about 1
    for mean, scale in units * np.array([(0.0, 0.4), (0.4, 0.05), (-0.9, 0.15)]):
        values = {"logits": [[0.0]], "mean": [[mean]], "log_scale": [[np.log(scale)]]}
        values = jax.tree.map(jnp.asarray, values, is_leaf=lambda v: isinstance(v, list))
        _, location, log_of_scale = (float(v.item()) for v in head._mixture(values))
        a, b = (edges - location) / np.exp(log_of_scale)
        mass = np.where(a > 0, special.expit(-a) - special.expit(-b), special.expit(b) - special.expit(a))
        inner = slice(1, -1)  # the end bins are open
        trusted = mass[inner] > 1e-30
        found = np.asarray(log_prob(values, jnp.asarray(all_bins(head), jnp.float32)))[inner]
        expected = np.log(mass[inner], where=trusted, out=np.zeros_like(mass[inner]))
        assert trusted.mean() > 0.2
        np.testing.assert_allclose(found[trusted], expected[trusted], atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("coding", ["linear", "mu_law"])
@pytest.mark.parametrize("levels", [256, 65536])
def test_gradients_are_finite_in_far_tails_and_for_tiny_scales(levels, coding):
    head = build_emission("dmol", Observation("frames", 1), num_components=2, coding=coding, **AUDIO[levels])
    x = jnp.asarray(all_bins(head)[:: levels // 64], jnp.float32)
    gradient = jax.jit(jax.vmap(jax.grad(lambda v, x: head.log_prob(jax.tree.map(lambda p: p[0], v), x)), (None, 0)))
    for location, log_scale in EXTREMES:
        values = jax.tree.map(lambda p: p.reshape(1, 2), extreme_values(head, location, log_scale))
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient(values, x)))


def test_a_naive_difference_is_found():
    """The textbook formula, which the tests above exist to keep out: a difference of two sigmoids, and its log."""
    a, b = jnp.float32(200.0), jnp.float32(201.0)
    assert np.isneginf(jnp.log(jax.nn.sigmoid(b) - jax.nn.sigmoid(a)))
    ours = distributions.discretised_logistic_log_prob(0.0, 0.0, a, b - a, first=False, last=False)
    np.testing.assert_allclose(ours, -200.0 + np.log1p(-np.exp(-1.0)), rtol=1e-6)


def test_closed_end_bins_are_found():
    head = build_emission("dmol", Observation("frames", 1), num_components=2, levels=256, step=1 / 37.3)
    _, location, log_scale = head._mixture(extreme_values(head, 3.0, 0.0))
    n = np.arange(256)[:, None, None] - 128.0
    closed = distributions.discretised_logistic_log_prob(location, log_scale, n - 0.5, 1.0, first=False, last=False)
    assert np.exp(closed).mean(-1).sum() < 0.9


@pytest.mark.parametrize(
    "name, observation, options",
    [
        ("bernoulli", BITS, {}),
        ("categorical", WORDS, {}),
        ("gaussian", FRAMES, {}),
        ("gmm", FRAMES, {"num_components": 3}),
        ("gmm", FRAMES, {"num_components": 3, "per_dimension": True}),
        ("dmol", FRAMES, {"num_components": 3, "levels": 16, "step": 0.3}),
        ("dmol", FRAMES, {"num_components": 3, "levels": 256, "step": 0.02, "coding": "mu_law"}),
    ],
)
def test_draws_follow_the_head_s_own_probabilities(name, observation, options):
    head = build_emission(name, observation, **options)
    values = values_of(head, shape=())
    rows = jax.tree.map(lambda v: jnp.broadcast_to(v, (4000, *v.shape)), values)
    x = np.asarray(jax.jit(lambda k: head.sample(rows, head.noise(k, (4000,))))(jax.random.key(0)))
    assert x.shape == ((4000,) if observation.kind == "tokens" else (4000, 3))
    if name == "dmol":
        np.testing.assert_allclose(x, np.round(x / head.step) * head.step, rtol=1e-5, atol=1e-6)
        counted = np.array([np.mean(np.round(x[:, 0] / head.step) == n) for n in (-2, -1, 0, 1, 2)])
        one = {k: v.reshape(3, 3)[:1].reshape(-1) for k, v in values.items()}
        single = build_emission(name, Observation("frames", 1), **options)
        mass = np.exp([float(log_prob(single, one, jnp.array([n * head.step]))) for n in (-2, -1, 0, 1, 2)])
        assert np.all(np.abs(counted - mass) < 5 * np.sqrt(mass / 4000) + 1e-3)
        return
    if name in ("bernoulli", "categorical"):
        mass = [float(np.exp(log_prob(head, values, jnp.asarray(c)))) for c in range(observation.size)]
        counted = np.bincount(x, minlength=observation.size) / 4000
        assert np.all(np.abs(counted - mass) < 5 * np.sqrt(np.array(mass) / 4000) + 1e-3)
        return
    error = x.std(0) / 4000**0.5
    assert np.all(np.abs(x.mean(0) - head.mean(values)) < 5 * error)
    # The total mass, 1, and the second moment of the draws, by importance sampling from a wide Gaussian.
    wide = stats.norm(x.mean(0), 2 * x.std(0))
    y = wide.rvs((4000, 3), random_state=0)
    weights = np.exp(log_prob(head, values, jnp.asarray(y)) - wide.logpdf(y).sum(-1))
    product = x[:, 0] * x[:, 1]
    for estimate, target in ((weights, 1.0), (weights * y[:, 0] * y[:, 1], product.mean())):
        assert abs(estimate.mean() - target) < 5 * (estimate.std() + product.std()) / 4000**0.5


def test_no_class_without_probability_is_drawn_at_either_end_of_the_noise():
    head = build_emission("categorical", Observation("tokens", 5))
    logits = jnp.log(jnp.array([0.0, 0.25, 0.0, 0.75, 0.0]))
    noise = jnp.array([0.0, 0.249, 0.25, 0.999, np.nextafter(np.float32(1), np.float32(0))], jnp.float32)
    drawn = head.sample({"logits": jnp.broadcast_to(logits, (5, 5))}, noise)
    np.testing.assert_array_equal(drawn, [1, 1, 3, 3, 3])


def test_rescaling_the_data_moves_densities_and_not_probabilities():
    """Check 9: a density loses D log s; a probability of the same integers does not change."""
    x, s = frames(), 4.0
    head = build_emission("gmm", FRAMES, num_components=2, **UNBOUNDED)
    values = values_of(head)
    scaled = values | {"mean": values["mean"] * s, "log_std": values["log_std"] + np.log(s)}
    lost = log_prob(head, values, x) - log_prob(head, scaled, s * x)
    np.testing.assert_allclose(lost, 3 * np.log(s), rtol=1e-5)

    raw = build_emission("dmol", FRAMES, num_components=2, levels=256)
    normalised = build_emission("dmol", FRAMES, num_components=2, levels=256, step=1 / 8, zero=0.5)
    n = np.round(8 * x)
    values = values_of(raw)
    moved = values | {"mean": (values["mean"] - 0.5) * 8, "log_scale": values["log_scale"] + np.log(8.0)}
    np.testing.assert_allclose(log_prob(normalised, values, n / 8 + 0.5), log_prob(raw, moved, n), rtol=1e-4)


def test_mu_law_is_its_own_inverse_s_inverse():
    x = np.linspace(-1, 1, 101)
    np.testing.assert_allclose(distributions.inverse_mu_law(distributions.mu_law(x, 255), 255), x, atol=1e-5)
    np.testing.assert_allclose(distributions.mu_law(np.array([-1.0, 0.0, 1.0]), 255), [-1, 0, 1], atol=1e-6)


def test_wrong_heads_are_refused():
    for name, observation, options, words in (
        ("gmm", BITS, {}, "frames"),
        ("dmol", WORDS, {}, "frames"),
        ("gmm", FRAMES, {"num_components": 0}, "num_components"),
        ("dmol", FRAMES, {"levels": 255}, "levels"),
        ("dmol", FRAMES, {"step": 0.0}, "step"),
        ("dmol", FRAMES, {"coding": "a_law"}, "coding"),
        ("laplace", FRAMES, {}, "unknown emission"),
        (build_emission("gaussian", Observation("frames", 2)), FRAMES, {}, "the model for"),
    ):
        with pytest.raises(ValueError, match=words):
            build_emission(name, observation, **options)


def test_a_model_takes_a_head_that_is_built():
    head = build_emission("dmol", FRAMES, num_components=2, levels=256)
    model = build_model("zforcing", FRAMES, emission=head, rnn_dim=4, latent_dim=2, mlp_dim=3, embed_dim=3)
    assert model.emission is head
    assert hash(model)


@pytest.mark.parametrize("levels", [256, 4096, 65536])
def test_audio_of_16_bits_is_within_the_grid_of_any_levels_and_what_is_beyond_is_not(levels):
    head = build_emission("dmol", FRAMES, levels=levels, step=2**16 / levels / 548.136, zero=-0.01)
    targets = lambda n: (np.asarray(n) / 548.136 - 0.01).astype(np.float32)  # noqa: E731  (n on the 16-bit scale)
    assert not head.outside(targets([-(2**15), 2**15 - 1])).any()
    assert head.outside(targets([-(2**15) - 2**16 // levels, 2**15])).all()
