"""Draw the noise of a model's latents from typed PRNG keys."""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp

from zf_jax.typing import Array, Batch

GENERATOR = "threefry2x32"  # under vmap, numbers of JAX's other generators depend on the batch


def seed_key(seed: int, purpose: str = "") -> Array:
    """Return the key of a seed, or the key of a seed for one purpose.

    The generator is always ``GENERATOR``, for any ``jax_default_prng_impl``.  So a seed gives the same numbers on
    every machine, and an evaluation gives the same numbers for every batch size.

    Args:
      seed: an integer.
      purpose: a name.  Keys of different names, and keys of different seeds, are independent.
    """
    key = jax.random.key(seed, impl=GENERATOR)
    return jax.random.fold_in(key, zlib.crc32(purpose.encode())) if purpose else key


def draw_noise(key: Array, batch: Batch, latent_dim: int) -> Array:
    """Draw standard normal noise for every latent, ``[B, T, Z]``.

    Args:
      key: one key for the whole batch, or one key per sequence, ``[B]``.  With one key per sequence, the noise of a
        sequence depends on the sequence's key alone, not on the row or on padding.
    """
    shape, dtype = (*batch.mask.shape, latent_dim), jnp.result_type(float)
    if key.ndim:
        return jax.vmap(lambda k: jax.random.normal(k, shape[1:], dtype))(key)
    return jax.random.normal(key, shape, dtype)


def fold(key: Array, data: Array | int) -> Array:
    """Fold a number into one key, or into each key of ``[B]``."""
    return jax.vmap(lambda k: jax.random.fold_in(k, data))(key) if key.ndim else jax.random.fold_in(key, data)


def required_key(key: Array | None) -> Array:
    """Return ``key``; ``ValueError`` if ``key`` is None or a legacy ``PRNGKey``."""
    if key is None:
        raise ValueError("key and noise are both None: pass a key made by jax.random.key, or the noise")
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError("key is not a typed PRNG key: make the key with jax.random.key, not with jax.random.PRNGKey")
    return key
