"""Draw what comes after a given beginning: the posterior of the model's state by particles, then the prior."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from zf_jax.bounds.noise import required_key, sequence_keys
from zf_jax.bounds.particle import effective_sample_size, systematic_ancestors
from zf_jax.checks import check_context, check_counts, checked, refuse_lengths
from zf_jax.compiled import compiled_once
from zf_jax.density import needs_steps
from zf_jax.distributions import gaussian_log_prob
from zf_jax.generation.steps import Carry, checked_options, draw_steps
from zf_jax.models.base import Features, Model, Sites, given
from zf_jax.typing import Array, ArrayLike, Batch, Params


def _at_least_one_step(model: Model, prefix: Batch) -> None:
    rule = "a forecast goes on from a real step: leave the row out, or draw whole sequences with zf_jax.sample"
    refuse_lengths(prefix, lambda lengths: lengths < 1, rule)


@checked_options
@checked("prefix", _at_least_one_step)
@compiled_once("model", "length", "num_samples", "num_particles", "threshold", "chunk_size")
def forecast(
    model: Model,
    params: Params,
    prefix: Batch,
    key: Array,
    *,
    length: int,
    num_samples: int = 100,
    num_particles: int = 100,
    threshold: float = 0.5,
    chunk_size: int | None = None,
    context: ArrayLike | None = None,
) -> Array:
    """Draw from p(y_{S+1}, ..., y_{S+length} | y_1, ..., y_S) for sequences of S steps each of its own.

    A particle filter goes over the prefix.  At every step it draws a random half of the particles from the prior, the
    others from the model's posterior of the prefix alone, and weighs each by p(y, z) / q(z), q being the mixture of
    both: no weight exceeds twice that of the prior's particles, however wrong the posterior is.  As their number grows,
    the particles stand for p(z_{1:S} | y_{1:S}).  ``num_samples`` of them are drawn by their weights and continued by
    the prior.

    Args:
      prefix: sequences of at least one real step, ``[B, S]``, padded at the end.
      key: a PRNG key, or one a sequence ``[B]``, with which the draws depend neither on the sequence's place in the
        batch nor on how far the batch is padded.
      length: steps to draw.
      num_samples: N, continuations of each sequence.
      num_particles: K.
      threshold: particles are resampled where their effective number is under threshold * K.
      chunk_size: how many sequences are held in memory at once; all by default.
      context: what is given beside each element to come, ``[B, length, C]``, from each prefix's own end on: its
        known future, which a model that reads a context needs.

    Returns:
      ``[B, N, length]`` tokens or ``[B, N, length, D]`` frames, as the model reads them.

    Raises:
      ValueError: a number under 1, a known length of 0, or a density, which has no steps.
    """
    needs_steps(model, "forecast")
    check_counts(length=length, num_samples=num_samples, num_particles=num_particles, chunk_size=chunk_size)
    rows, key = int(prefix.mask.shape[0]), required_key(key)
    check_context(model.observation, context, rows, length)
    keys = sequence_keys(key, jnp.arange(rows))
    features = model.encode(params, prefix)
    tokens = model.observation.kind == "tokens"

    def one(sequence):
        features, prefix_length, key, context = sequence
        key_filter, key_choice, key_rest = jax.random.split(key, 3)
        carry, memory, log_weights = _filtered(model, params, features, key_filter, num_particles, threshold)
        chosen = systematic_ancestors(log_weights, jax.random.uniform(key_choice), num_samples)
        carry = jax.tree.map(lambda x: x[chosen], carry)
        memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_samples, *x.shape[1:])), memory)
        last = jnp.asarray(features.observed.targets)[prefix_length - 1]
        last = last.astype(jnp.int32 if tokens else jnp.result_type(float))
        last = jnp.broadcast_to(last, (num_samples, *last.shape))
        begin = Carry(carry, memory, last, jnp.ones(num_samples))
        if context is not None:
            context = jnp.broadcast_to(context, (num_samples, *context.shape))
        return draw_steps(model, params, begin, length, key_rest, None, None, False, context).values

    chunk_size = rows if chunk_size is None else min(chunk_size, rows)
    return jax.lax.map(one, (features, jnp.asarray(prefix.lengths), keys, context), batch_size=chunk_size)


def _filtered(
    model: Model, params: Params, features: Features, key: Array, num_particles: int, threshold: float
) -> tuple[Any, Any, Array]:
    """Filter one sequence, whose features are ``[S, ...]``: the particles' carries, the memory, log-weights ``[K]``."""

    def for_all(tree):
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (num_particles, *jnp.shape(x)[1:])), tree)

    mask = jnp.asarray(features.observed.mask)
    half = jnp.arange(num_particles) % 2 == 1
    share = jnp.asarray(num_particles // 2 / num_particles, jnp.result_type(float))  # of the prior's; 0 of one particle
    like = jnp.zeros((num_particles, 1), jnp.result_type(float))

    def step(state, xs):
        before, features_t, t = state, jax.tree.map(lambda x: jnp.asarray(x)[None], xs[0]), xs[1]
        carry, memory, log_weights = before
        key_latent, key_uniform, key_half = jax.random.split(jax.random.fold_in(key, t), 3)
        # Another half at every step: a trajectory's proposal is then the product of the steps' mixtures.
        from_prior = jax.random.permutation(key_half, half)
        # Before a step, so that the weights after the last one choose what is continued.
        resample = effective_sample_size(log_weights) < threshold * num_particles
        ancestors = systematic_ancestors(log_weights, jax.random.uniform(key_uniform))
        ancestors = jnp.where(resample, ancestors, jnp.arange(num_particles))
        carry = jax.tree.map(lambda x: x[ancestors], carry)
        log_weights = jnp.where(resample, 0.0, log_weights)

        noise = jax.random.normal(key_latent, (num_particles, model.latent_dim), like.dtype)
        seen = features_t.observed
        memory, plain = model.observe(params, memory, seen.inputs, seen.input_mask, *given(seen.context))
        plain = for_all(plain)
        guided = plain._replace(posterior=for_all(features_t.posterior))
        moved_by_prior, by_prior = model.step(params, carry, plain, noise)
        moved, sites = model.step(params, carry, guided, noise)
        carry, latent, state_sites = jax.tree.map(
            lambda a, b: jnp.where(from_prior.reshape(-1, *[1] * (a.ndim - 1)), a, b),
            (moved_by_prior, by_prior.latent, by_prior.state),
            (moved, sites.latent, sites.state),
        )
        prior, posterior = (jnp.sum(gaussian_log_prob(site.proposal, latent), axis=-1) for site in (by_prior, sites))
        mixture = jnp.logaddexp(prior + jnp.log(share), posterior + jnp.log(1.0 - share))
        about = plain._replace(observed=for_all(seen))
        terms = model.score(params, about, Sites(latent, sites.proposal, state_sites))
        log_weights = log_weights + terms.emission_log_prob + prior - mixture
        after = (carry, memory, log_weights)
        return jax.tree.map(lambda new, old: jnp.where(seen.mask[0] > 0, new, old), after, before), None

    initial = (
        model.initial_carry(params, like),
        model.initial_memory(params, like[:1]),
        jnp.zeros(num_particles, like.dtype),
    )
    return jax.lax.scan(step, initial, (features, jnp.arange(mask.shape[0])))[0]
