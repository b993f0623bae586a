"""The particle bound: unbiased where the answer is known, IWAE where it never resamples, robust where weights die."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import (
    KINDS,
    LATENT_NAMES,
    random_batch,
    random_noise,
    random_params,
    small,
    take,
    targets_batch,
)
from reference import brute_force

from zf_jax import bounds
from zf_jax.bounds.particle import effective_sample_size, particle_bound, systematic_ancestors
from zf_jax.distributions import Gaussian
from zf_jax.models.base import Features, Sites, observed
from zf_jax.typing import Batch, Observation, StepTerms

pytestmark = pytest.mark.x64

LENGTHS = (6, 3, 5, 0, 1)


# A hidden Markov model as a Model: the library has only Gaussian latents, and the bound must not care. ----------------


class Chain(NamedTuple):
    """p(s_1), p(s_t | s_{t-1}), p(x_t | s_t), and a proposal q(s_t | s_{t-1}) to draw from."""

    initial: np.ndarray
    transition: np.ndarray
    emission: np.ndarray
    proposal: np.ndarray


def chain(seed=0, states=3, symbols=2, hard=False):
    rng = np.random.default_rng(seed)
    probabilities = functools.partial(rng.dirichlet, np.ones(states))
    emission = rng.dirichlet(np.ones(symbols), states)
    if hard:
        emission[0] = np.eye(symbols)[0]  # state 0 never emits the other symbols: log-weights of -inf
    return Chain(probabilities(), probabilities(states), emission, 0.5 / states + 0.5 * probabilities(states))


def hidden_markov_model(chain):
    """The chain under the model interface; normal noise becomes uniform, and then a state by the inverse CDF."""

    def logs(x):
        return jnp.log(jnp.asarray(x))

    def encode(params, batch):
        return Features(observed(batch), inputs=batch.mask, posterior=batch.mask, extra=None)

    def step(params, carry, features, noise):
        before, started = carry
        uniform = jax.scipy.stats.norm.cdf(noise[:, 0])
        ends = jnp.cumsum(jnp.asarray(chain.proposal)[before], axis=-1)
        drawn = jnp.minimum(jnp.sum(uniform[:, None] > ends, axis=-1), len(chain.initial) - 1).astype(jnp.int32)
        return (drawn, jnp.ones_like(started)), Sites(noise, Gaussian(noise, noise), (before, started, drawn))

    def score(params, features, sites):
        before, started, drawn = sites.state
        prior = jnp.where(started, logs(chain.transition)[before, drawn], logs(chain.initial)[drawn])
        terms = (logs(chain.emission)[drawn, features.observed.targets], prior, logs(chain.proposal)[before, drawn])
        emission, prior, proposal = (jnp.where(features.observed.mask > 0, x, 0.0) for x in terms)
        zeros = jnp.zeros_like(emission)
        return StepTerms(emission, zeros, prior, proposal, zeros, zeros)

    def initial_carry(params, like):
        return jnp.zeros(like.shape[0], jnp.int32), jnp.zeros(like.shape[0], bool)

    observation, init = Observation("tokens", chain.emission.shape[1]), lambda key: {}
    methods = {"init": init, "encode": encode, "step": step, "score": score, "initial_carry": initial_carry}
    return SimpleNamespace(observation=observation, latent_dim=1, **methods)


@functools.cache
def estimates(hard, threshold, num_runs=4000, num_particles=4):
    """Independent estimates of log p(x) by the filter, ``[runs]``, how often it resampled, and the exact answer."""
    params = chain(seed=1, hard=hard)
    x = np.array([1, 0, 0, 1, 1])
    exact = brute_force.hmm_log_prob(params.initial, params.transition, params.emission, x)
    np.testing.assert_allclose(
        exact, brute_force.hmm_log_prob_by_paths(params.initial, params.transition, params.emission, x), rtol=1e-10
    )
    # All runs as rows of one batch, in a bucket two steps too long.
    targets = np.tile(np.append(x, [0, 0]), (num_runs, 1))
    batch = targets_batch(Observation("tokens", 2), targets, np.full(num_runs, 5))
    run = jax.jit(functools.partial(particle_bound, hidden_markov_model(params), None, num_particles=num_particles))
    estimate = run(batch, jax.random.key(0), threshold=threshold)
    return np.asarray(estimate.bound), np.asarray(estimate.num_resampled), exact


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.7, 2.0])
def test_the_estimate_of_p_is_unbiased_on_a_hidden_markov_model(hard, threshold):
    bound, num_resampled, exact = estimates(hard, threshold)
    p = np.exp(bound - exact)
    error = p.std(ddof=1) / len(p) ** 0.5
    assert error < 0.05
    assert abs(p.mean() - 1.0) < 4 * error
    assert np.all(bound < 0.0)
    assert bound[np.isfinite(bound)].mean() < exact
    # Never after the last step: four chances in a sequence of five.
    assert num_resampled.max() == {0.0: 0, 0.7: 4, 2.0: 4}[threshold]
    assert (num_resampled.min() == 4) == (threshold == 2.0)


def test_particles_are_resampled_by_default_where_less_than_half_of_them_count():
    """Row i has i particles of equal weight alive after its first step, which is an effective sample size of i."""
    half = np.full((2, 2), 0.5)
    fair = Chain(initial=half[0], transition=half, emission=np.eye(2), proposal=half)
    alive = np.delete(np.arange(1, 65), 31)  # at one half itself rounding may decide
    batch = targets_batch(Observation("tokens", 2), np.ones((len(alive), 2), int))
    signs = np.where(np.arange(64)[:, None] < alive, 1.0, -1.0)  # state 1, which emits a 1, or state 0, which cannot
    noise = jnp.asarray(np.broadcast_to(signs[..., None, None], (64, len(alive), 2, 1)))
    bound = jax.jit(functools.partial(particle_bound, hidden_markov_model(fair), None))
    found = bound(batch, noise=(noise, jnp.full(batch.mask.shape, 0.5)))
    np.testing.assert_array_equal(found.num_resampled, alive < 32)


def test_resampling_without_restarting_the_weights_is_found(monkeypatch):
    """The mutation: weights that go on after a resampling count the past twice."""
    from zf_jax.bounds import particle

    monkeypatch.setattr(particle, "log_mean_exp", lambda w: jax.nn.logsumexp(w))
    estimates.cache_clear()
    bound, _, exact = estimates(False, 2.0, num_runs=500)
    estimates.cache_clear()
    p = np.exp(bound - exact)
    assert abs(p.mean() - 1.0) > 4 * p.std(ddof=1) / len(p) ** 0.5


@pytest.mark.parametrize("name", few(LATENT_NAMES, "zforcing"))
def test_it_is_iwae_where_it_never_resamples(name):
    model = small(name, "frames")
    params, batch = random_params(model, spread=0.2), random_batch(KINDS["frames"][0], LENGTHS, 6)
    noise = random_noise(model, batch, num_samples=7)
    uniforms = jnp.asarray(np.random.default_rng(0).uniform(size=batch.mask.shape))
    run = jax.jit(functools.partial(particle_bound, model))
    never = run(params, batch, noise=(noise, uniforms), threshold=0.0)
    np.testing.assert_allclose(never.bound, jax.jit(functools.partial(bounds.iwae, model))(params, batch, noise=noise))
    assert np.all(never.num_resampled == 0)
    always = run(params, batch, noise=(noise, uniforms), threshold=2.0)
    np.testing.assert_array_equal(always.num_resampled, np.maximum(np.array(LENGTHS) - 1, 0))
    assert np.all(np.isfinite(always.bound))
    assert np.all((np.abs(always.bound - never.bound) > 1e-6) == (np.array(LENGTHS) > 1))


def test_padding_company_and_chunks_change_nothing():
    model = small("vrnn", "frames")
    params, batch = random_params(model), jax.device_get(random_batch(KINDS["frames"][0], LENGTHS, 6))
    keys = jax.random.split(jax.random.key(1), len(LENGTHS))
    run = jax.jit(
        functools.partial(particle_bound, model, num_particles=5, threshold=0.9), static_argnames="chunk_size"
    )
    whole = jax.device_get(run(params, batch, keys))
    assert whole.num_resampled.sum() > 0
    assert whole.bound[3] == 0.0
    order = np.array([4, 2, 0, 3, 1])
    wide = Batch(*(np.pad(x, [(0, 0), (0, 2)] + [(0, 0)] * (x.ndim - 2)) for x in batch[:4]), batch.lengths)
    nan = np.where(wide.mask[..., None] > 0, wide.targets, jnp.nan)
    for cut, expected in (
        (run(params, wide._replace(targets=nan), keys, chunk_size=2), whole),
        (run(params, take(batch, order), keys[order]), jax.tree.map(lambda x: x[order], whole)),
    ):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9), cut, expected)


@pytest.mark.slow
def test_gradients_are_finite_behind_padding():
    model = small("vrnn", "frames")
    params, batch = random_params(model), random_batch(KINDS["frames"][0], LENGTHS, 6)
    batch = batch._replace(targets=jnp.where(batch.mask[..., None] > 0, batch.targets, jnp.nan))

    @jax.jit
    def gradient(params):
        def total(params):
            return particle_bound(model, params, batch, jax.random.key(0), num_particles=3).bound.sum()

        return jax.grad(total)(params)

    gradients = jax.tree.leaves(gradient(params))
    assert all(np.isfinite(x).all() for x in gradients)
    assert all(np.abs(x).max() > 0 for x in gradients)


def test_weights_that_die():
    """One particle alive, none alive, and an impossible sequence: -inf, and never NaN."""
    dead = -np.inf
    for weights, size in (([0.0, 0.0, 0.0, 0.0], 4.0), ([dead, 3.0, dead, dead], 1.0), ([dead] * 4, 4.0)):
        assert effective_sample_size(jnp.array(weights)) == size
    for uniform in (0.0, 0.5, np.nextafter(1.0, 0.0)):
        np.testing.assert_array_equal(systematic_ancestors(jnp.array([dead, 3.0, dead, dead]), uniform), 1)
        assert set(np.asarray(systematic_ancestors(jnp.array([dead, 0.0, dead, 0.0]), uniform))) == {1, 3}
        assert systematic_ancestors(jnp.array([dead] * 4), uniform).max() < 4
    weights = jnp.array([0.0] * 7 + [dead], jnp.float32)
    assert systematic_ancestors(weights, jnp.nextafter(jnp.float32(1), jnp.float32(0))).max() < 7

    impossible = chain()._replace(emission=np.tile([1.0, 0.0], (3, 1)))
    batch = targets_batch(Observation("tokens", 2), np.array([[0, 1, 0], [0, 0, 0]]))
    bound = functools.partial(particle_bound, hidden_markov_model(impossible), None, num_particles=4)
    estimate = jax.jit(bound)(batch, jax.random.key(0))
    assert np.isneginf(estimate.bound[0])
    assert np.isfinite(estimate.bound[1])


def test_ancestors_are_chosen_in_proportion_to_their_weights():
    weights = np.array([0.1, 0.0, 0.55, 0.35])
    ancestors = jax.vmap(lambda u: systematic_ancestors(jnp.log(weights), u))((jnp.arange(1000) + 0.5) / 1000)
    np.testing.assert_allclose(np.bincount(np.ravel(ancestors), minlength=4) / 4000, weights, atol=1e-3)


def test_wrong_arguments_are_refused():
    model, batch = small("vrnn"), random_batch(KINDS["binary"][0])
    for options, words in (({}, "key"), ({"num_particles": 0}, "num_particles"), ({"chunk_size": 0}, "chunk_size")):
        key = None if words == "key" else jax.random.key(0)
        with pytest.raises(ValueError, match=words):
            particle_bound(model, random_params(model), batch, key, **options)


def test_memory_is_bounded_by_the_chunk():
    """What the compiled programs say they need beside their arguments; features of all rows are held in any case."""
    model = small("vrnn", "frames", rnn_dim=32)
    params, batch = random_params(model), random_batch(KINDS["frames"][0], (40,) * 16, 40)

    def needed(bound, **options):
        compiled = jax.jit(lambda params, batch, key: bound(model, params, batch, key, **options)).lower(
            params, batch, jax.random.key(0)
        )
        return compiled.compile().memory_analysis().temp_size_in_bytes

    assert needed(bounds.iwae, num_samples=25, chunk_size=1) < 0.15 * needed(bounds.iwae, num_samples=25)
    whole = needed(particle_bound, num_particles=1024)
    assert needed(particle_bound, num_particles=1024, chunk_size=1) < 0.3 * whole
