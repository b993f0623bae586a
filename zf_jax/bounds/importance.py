"""Compute the ELBO and the importance-weighted bound of log p(x) from a model's per-step terms.

A bound is one number per sequence, ``[B]``, in nats.  Other rows of the batch and padding never change a sequence's
bound (rules A7, A8 of docs/model.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from zf_jax.bounds.noise import draw_noise_of, fold, required_key, sequence_keys
from zf_jax.checks import check_counts, checked
from zf_jax.compiled import compiled_once
from zf_jax.density import Density, needs_steps
from zf_jax.models.base import Features, Model, Sites, unroll
from zf_jax.models.pieces import Steps, over_pieces, starts_of
from zf_jax.shapes import check_inputs, check_shape
from zf_jax.typing import Array, Batch, Params, StepTerms


@checked()
@compiled_once("model")
def step_terms(
    model: Model, params: Params, batch: Batch, key: Array | None = None, *, noise: Array | None = None
) -> StepTerms:
    """Return the terms of the bounds for one posterior sample per step, each ``[B, T]`` in nats, 0 on padding.

    Args:
      key: one PRNG key, or one key per sequence, ``[B]``; ignored if ``noise`` is given.
      noise: standard normal, ``[B, T, Z]``.
    """
    needs_steps(model, "step_terms")
    check_inputs(model, params, batch, key)
    read = _reader(key, noise, batch, model.latent_dim)

    def one(carry, features, steps):
        carry, sites = unroll(model, params, features, read(steps), carry)
        return carry, model.score(params, features, sites)

    return over_pieces(model, params, batch, one, model.initial_carry(params, batch.mask))[1]


@checked()
@compiled_once("model")
def elbo(
    model: Model | Density, params: Params, batch: Batch, key: Array | None = None, *, noise: Array | None = None
) -> Array:
    """Return the ELBO, sum_t log p(y_t | .) - KL( q(z_t) || p(z_t) ): ``[B]``, nats.

    One posterior sample is drawn per step; the KL divergence is in closed form.

    Args:
      key: one PRNG key, or one key per sequence, ``[B]``; ignored if ``noise`` is given.
      noise: standard normal, ``[B, T, Z]``.
    """
    if isinstance(model, Density):
        return model.elbo(params, batch, row_keys(key, batch, noise))["bound"]
    check_inputs(model, params, batch, key)
    terms = lambda features, sites, terms: terms.emission_log_prob - terms.kl  # noqa: E731
    return sums_over_steps(model, params, batch, key, terms, noise=noise)


def sums_over_steps(
    model: Model,
    params: Params,
    batch: Batch,
    key: Array | None,
    terms_of: Callable[[Features, Sites, StepTerms], Any],
    *,
    noise: Array | None = None,
) -> Any:
    """Return sums over the steps of one trajectory, a long one being computed piece by piece.

    Args:
      terms_of: ``(features, sites, terms)`` of some steps to what is summed: leaves ``[B, T, ...]`` to ``[B, ...]``.
      noise: standard normal, ``[B, T, Z]``.
    """
    read = _reader(key, noise, batch, model.latent_dim)

    def one(carry, features, steps):
        carry, sites = unroll(model, params, features, read(steps), carry)
        found = terms_of(features, sites, model.score(params, features, sites))
        return carry, jax.tree.map(lambda x: jnp.sum(x, axis=1, keepdims=True), found)

    sums = over_pieces(model, params, batch, one, model.initial_carry(params, batch.mask))[1]
    return jax.tree.map(lambda x: jnp.sum(x, axis=1), sums)


def _reader(key: Array | None, noise: Array | None, batch: Batch, latent_dim: int) -> Callable[[Steps], Array]:
    """Return what gives the noise of some steps, drawn or given."""
    if noise is not None:
        check_shape("noise", noise, "[B, T, Z]", *batch.mask.shape, latent_dim)  # a piece would not show another T
        return lambda steps: steps.of(noise)
    key = required_key(key)
    return lambda steps: draw_noise_of(key, batch, latent_dim, steps)


def log_weights(terms: StepTerms) -> Array:
    """Return the log importance weight of each sequence, log p(x, z) - log q(z | x): ``[B]``, nats."""
    return jnp.sum(terms.emission_log_prob + terms.prior_log_prob - terms.posterior_log_prob, axis=1)


@checked()
@compiled_once("model", "num_samples", "chunk_size")
def iwae_log_weights(
    model: Model | Density,
    params: Params,
    batch: Batch,
    key: Array | None = None,
    *,
    num_samples: int = 25,
    noise: Array | None = None,
    chunk_size: int | None = None,
) -> Array:
    """Return K log importance weights per sequence, ``[K, B]``, nats; arguments as for ``iwae``."""
    check_inputs(model, params, batch, key)
    if noise is not None:
        check_shape("noise", noise, "[K, B, T, Z]", None, *batch.mask.shape, model.latent_dim)
        num_samples = noise.shape[0]
    check_counts(num_samples=num_samples, chunk_size=chunk_size)
    chunk_size = num_samples if chunk_size is None else min(chunk_size, num_samples)
    if isinstance(model, Density):
        return model.log_weights(params, batch, row_keys(key, batch, noise), num_samples, chunk_size)
    drawn = required_key(key) if noise is None else None

    def of_steps(carries, features, steps):
        def of_sample(sample):
            k, noise_k, carry = sample
            if noise_k is None:
                # The key is folded by the sample's index, so the samples do not depend on chunk_size.
                noise_k = draw_noise_of(fold(required_key(drawn), k), batch, model.latent_dim, steps)
            carry, sites = unroll(model, params, features, noise_k, carry)
            return (None if carries is None else carry), log_weights(model.score(params, features, sites))

        # Samples of a chunk run in parallel, chunks in sequence: chunk_size bounds the memory.
        samples = (jnp.arange(num_samples), None if noise is None else steps.of(noise, axis=2), carries)
        carries, weights = jax.lax.map(of_sample, samples, batch_size=chunk_size)
        return carries, weights.T[:, None]

    carries = None  # of a sequence that is one piece nothing is handed on
    if len(starts_of(batch.mask.shape[1], model)) > 1:
        carry = model.initial_carry(params, batch.mask)
        carries = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_samples, *x.shape)), carry)
    return jnp.sum(over_pieces(model, params, batch, of_steps, carries)[1], axis=1).T


@checked()
@compiled_once("model", "num_samples", "chunk_size")
def iwae(
    model: Model | Density,
    params: Params,
    batch: Batch,
    key: Array | None = None,
    *,
    num_samples: int = 25,
    noise: Array | None = None,
    chunk_size: int | None = None,
) -> Array:
    """Return the importance-weighted bound, the log-mean-exp of K whole-sequence weights (rule A14): ``[B]``, nats.

    Args:
      key: one PRNG key, or one key per sequence, ``[B]``; ignored if ``noise`` is given.
      num_samples: K.
      noise: standard normal, ``[K, B, T, Z]``; sets K.
      chunk_size: the number of samples held in memory at once; K by default.

    Raises:
      ValueError: K or ``chunk_size`` is below 1; ``key`` and ``noise`` are both None; ``key`` is a legacy key.

    Source: Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
    """
    weights = iwae_log_weights(model, params, batch, key, num_samples=num_samples, noise=noise, chunk_size=chunk_size)
    return log_mean_exp(weights)


def row_keys(key: Array | None, batch: Batch, noise: Any = None) -> Array:
    """Return a key a row, ``[B]``, from one key or from keys that are so already; a density takes no ``noise``."""
    if noise is not None:
        raise ValueError("noise is of a model's steps, which a density does not have: give a key")
    return sequence_keys(required_key(key), jnp.arange(batch.lengths.shape[0]))


def log_mean_exp(weights: Array) -> Array:
    """Return log (1/K) sum_k exp(w_k) over axis 0: ``[K, B]`` to ``[B]``."""
    return jax.nn.logsumexp(weights, axis=0) - jnp.log(jnp.asarray(weights.shape[0], weights.dtype))
