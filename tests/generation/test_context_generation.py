"""What is given beside elements that are yet to be drawn: samples, continuations and forecasts follow it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.models_under_test import random_params
from helpers.with_context import C, model_of, some_batch

import zf_jax
from zf_jax import Observation
from zf_jax.emissions import emission_values
from zf_jax.evaluation.features import encode_means
from zf_jax.evaluation.forecast import forecast
from zf_jax.generation import interpolate
from zf_jax.models.base import replay

T, SLOW = 5, pytest.mark.slow
JOINED = Observation("frames", 2, context=C)  # labels in the context already
FUTURE = np.random.default_rng(5).normal(size=(3, 2, C)).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def means_of(model, params, batch, latents):
    """E[y_t] of each step of whole sequences, with these latents."""
    features = model.encode(params, batch)
    sites = replay(model, params, features, latents)
    values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
    return model.emission.mean(values)


@pytest.mark.parametrize("name", ["vrnn", "srnn", *(pytest.param(n, marks=SLOW) for n in ("rnn", "zforcing"))])
def test_what_is_drawn_has_the_means_of_the_model_given_the_same_context(name):
    """Samples from the start, and continuations of prefixes of several lengths, each from its own end on."""
    model = model_of(name)
    params = random_params(model)
    context = np.random.default_rng(4).normal(size=(3, T, C)).astype(np.float32)
    drawn = zf_jax.sample(model, params, jax.random.key(0), num_samples=3, length=T, context=context)
    batch = zf_jax.batch_of(np.asarray(drawn.values), observation=JOINED, context=context)
    np.testing.assert_allclose(drawn.mean, means_of(model, params, batch, drawn.latents), rtol=1e-3, atol=1e-4)

    prefix = jax.tree.map(lambda x: x[:, :3] if np.ndim(x) > 1 else x, some_batch(lengths=(3, 1, 2)))
    found = zf_jax.continue_prefix(model, params, prefix, jax.random.key(1), length=2, context=FUTURE)
    whole = np.zeros((3, T, C))
    for row, length in enumerate(prefix.lengths):
        whole[row, : length + 2] = [*prefix.context[row, :length], *FUTURE[row]]
    batch = zf_jax.batch_of(np.asarray(found.values), prefix.lengths + 2, observation=JOINED, context=whole)
    real = np.asarray(batch.mask)[..., None]
    expected = means_of(model, params, batch, found.latents)
    np.testing.assert_allclose(found.mean * real, expected * real, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["rnn", pytest.param("zforcing", marks=SLOW)])
def test_a_forecast_follows_the_known_future_up_to_its_own_step(name):
    model, prefix = model_of(name), some_batch(lengths=(3, 1, 2))
    params = random_params(model)
    draw = functools.partial(forecast, model, params, prefix, jax.random.key(0), length=2, num_particles=8)
    base = draw(context=FUTURE, num_samples=400)
    for step in range(2):
        other = FUTURE.copy()
        other[:, step] += 1.0
        apart = np.abs(draw(context=other, num_samples=400) - base).sum(axis=(0, 1, 3))
        assert (apart[:step] == 0).all()
        assert (apart[step:] > 1e-3).all()
    if name == "rnn":  # whose next mean is exact
        mean = zf_jax.continue_prefix(model, params, prefix, length=2, context=FUTURE, greedy=True).mean
        for row, length in enumerate(prefix.lengths):
            error = base[row, :, 0].std(axis=0) / 400**0.5
            assert (np.abs(base[row, :, 0].mean(axis=0) - mean[row, length]) < 5 * error).all()


def test_a_particle_bound_reads_the_context():
    model, batch = model_of("rnn"), some_batch()
    params = random_params(model)
    exact = zf_jax.elbo(model, params, batch, jax.random.key(0))
    found = zf_jax.particle_bound(model, params, batch, jax.random.key(0), num_particles=2)
    np.testing.assert_allclose(found.bound, exact, rtol=1e-5)


def test_generation_refuses_a_context_that_is_missing_or_does_not_fit():
    model, prefix, key = model_of("rnn"), some_batch(), jax.random.key(0)
    params = random_params(model)
    sample = functools.partial(zf_jax.sample, model, params, key, num_samples=3, length=2)
    with pytest.raises(ValueError, match="context is missing: the model reads 5 numbers"):
        sample()
    with pytest.raises(ValueError, match=r"real numbers \[B, T, C\] = \[3, 2, 5\], not float32 \[3, 1, 5\]"):
        sample(context=FUTURE[:, :1])
    with pytest.raises(ValueError, match=r"context\[0, 0, 0\] is nan"):
        sample(context=jnp.full_like(FUTURE, np.nan))
    with pytest.raises(ValueError, match="context is missing"):
        forecast(model, params, prefix, key, length=2)
    blind = prefix._replace(context=None)
    with pytest.raises(ValueError, match="context is missing: the model reads 5 numbers"):
        forecast(model, params, blind, key, length=2, context=np.zeros((len(prefix.mask), 2, 5), np.float32))
    with pytest.raises(ValueError, match="context is missing: the model reads 5 numbers"):
        encode_means(model, params, blind)
    with pytest.raises(ValueError, match="context is missing"):
        zf_jax.continue_prefix(model, params, prefix, key, length=2)
    with pytest.raises(ValueError, match="there is no context to decode with"):
        interpolate(model, params, jax.tree.map(lambda x: x[:2], prefix), [0.5])
