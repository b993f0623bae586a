"""Generation goes on from each sequence's own end and in parts; temperature and greed do what they say."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import random_batch, random_params, small, targets_batch
from scipy import special, stats

from zf_jax import Batch, Observation, generation
from zf_jax.emissions import build_emission, emission_values, init_emission
from zf_jax.models.base import Wrapped

CLOSE: Any = {"rtol": 1e-3, "atol": 1e-4}
NAMES = ("srnn", "vrnn", "zforcing")  # a memory, a carry that lags, and neither


@functools.cache
def given(name):
    model = small(name, "frames")
    return model, random_params(model), random_batch(model.observation, lengths=(3, 5, 0), num_steps=5)


@pytest.mark.parametrize("name", few(NAMES, "srnn"))
def test_each_row_goes_on_from_its_own_end_as_it_would_alone(name):
    model, params, prefix = given(name)
    keys = jax.random.split(jax.random.key(0), 3)
    found = generation.continue_prefix(model, params, prefix, keys, length=4)
    assert found.values.shape == (3, 9, 2)
    cut = Batch(*(x[:1, :3] for x in prefix[:4]), lengths=prefix.lengths[:1])
    alone = generation.continue_prefix(model, params, cut, keys[:1], length=4)
    for name in ("values", "mean", "latents"):
        ours, theirs = getattr(found, name), getattr(alone, name)
        np.testing.assert_allclose(ours[0, :7], theirs[0], **CLOSE)
        assert (ours[0, 7:] == 0).all()
    np.testing.assert_array_equal(found.values[0, :3], prefix.targets[0, :3])
    np.testing.assert_array_equal(found.values[1, :5], prefix.targets[1])
    drawn = generation.sample(model, params, jax.random.split(keys[2])[1:], num_samples=1, length=4)
    np.testing.assert_allclose(found.values[2, :4], drawn.values[0], **CLOSE)  # from its start


def test_the_memory_is_of_the_prefix_and_of_what_was_drawn():
    model, params, prefix = given("srnn")
    found = generation.continue_prefix(model, params, prefix, length=4, greedy=True)
    lengths = np.asarray(prefix.lengths) + 4
    whole = jax.jit(model.encode)(params, targets_batch(model.observation, found.values, lengths))
    np.testing.assert_allclose(found.carry.memory, whole.inputs.hidden[np.arange(3), lengths - 1], **CLOSE)


@pytest.mark.parametrize("name", few(NAMES, "srnn"))
def test_a_sequence_can_be_made_in_parts(name):
    model, params, prefix = given(name)
    rng = np.random.default_rng(0)
    noise = jnp.asarray(rng.normal(size=(2, 7, model.latent_dim))), jnp.asarray(rng.normal(size=(2, 7, 2)))
    part = lambda start, stop: jax.tree.map(lambda x: x[:, start:stop], noise)  # noqa: E731
    whole = generation.sample(model, params, num_samples=2, length=7, noise=noise)
    one = generation.sample(model, params, num_samples=2, length=3, noise=part(0, 3))
    other = generation.sample(model, params, num_samples=2, length=4, noise=part(3, 7), carry=one.carry)
    np.testing.assert_allclose(jnp.concatenate([one.values, other.values], 1), whole.values, **CLOSE)

    whole = generation.continue_prefix(model, params, prefix, length=4, greedy=True).values
    one = generation.continue_prefix(model, params, prefix, length=2, greedy=True)
    other = generation.sample(model, params, num_samples=3, length=2, greedy=True, carry=one.carry).values
    for row, length in enumerate(prefix.lengths):
        np.testing.assert_allclose(whole[row, length + 2 : length + 4], other[row], **CLOSE)


def test_greed_takes_means_and_the_likeliest_and_temperature_spreads_the_latents():
    model = small("storn", "words")
    params = random_params(model)
    greedy = generation.sample(model, params, num_samples=2, length=4, greedy=True)
    np.testing.assert_array_equal(greedy.values, np.argmax(greedy.mean, axis=-1))
    assert (greedy.latents == 0).all()  # the means of STORN's prior
    noise = jax.random.normal(jax.random.key(1), (2, 4, model.latent_dim)), jnp.full((2, 4), 0.5)
    drawn = generation.sample(model, params, num_samples=2, length=4, noise=noise, temperature=0.25)
    np.testing.assert_allclose(drawn.latents, 0.25 * noise[0], rtol=1e-6)


# Heads at a temperature, against distributions written out in numpy ---------------------------------------------------

DRAWS, T = 40_000, 0.5
PAIR = Observation("frames", 2)


def draws(emission, values, temperature=T):
    noise = emission.noise(jax.random.key(0), (DRAWS,))
    values = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.float32), (DRAWS, *np.shape(x))), values)
    sample = jax.jit(lambda values, noise: emission.sample(*emission.tempered(values, noise, temperature)))
    return np.asarray(sample(values, noise))


def close(found, expected):
    """Frequencies within five standard errors."""
    expected = np.asarray(expected)
    assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / DRAWS) + 1e-6).all()


def test_logits_are_divided():
    logits = np.array([0.3, -1.0, 0.8])
    tokens = draws(build_emission("categorical", Observation("tokens", 3)), {"logits": logits})
    close(np.bincount(tokens, minlength=3) / DRAWS, special.softmax(logits / T))
    frames = draws(build_emission("bernoulli", PAIR), {"logits": logits[:2]})
    close(frames.mean(axis=0), special.expit(logits[:2] / T))


def test_scales_are_multiplied_and_weights_sharpened():
    values = {"mean": np.array([1.0, -2.0]), "log_std": np.array([0.0, 0.5])}
    head = build_emission("gaussian", PAIR, log_std_bounds=None)
    found = draws(head, values)
    for dimension in range(2):
        std = T * np.exp(values["log_std"][dimension])
        assert stats.kstest(found[:, dimension], "norm", (values["mean"][dimension], std)).pvalue > 1e-4
    weights, means, stds = np.log([0.6, 0.4]), np.array([[-3.0, 3.0], [-2.0, 2.0]]), np.array([[1.0, 0.5], [0.7, 1.2]])
    head = build_emission("gmm", PAIR, num_components=2, log_std_bounds=None)
    found = draws(head, {"logits": weights, "mean": means.ravel(), "log_std": np.log(stds).ravel()})
    sharp = special.softmax(weights / T)
    cdf = lambda x: sum(w * stats.norm.cdf(x, m, T * s) for w, m, s in zip(sharp, means[0], stds[0], strict=True))  # noqa: E731
    assert stats.kstest(found[:, 0], cdf).pvalue > 1e-4
    head = build_emission("dmol", Observation("frames", 1), num_components=2, levels=16, log_scale_bounds=None)
    values = {"logits": weights, "mean": np.array([-2.0, 3.0]), "log_scale": np.log([1.5, 0.8])}
    found = draws(head, values)[:, 0]
    edges = (np.arange(-8, 9) - 0.5)[:, None]
    ends = special.expit((edges - np.array([-2.0, 3.0])) / (T * np.array([1.5, 0.8]))) @ sharp
    ends[0], ends[-1] = 0, 1
    close(np.array([(found == n).mean() for n in range(-8, 8)]), np.diff(ends))


@pytest.mark.parametrize("name", ["nade", "made"])
def test_an_autoregressive_head_tempers_each_dimension_in_turn(name):
    head: Any = build_emission(name, PAIR, head_dim=3)
    rng = np.random.default_rng(0)
    params = jax.eval_shape(lambda: init_emission(jax.random.key(0), head, 2))
    params = jax.tree.map(lambda x: jnp.asarray(2.0 * rng.normal(size=x.shape), jnp.float32), params)
    values = emission_values(params, head, jnp.array([0.7, -0.4]))
    pairs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    p = np.exp([float(head.log_prob(values, pair)) for pair in pairs]).reshape(2, 2)
    first = p.sum(axis=1) ** (1 / T)
    second = (p / p.sum(axis=1, keepdims=True)) ** (1 / T)
    expected = first[:, None] / first.sum() * second / second.sum(axis=1, keepdims=True)
    noise = head.noise(jax.random.key(0), (DRAWS,))
    tempered, noise = head.tempered(values, noise, T)
    found = jax.vmap(lambda n: head.sample(tempered, n))(noise) @ jnp.array([2.0, 1.0])
    close(np.bincount(np.asarray(found, int), minlength=4) / DRAWS, expected.ravel())
    likely = int(p.sum(axis=1).argmax())
    np.testing.assert_array_equal(head.likeliest(values), [likely, p[likely].argmax()])


class Bare:
    """A head of one's own that inherits nothing, without a temperature."""

    def __init__(self, head):
        self._head = head

    def __getattr__(self, name):
        if name == "tempered":
            raise AttributeError(name)
        return getattr(self._head, name)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"temperature": 0.0}, "temperature must be above 0 and finite, not 0.0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"temperature": np.float32(0.0)}, "temperature must be above 0"),
        ({"temperature": jnp.array(-1.0)}, "temperature must be above 0"),
        ({"temperature": 2.0, "greedy": True}, "give one of the two"),
        ({"first": jnp.zeros((3, 2))}, r"first must have the shape \[B, D\] = \[2, 2\]"),
        ({"first": jnp.array([[0.0, 1.0], [0.0, jnp.inf]])}, r"first\[1, 1\] is inf"),
        ({"carry": "of three"}, "the carry has 3 sequences"),
    ],
)
def test_what_cannot_be_generated_is_refused(options, match):
    model, params, _ = given("zforcing")
    if "carry" in options:
        options = {"carry": generation.sample(model, params, num_samples=3, length=1, greedy=True).carry}
    with pytest.raises(ValueError, match=match):
        generation.sample(model, params, jax.random.key(0), num_samples=2, length=2, **options)


def test_a_head_without_a_temperature_is_named():
    model, params, _ = given("zforcing")
    own: Any = type("Own", (Wrapped,), {"emission": Bare(model.emission)})(model)
    with pytest.raises(ValueError, match="the Bare emission has no temperature"):
        generation.sample(own, params, jax.random.key(0), num_samples=2, length=2, temperature=0.5)
