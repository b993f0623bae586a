"""Draw the noise of a model's latents from typed PRNG keys."""

from __future__ import annotations

import math
import zlib
from typing import Any

import jax
import jax.extend.random
import jax.numpy as jnp
import numpy as np

from zf_jax.models.pieces import Steps
from zf_jax.typing import Array, ArrayLike, Batch

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


def sequence_keys(key: Array, indices: ArrayLike) -> Array:
    """Return a key of each sequence, ``[B]``: of one key and the indices ``[B]``, or keys that are so already."""
    return key if key.ndim else jax.vmap(lambda index: jax.random.fold_in(key, index))(indices)


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


def draw_noise_of(key: Array, batch: Batch, latent_dim: int, steps: Steps) -> Array:
    """Draw the noise of some steps alone, ``[B, length, Z]``: that which ``draw_noise`` gives these steps.

    Where the numbers of a step cannot be made apart (another generator, or numbers that are not partitionable), those
    of all steps are drawn.
    """
    rows, length = batch.mask.shape
    if steps.length == length:
        return draw_noise(key, batch, latent_dim)
    partitionable = getattr(jax.config, "jax_threefry_partitionable", True)
    if jax.random.key_impl(key) != GENERATOR or not partitionable:
        return steps.of(draw_noise(key, batch, latent_dim))
    # How many numbers of the same key come before, of each row and each piece, as two words of 32 bits: [N, B, 2].
    before = np.zeros(rows, np.uint64) if key.ndim else np.arange(rows, dtype=np.uint64) * np.uint64(length)
    counts = (before + steps.starts.astype(np.uint64)[:, None]) * np.uint64(latent_dim)
    words = np.stack([counts >> np.uint64(32), counts & np.uint64(2**32 - 1)], axis=-1).astype(np.uint32)
    data = jnp.broadcast_to(jax.random.key_data(key), (rows, 2))
    data = jnp.concatenate([data, jnp.asarray(words)[steps.piece]], axis=1)
    keys = jax.random.wrap_key_data(data, impl=_FROM_OFFSET)
    return draw_noise(keys, batch._replace(mask=batch.mask[:, : steps.length]), latent_dim)


def _bits_from_offset(data: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    """Return the bits of threefry from an offset on; ``data`` is the key and the offset, a high and a low word each."""
    size = math.prod(shape)
    low = data[3] + jax.lax.iota(jnp.uint32, size)
    high = data[2] + (low < data[3]).astype(jnp.uint32)
    bits = jax.extend.random.threefry_2x32(data[:2], jnp.concatenate([high, low]))
    first, second = bits[:size], bits[size:]
    if bit_width == 32:
        return (first ^ second).reshape(shape)
    return ((first.astype(jnp.uint64) << 32) | second).reshape(shape)


def _no_such_key(*_: Any) -> Any:
    raise NotImplementedError("a key with an offset is drawn from, and nothing else")


# jax.random.normal does the rest, so that numbers from an offset are those of JAX to the last bit.
_FROM_OFFSET = jax.extend.random.define_prng_impl(
    key_shape=(4,),
    seed=_no_such_key,
    split=_no_such_key,
    random_bits=_bits_from_offset,
    fold_in=_no_such_key,
    name="threefry_from_offset",
    tag="tfo",
)


def fold(key: Array, data: Array | int) -> Array:
    """Fold a number into one key, or into each key of ``[B]``."""
    return jax.vmap(lambda k: jax.random.fold_in(k, data))(key) if key.ndim else jax.random.fold_in(key, data)


def required_key(key: Array | None) -> Array:
    """Return ``key``; ``ValueError`` if ``key`` is None or a legacy ``PRNGKey``."""
    if key is None:
        raise ValueError("key is None: pass a key made by jax.random.key, or the noise where a function takes it")
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError("key is not a typed PRNG key: make the key with jax.random.key, not with jax.random.PRNGKey")
    return key
