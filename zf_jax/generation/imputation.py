"""Draw what was not observed of a sequence, given all that was, before and after."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.bounds.noise import required_key, sequence_keys
from zf_jax.bounds.particle import Trajectories, filtered_trajectories, systematic_ancestors
from zf_jax.checks import check_counts, checked
from zf_jax.compiled import compiled_once
from zf_jax.density import needs_steps
from zf_jax.emissions import draw_missing, emission_values
from zf_jax.models.base import Model, unroll
from zf_jax.typing import Array, Batch, Params, is_observed


class Imputed(NamedTuple):
    """Sequences whose missing elements are drawn.

    Attributes:
      values: ``[S, B, T]`` tokens or ``[S, B, T, D]`` frames: what was observed as observed, 0 on padding.
      latents: z, ``[S, B, T, Z]``.
      effective_sample_size: ``[B]``, of the particles that the draws go through, in the worst gap; near 1,
        all draws have the same latents there.
    """

    values: Array
    latents: Array
    effective_sample_size: Array


@checked()
@compiled_once("model", "num_samples", "num_particles", "chunk_size")
def impute(
    model: Model,
    params: Params,
    batch: Batch,
    key: Array,
    *,
    num_samples: int = 1,
    num_particles: int = 100,
    chunk_size: int | None = None,
) -> Imputed:
    """Draw the missing elements of each sequence given all its observed elements.

    A particle filter goes over each sequence, with proposals from the posterior network, and resamples where the
    effective number of particles falls under half of them.  The draws are trajectories of the last particles, traced
    back to the first step and chosen by weight, so that later elements decide which of the latents in a gap are kept.
    As the number of particles grows, the draws approach the model's own conditional distribution, whatever the
    posterior network.  An element then comes from the emission given the latents and the observed dimensions of the
    same frame.

    Args:
      batch: sequences of a model whose observation has ``missing=True``; NaN or -1 where missing.
      key: a PRNG key, or one key per sequence, ``[B]``.
      num_samples: S, draws of each sequence, with replacement.
      num_particles: K.
      chunk_size: the number of sequences in memory at once; None is all.  All particles of a sequence are in memory
        together.
    """
    needs_steps(model, "impute")
    if not model.observation.missing:
        raise ValueError("the model knows of nothing missing: build it with Observation(..., missing=True)")
    check_counts(num_samples=num_samples, num_particles=num_particles, chunk_size=chunk_size)
    rows, steps = batch.mask.shape
    key = required_key(key)
    keys = sequence_keys(key, jnp.arange(rows))
    seen = jnp.asarray(is_observed(batch.targets))
    gaps = ~(seen if seen.ndim == 2 else seen.all(axis=-1)) & (jnp.asarray(batch.mask) > 0)

    def one(sequence):
        features, key, gaps = sequence
        key_latent, key_choice, key_emission = (jax.random.fold_in(key, index) for index in range(3))
        found = filtered_trajectories(model, params, features, key_latent, num_particles=num_particles)
        chosen = systematic_ancestors(found.log_weights, jax.random.uniform(key_choice), num_samples)
        # The noise of a trajectory's steps makes the trajectory: nothing else of the particles is kept.
        noise = jax.vmap(lambda noise, places: noise[places])(found.noise, found.places[:, chosen])  # [T, S, Z]
        features = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_samples, *x.shape)), features)
        sites = unroll(model, params, features, jnp.swapaxes(noise, 0, 1))[1]
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        emission_keys = jax.vmap(lambda sample: jax.random.fold_in(key_emission, sample))(jnp.arange(num_samples))
        noise = jax.vmap(lambda key: model.emission.noise(key, (steps,)))(emission_keys)
        drawn = draw_missing(model.emission, values, noise, features.observed.targets)
        # Without latents the array is empty, and lax.map cannot cut an empty one.
        return drawn, sites.latent if model.latent_dim else None, _fewest(found, gaps)

    features = model.encode(params, batch)
    chunk_size = rows if chunk_size is None else min(chunk_size, rows)
    values, latents, sizes = jax.lax.map(one, (features, keys, gaps), batch_size=chunk_size)
    values = jnp.swapaxes(values, 0, 1)
    none = jnp.zeros((num_samples, rows, steps, 0), jnp.result_type(float))
    return Imputed(values, none if latents is None else jnp.swapaxes(latents, 0, 1), sizes)


def _fewest(found: Trajectories, gaps: Array) -> Array:
    """The effective number of particles that trajectories go through, in the worst gap; K if there is no gap."""
    number = found.log_weights.shape[0]
    weights = jax.nn.softmax(found.log_weights)
    at_step = jax.vmap(lambda places: jax.ops.segment_sum(weights, places, number))(found.places)  # [T, K]
    return jnp.min(1 / jnp.sum(jnp.square(at_step), axis=1), where=gaps, initial=number)
