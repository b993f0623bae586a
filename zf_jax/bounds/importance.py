"""Lower bounds of log p(x) for any model, from the same per-step terms.

All bounds are in nats for a whole sequence, ``[B]``; each is computed sequence by sequence, so that neither the
other rows of a batch nor its padding can change it (rules A7, A8).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zf_jax.bounds.noise import draw_noise, fold, required_key
from zf_jax.compiled import compiled_once
from zf_jax.models.base import Model, unroll
from zf_jax.typing import Array, Batch, Params, StepTerms


@compiled_once("model")
def step_terms(
    model: Model, params: Params, batch: Batch, key: Array | None = None, *, noise: Array | None = None
) -> StepTerms:
    """The terms of every step for one posterior sample a step, each ``[B, T]`` in nats, 0 on padding.

    Args:
      key: a PRNG key, or one a sequence ``[B]``; not read where ``noise`` is given.
      noise: standard normal, ``[B, T, Z]``.
    """
    if noise is None:
        noise = draw_noise(required_key(key), batch, model.latent_dim)
    features = model.encode(params, batch)
    return model.score(params, features, unroll(model, params, features, noise)[1])


@compiled_once("model")
def elbo(model: Model, params: Params, batch: Batch, key: Array | None = None, *, noise: Array | None = None) -> Array:
    """sum_t log p(y_t | .) - KL( q(z_t) || p(z_t) ), one sample a step, the KL in closed form: ``[B]``, nats.

    Args:
      key: a PRNG key, or one a sequence ``[B]``; not read where ``noise`` is given.
      noise: standard normal, ``[B, T, Z]``.
    """
    terms = step_terms(model, params, batch, key, noise=noise)
    return jnp.sum(terms.emission_log_prob - terms.kl, axis=1)


def log_weights(terms: StepTerms) -> Array:
    """log p(x, z) - log q(z | x) of the drawn z, over whole sequences: ``[B]``, nats."""
    return jnp.sum(terms.emission_log_prob + terms.prior_log_prob - terms.posterior_log_prob, axis=1)


@compiled_once("model", "num_samples", "chunk_size")
def iwae_log_weights(
    model: Model,
    params: Params,
    batch: Batch,
    key: Array | None = None,
    *,
    num_samples: int = 25,
    noise: Array | None = None,
    chunk_size: int | None = None,
) -> Array:
    """K log importance weights a sequence: ``[K, B]``, nats; arguments as for ``iwae``."""
    if noise is not None:
        num_samples = noise.shape[0]
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, not {num_samples}")
    chunk_size = min(chunk_size or num_samples, num_samples)
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")
    features = model.encode(params, batch)

    def one(k, noise_k):
        if noise_k is None:
            # A key for each sample by its number: the samples do not depend on how they are cut into chunks.
            noise_k = draw_noise(fold(required_key(key), k), batch, model.latent_dim)
        return log_weights(model.score(params, features, unroll(model, params, features, noise_k)[1]))

    # Samples of a chunk run side by side, chunks one after another: memory is bounded by the chunk.
    samples = (jnp.arange(num_samples), noise)
    return jax.lax.map(lambda sample: one(*sample), samples, batch_size=chunk_size)


@compiled_once("model", "num_samples", "chunk_size")
def iwae(
    model: Model,
    params: Params,
    batch: Batch,
    key: Array | None = None,
    *,
    num_samples: int = 25,
    noise: Array | None = None,
    chunk_size: int | None = None,
) -> Array:
    """The importance-weighted bound, log-mean-exp over whole-sequence weights (rule A14): ``[B]``, nats.

    Args:
      key: a PRNG key, or one a sequence ``[B]``; not read where ``noise`` is given.
      num_samples: K.
      noise: standard normal, ``[K, B, T, Z]``; sets K.
      chunk_size: how many samples are held in memory at once; all by default.

    Source: Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
    """
    weights = iwae_log_weights(model, params, batch, key, num_samples=num_samples, noise=noise, chunk_size=chunk_size)
    return log_mean_exp(weights)


def log_mean_exp(weights: Array) -> Array:
    """log (1/K) sum_k exp(w_k) over axis 0: ``[K, B]`` to ``[B]``."""
    return jax.nn.logsumexp(weights, axis=0) - jnp.log(jnp.asarray(weights.shape[0], weights.dtype))
