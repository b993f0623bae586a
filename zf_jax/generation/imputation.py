"""Draw what was not observed of a sequence, given all that was, before and after."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.bounds.importance import iwae_log_weights
from zf_jax.bounds.noise import draw_noise, fold, required_key
from zf_jax.bounds.particle import effective_sample_size
from zf_jax.checks import checked
from zf_jax.compiled import compiled_once
from zf_jax.emissions import draw_missing, emission_values
from zf_jax.models.base import Model, unroll
from zf_jax.typing import Array, Batch, Params


class Imputed(NamedTuple):
    """Sequences whose missing elements are drawn.

    Attributes:
      values: ``[S, B, T]`` tokens or ``[S, B, T, D]`` frames: what was observed as observed, 0 on padding.
      latents: z, ``[S, B, T, Z]``.
      effective_sample_size: ``[B]``, of the ``num_particles`` weights; near 1, all draws have nearly the same latents.
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

    Latents are drawn from the posterior network ``num_particles`` times and resampled by their importance weights, so
    that the draws approach the model's own conditional distribution as the number of particles grows, whatever the
    posterior network (sampling importance resampling: Rubin, 1988).  An element then comes from the emission given the
    latents and the observed dimensions of the same frame.

    Args:
      batch: sequences of a model whose observation has ``missing=True``; NaN or -1 where missing.
      key: a PRNG key, or one key per sequence, ``[B]``.
      num_samples: S, draws of each sequence, with replacement.
      num_particles: K, trajectories of latents to resample from.
      chunk_size: the number of trajectories per sequence in memory at once; None is all.
    """
    if not model.observation.missing:
        raise ValueError("the model knows of nothing missing: build it with Observation(..., missing=True)")
    if num_samples < 1 or num_particles < 1:
        raise ValueError(f"num_samples and num_particles must be at least 1, not {num_samples} and {num_particles}")
    rows, steps = batch.mask.shape
    key = required_key(key)
    keys = key if key.ndim else jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(rows))
    key_latent, key_choice, key_emission = (fold(keys, index) for index in range(3))
    weights = iwae_log_weights(
        model, params, batch, key_latent, num_samples=num_particles, chunk_size=chunk_size
    )  # [K, B]
    chosen = jax.vmap(lambda key, w: jax.random.categorical(key, w, shape=(num_samples,)), (0, 1), 1)(
        key_choice, weights
    )  # [S, B]
    features = model.encode(params, batch)

    def one(xs):
        index, sample = xs  # [B], []
        # The trajectory that has the weight: ``iwae_log_weights`` folds the number of a sample into its key.
        noise = draw_noise(jax.vmap(jax.random.fold_in)(key_latent, index), batch, model.latent_dim)
        sites = unroll(model, params, features, noise)[1]
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        noise = jax.vmap(lambda key: model.emission.noise(jax.random.fold_in(key, sample), (steps,)))(key_emission)
        return draw_missing(model.emission, values, noise, features.observed.targets), sites.latent

    values, latents = jax.lax.map(one, (chosen, jnp.arange(num_samples)), batch_size=chunk_size or num_samples)
    return Imputed(values, latents, jax.vmap(effective_sample_size, 1)(weights))
