"""What is generated at step t may know y_s only for s < t; what infers z_t may, and must, know y_t."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.models_under_test import (
    CASES,
    KINDS,
    LATENT_NAMES,
    READ_THE_PAST,
    random_params,
    random_targets,
    small,
    targets_batch,
    wrap,
)

from zf_jax.emissions import emission_values
from zf_jax.models.base import replay
from zf_jax.typing import clean

pytestmark = pytest.mark.x64  # injected latents are then the same to 1e-15, whatever the posterior they were drawn from

NUM_STEPS = 6
SAME, DIFFERENT = 1e-9, 1e-6
READS_THE_FUTURE = {"zforcing": True, "srnn": True, "storn": False, "vrnn": False, "vrnn_i": False, "dmm": True}


def other(observation, element):
    """An element of the sequence that differs from this one."""
    return (element + 1) % observation.size if observation.kind == "tokens" else element + 1.0


def influence(model, params, observation):
    """How far y_s moves each distribution of step t: {"prior", "emission", "posterior"} of ``[T, T]``, at [s, t]."""
    rng = np.random.default_rng(3)
    sequence = random_targets(observation, 1, NUM_STEPS)[0]
    latents = jnp.asarray(np.tile(rng.normal(size=(1, NUM_STEPS, model.latent_dim)), (NUM_STEPS, 1, 1)))
    changed = np.stack([sequence] * NUM_STEPS)
    for s in range(NUM_STEPS):
        changed[s, s] = other(observation, changed[s, s])

    @jax.jit
    def distributions(batch):
        features = model.encode(params, batch)
        sites = replay(model, params, features, latents)
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        terms = model.score(params, features, sites)
        # The emission through its head and through score, with the targets it is scored on kept the same.
        return {"prior": model.prior(params, features, sites), "emission": values, "posterior": sites.proposal}, terms

    base, base_terms = distributions(targets_batch(observation, np.stack([sequence] * NUM_STEPS)))
    moved, moved_terms = distributions(targets_batch(observation, changed))

    def distance(a, b):
        apart = jax.tree.map(lambda x, y: jnp.abs(x - y).reshape(*x.shape[:2], -1).sum(-1), a, b)
        return np.asarray(sum(jax.tree.leaves(apart)))

    result = {name: distance(base[name], moved[name]) for name in base}
    result["prior_log_prob"] = distance(base_terms.prior_log_prob, moved_terms.prior_log_prob)
    result["emission_log_prob"] = distance(base_terms.emission_log_prob, moved_terms.emission_log_prob)
    return result


BEFORE = np.tri(NUM_STEPS, k=-1).T > 0  # [s, t] with s < t
NOT_AFTER = np.tri(NUM_STEPS).T > 0  # s <= t


@functools.cache
def case(name, kind):
    model = small(name, kind)
    return influence(model, random_params(model), KINDS[kind][0])


@pytest.mark.parametrize("name, kind", CASES)
def test_generation_is_blind_to_the_present_and_the_future(name, kind):
    seen = case(name, kind)
    for what in ("prior", "emission", "prior_log_prob"):
        assert seen[what][~BEFORE].max() < SAME, what
    # y_s itself enters the log-probability of step s, and nothing of later targets does.
    assert seen["emission_log_prob"][~NOT_AFTER].max() < SAME
    if name in READ_THE_PAST:
        assert seen["emission"][BEFORE].min() > DIFFERENT, "the emission must know the whole past"
    else:  # the latents, which are held fixed here, are all that it knows
        assert max(seen[what].max() for what in ("prior", "emission")) < SAME
    assert np.diag(seen["emission_log_prob"]).min() > DIFFERENT


@pytest.mark.parametrize("name", LATENT_NAMES)
def test_the_posterior_sees_the_present(name):
    seen = case(name, "frames")["posterior"]
    assert np.diag(seen).min() > DIFFERENT
    if READS_THE_FUTURE[name]:
        assert seen[~NOT_AFTER].min() > DIFFERENT
    else:
        assert seen[~NOT_AFTER].max() < SAME


@pytest.mark.parametrize("name", READ_THE_PAST)
def test_a_leak_is_found(name):
    model = small(name)
    leaky = wrap(model, encode=lambda params, batch: model.encode(params, shifted(batch)))

    def shifted(batch):
        batch = clean(batch)
        return batch._replace(inputs=batch.targets, input_mask=batch.mask)  # off by one: u_t = y_t

    seen = influence(leaky, random_params(model), KINDS["binary"][0])
    assert seen["emission"][~BEFORE].max() > DIFFERENT
