"""Estimate the particle bound (FIVO), the log of a particle filter's estimate of p(x), for any model.

Source: Maddison et al., "Filtering Variational Objectives", 2017, algorithm 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.bounds.importance import log_mean_exp
from zf_jax.bounds.noise import required_key, sequence_keys
from zf_jax.checks import check_counts, checked
from zf_jax.compiled import compiled_once
from zf_jax.density import needs_steps
from zf_jax.models.base import Features, Model
from zf_jax.shapes import check_inputs, check_shape
from zf_jax.typing import Array, Batch, Params


class ParticleEstimate(NamedTuple):
    """The estimates of a particle filter, one per sequence.

    Attributes:
      bound: log of an unbiased estimate of p(x), ``[B]``, nats; the expectation is a lower bound of log p(x).
      num_resampled: the number of steps after which the particles were resampled, ``[B]`` int32.
    """

    bound: Array
    num_resampled: Array


@checked()
@compiled_once("model", "num_particles", "chunk_size")
def particle_bound(
    model: Model,
    params: Params,
    batch: Batch,
    key: Array | None = None,
    *,
    num_particles: int = 64,
    threshold: float = 0.5,
    noise: tuple[Array, Array] | None = None,
    chunk_size: int | None = None,
    features: Features | None = None,
    kl_temperature: Array | float = 1.0,
) -> ParticleEstimate:
    """Run a particle filter over every sequence, with the model's posterior as the proposal.

    Gradients flow through the draws and the weights.  The score-function term of the choice of ancestors is left out,
    as in the source, because of the term's variance.

    Args:
      key: one PRNG key, or one key per sequence, ``[B]``; ignored if ``noise`` is given.  With one key per sequence,
        the estimate of a sequence depends neither on the row nor on padding.
      num_particles: K.
      threshold: resample after each step whose effective sample size is below ``threshold * K``, except after the last
        step.  0 never resamples, so the bound is the importance-weighted bound; above 1 always resamples.
      noise: standard normal ``[K, B, T, Z]``, which sets K, and uniform on [0, 1) ``[B, T]``, one per step.
      chunk_size: the number of sequences held in memory at once; B by default.  All particles of a sequence are held
        together, since resampling mixes the particles.
      features: ``model.encode(params, batch)``, if computed already.
      kl_temperature: the weight of log p(z) - log q(z) in training; only 1 gives a bound of log p(x).

    Raises:
      ValueError: K or ``chunk_size`` is below 1; ``key`` and ``noise`` are both None; ``key`` is a legacy key.
    """
    needs_steps(model, "the particle bound")
    check_inputs(model, params, batch, key)
    if noise is not None:
        check_shape("noise[0]", noise[0], "[K, B, T, Z]", None, *batch.mask.shape, model.latent_dim)
        check_shape("noise[1]", noise[1], "[B, T]", *batch.mask.shape)
        num_particles = len(noise[0])
    check_counts(num_particles=num_particles, chunk_size=chunk_size)
    rows = int(batch.mask.shape[0])
    chunk_size = rows if chunk_size is None else min(chunk_size, rows)
    if noise is None:
        key = required_key(key)
        keys = sequence_keys(key, jnp.arange(rows))
    else:
        keys, noise = None, (jnp.moveaxis(noise[0], 0, 2), noise[1])  # [B, T, K, Z]
    features = model.encode(params, batch) if features is None else features

    def one(sequence):
        features, key, noise = sequence
        (_, log_weights, total, count), _ = _filter(
            model, params, features, key, noise, num_particles, threshold, kl_temperature
        )
        return ParticleEstimate(total + log_mean_exp(log_weights), count)

    return jax.lax.map(one, (features, keys, noise), batch_size=chunk_size)


class Trajectories(NamedTuple):
    """The particles of one filtered sequence, and where each came from.

    Attributes:
      log_weights: of the trajectories that end in the last particles, ``[K]``.
      noise: with which each particle was drawn, ``[T, K, Z]``.
      places: the particle at each step that is on the way to each of the last particles, ``[T, K]``.
    """

    log_weights: Array
    noise: Array
    places: Array


def filtered_trajectories(
    model: Model, params: Params, features: Features, key: Array, *, num_particles: int, threshold: float = 0.5
) -> Trajectories:
    """Filter one sequence, whose features are ``[T, ...]``, and trace the particles back to its begin."""
    (_, log_weights, *_), (ancestors, noise) = _filter(
        model, params, features, key, None, num_particles, threshold, 1.0, traced=True
    )

    def back(place, ancestors):
        place = ancestors[place]
        return place, place

    return Trajectories(log_weights, noise, jax.lax.scan(back, jnp.arange(num_particles), ancestors, reverse=True)[1])


def _filter(
    model: Model,
    params: Params,
    features: Features,
    key: Any,
    noise: Any,
    num_particles: int,
    threshold: float,
    kl_temperature: Array | float,
    traced: bool = False,
) -> tuple[Any, Any]:
    """Filter one sequence; every leaf of ``features`` is ``[T, ...]``, particles are ``[K, 1, ...]``.

    Returns the last state, and of every step the ancestors of the particles after it and their noise, if ``traced``.
    """
    mask = features.observed.mask
    steps = jnp.arange(mask.shape[0])
    # Resampling helps later steps only, so the last real step and padding do not resample.
    goes_on = jnp.append(mask[1:], 0) > 0
    carry = model.initial_carry(params, mask[None])
    carry = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_particles, *x.shape)), carry)
    # Zeros are made from the mask, so that shard_map sees zeros that vary over the mesh axes of the data.
    zero = jnp.zeros_like(mask[0], dtype=jnp.result_type(float))
    initial = (carry, jnp.broadcast_to(zero, num_particles), zero, zero.astype(jnp.int32))

    def draw(t, given):
        if given is not None:
            return given
        key_latent, key_uniform = jax.random.split(jax.random.fold_in(key, t))
        shape, dtype = (num_particles, model.latent_dim), jnp.result_type(float)
        return jax.random.normal(key_latent, shape, dtype), jax.random.uniform(key_uniform, (), dtype)

    def step(state, inputs):
        carry, log_weights, total, count = state
        features_t, goes_on_t, t, given = inputs
        latent_noise, uniform = draw(t, given)
        features_t = jax.tree.map(lambda x: x[None], features_t)  # a batch of one

        def particle(carry, noise):
            carry, sites = model.step(params, carry, features_t, noise[None])
            terms = model.score(params, features_t, sites)
            log_ratio = kl_temperature * (terms.prior_log_prob - terms.posterior_log_prob)
            return carry, (terms.emission_log_prob + log_ratio)[0]

        latent_noise = jnp.where(features_t.observed.mask > 0, latent_noise, 0.0)
        carry, increments = jax.vmap(particle)(carry, latent_noise)
        log_weights = log_weights + increments  # increments are 0 on padding

        resample = goes_on_t & (effective_sample_size(log_weights) < threshold * num_particles)
        ancestors = systematic_ancestors(log_weights, uniform)
        ancestors = jnp.where(resample, ancestors, jnp.arange(num_particles))
        carry = jax.tree.map(lambda x: x[ancestors], carry)
        total = total + jnp.where(resample, log_mean_exp(log_weights), 0.0)
        log_weights = jnp.where(resample, 0.0, log_weights)
        trace = (ancestors, latent_noise) if traced else None
        return (carry, log_weights, total, count + resample.astype(count.dtype)), trace

    return jax.lax.scan(step, initial, (features, goes_on, steps, noise))


def effective_sample_size(log_weights: Array) -> Array:
    """Return the effective sample size (sum w)^2 / sum w^2 of log-weights ``[K]``; K if every weight is 0."""
    weights = _scaled(log_weights)
    return jnp.square(jnp.sum(weights)) / jnp.sum(jnp.square(weights))


def systematic_ancestors(log_weights: Array, uniform: Array, count: int | None = None) -> Array:
    """Return the indices ``[count]`` of the particles to copy, by systematic resampling; K of them by default.

    Index k occurs w_k count / sum w times on average, and never if w_k = 0.  One uniform number on [0, 1), ``[]``,
    shifts evenly spaced pointers into the cumulative weights; the variance is below that of independent draws.
    """
    count = log_weights.shape[0] if count is None else count
    ends = jnp.cumsum(_scaled(log_weights))
    pointers = (jnp.arange(count).astype(jnp.result_type(uniform)) + uniform) / count * ends[-1]
    # Rounding may move the last pointer to the end of the cumulative weights, past every positive weight.
    pointers = jnp.minimum(pointers, jnp.nextafter(ends[-1], jnp.zeros_like(ends[-1])))
    return jnp.searchsorted(ends, pointers, side="right")


def _scaled(log_weights: Array) -> Array:
    """Return weights scaled to a maximum of 1, without gradient; all 1 if every log-weight is -inf."""
    log_weights = jax.lax.stop_gradient(log_weights)
    largest = jnp.max(log_weights)
    return jnp.where(jnp.isneginf(largest), 1.0, jnp.exp(log_weights - jnp.where(jnp.isneginf(largest), 0.0, largest)))
