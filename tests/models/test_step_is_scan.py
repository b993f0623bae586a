"""Step by step is the scan: the generator's own way through a model reproduces what the score was computed from."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import (
    CASES,
    KINDS,
    READ_THE_PAST,
    random_batch,
    random_noise,
    random_params,
    small,
    wrap,
)

from zf_jax.models.base import replay, unroll

pytestmark = pytest.mark.x64

NUM_STEPS = 6
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@functools.cache
def case(name, kind):
    """A model whose parts are compiled once, parameters, a batch, and latents to inject or noise to draw them with."""
    model = small(name, kind)
    batch = random_batch(KINDS[kind][0], (NUM_STEPS,) * 3, NUM_STEPS)
    noise = random_noise(model, batch)
    model = wrap(model, **{part: jax.jit(getattr(model, part)) for part in ("encode", "step", "score", "observe")})
    return model, random_params(model), *jax.device_get((batch, noise))  # cut by numpy, which compiles nothing


@functools.partial(jax.jit, static_argnums=0)
def along_the_scan(model, params, batch, latents):
    """Prior and readout of every step, with these latents."""
    features = model.encode(params, batch)
    sites = replay(model, params, features, latents)
    return model.prior(params, features, sites), model.readout(params, features, sites)


def at(tree, t):
    return jax.tree.map(lambda x: x[:, t], tree)


def assert_close(actual, desired):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **CLOSE), actual, desired)


@pytest.mark.parametrize("name, kind", few(CASES, *((name, "frames") for name in ("zforcing", "vrnn", "srnn"))))
def test_inference_step_by_step(name, kind):
    model, params, batch, noise = case(name, kind)
    features = jax.device_get(model.encode(params, batch))
    carry, sites = jax.device_get(unroll(model, params, features, noise))
    terms = jax.device_get(model.score(params, features, sites))
    state = model.initial_carry(params, batch.mask)
    for t in range(NUM_STEPS):
        state, sites_t = model.step(params, state, at(features, t), noise[:, t])
        assert_close(sites_t, at(sites, t))
        assert_close(model.score(params, at(features, t), sites_t), at(terms, t))
    assert_close(state, carry)


def generate(model, params, inputs, is_data, latents):
    """What the generator sees when it is fed these inputs and draws these latents: prior and readout of every step."""
    carry, memory = model.initial_carry(params, is_data), model.initial_memory(params, is_data)
    result = []
    for t in range(NUM_STEPS):
        memory, features = model.observe(params, memory, inputs[:, t], is_data[:, t])
        assert features.posterior is None
        proposal = model.step(params, carry, features, np.zeros_like(latents[:, t]))[1].proposal
        noise = (latents[:, t] - proposal.mean) * np.exp(-proposal.log_std)
        carry, sites = model.step(params, carry, features, noise)
        result.append((model.prior(params, features, sites), model.readout(params, features, sites), sites.proposal))
    return jax.tree.map(lambda *xs: np.stack(xs, axis=1), *result)


@pytest.mark.parametrize("name, kind", CASES)
def test_generation_step_by_step(name, kind):
    model, params, batch, latents = case(name, kind)
    expected = along_the_scan(model, params, batch, latents)
    prior, readout, proposal = generate(model, params, batch.inputs, batch.input_mask, latents)
    assert_close((prior, readout), expected)
    assert_close(proposal, prior)  # without a posterior the step draws from the prior


@pytest.mark.parametrize("name", few(READ_THE_PAST, "vrnn", "zforcing"))
def test_a_late_input_is_found(name):
    model, params, batch, latents = case(name, "frames")
    late = generate(model, params, np.roll(batch.inputs, 1, axis=1), batch.input_mask, latents)[1]
    assert np.abs(late - along_the_scan(model, params, batch, latents)[1]).max() > 1e-3
