"""Draw the noise of a model's latents from typed PRNG keys."""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp

from zf_jax.typing import Array, Batch

GENERATOR = "threefry2x32"  # its numbers do not depend on the batch; those of JAX's other generators do under vmap


def seed_key(seed: int, purpose: str = "") -> Array:
    """Return the key of a seed, or the key of a seed for one purpose.

    The generator is always ``GENERATOR``, whatever ``jax_default_prng_impl`` is: a run, and an evaluation for any batch
    size, is then the same on every machine.

    Args:
      purpose: a name.  Keys of two names, or of two seeds, are independent.
    """
    key = jax.random.key(seed, impl=GENERATOR)
    return jax.random.fold_in(key, zlib.crc32(purpose.encode())) if purpose else key


def draw_noise(key: Array, batch: Batch, latent_dim: int) -> Array:
    """Draw standard normal noise for every latent, ``[B, T, Z]``.

    Args:
      key: one key for the whole batch, or one key per sequence, ``[B]``.  With one key per sequence the noise of a
        sequence depends on its key alone, not on its place in the batch or the padding of the batch.
    """
    shape, dtype = (*batch.mask.shape, latent_dim), jnp.result_type(float)
    if key.ndim:
        return jax.vmap(lambda k: jax.random.normal(k, shape[1:], dtype))(key)
    return jax.random.normal(key, shape, dtype)


def fold(key: Array, data: Array | int) -> Array:
    """Fold a number into one key, or into each of a key a sequence, ``[B]``."""
    return jax.vmap(lambda k: jax.random.fold_in(k, data))(key) if key.ndim else jax.random.fold_in(key, data)


def required_key(key: Array | None) -> Array:
    """Return ``key``; ``ValueError`` if it is None or a legacy ``PRNGKey``."""
    if key is None:
        raise ValueError("give a PRNG key, or the noise itself")
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError("give a typed PRNG key, made by jax.random.key rather than jax.random.PRNGKey")
    return key
