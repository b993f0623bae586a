"""Matrix products in a narrower type than their operands: parameters, states, likelihoods and sums keep theirs.

"float32" rounds nothing here and leaves products to JAX, whose default lets NVIDIA GPUs round their operands to TF32,
and TPUs to bfloat16: ``jax.default_matmul_precision("float32")`` forbids both.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from zf_jax.typing import Array

COMPUTE_DTYPES = ("float32", "bfloat16")
_DTYPE: contextvars.ContextVar[str] = contextvars.ContextVar("dtype", default="float32")


@contextlib.contextmanager
def computed_in(dtype: str) -> Iterator[None]:
    """While a function is traced, let ``matmul`` round its operands to ``dtype``; at float32 JAX's own precision holds.

    Raises:
      ValueError: ``dtype`` is not one of ``COMPUTE_DTYPES``.
    """
    if dtype not in COMPUTE_DTYPES:
        raise ValueError(f"compute_dtype must be one of {', '.join(COMPUTE_DTYPES)}, not {dtype!r}")
    token = _DTYPE.set(dtype)
    try:
        yield
    finally:
        _DTYPE.reset(token)


def matmul(x: Array, y: Array) -> Array:
    """Return ``x @ y`` in the type of ``x``; inside ``computed_in("bfloat16")`` its terms are products of bfloat16."""
    return x @ y if _DTYPE.get() == "float32" else _narrow(x, y)


def matmul_of_all_steps(x: Array, y: Array) -> Array:
    """Return ``matmul(x, y)`` of two matrices, whose gradients are products of the same type.

    ``matmul`` leaves its gradient to ``nn.deferred_scan``, which knows a product by its primitive.
    """
    return x @ y if _DTYPE.get() == "float32" else _narrow_both_ways(x, y)


def _narrow(x: Array, y: Array) -> Array:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.matmul(x.astype(jnp.bfloat16), y.astype(jnp.bfloat16), preferred_element_type=wide)


@jax.custom_vjp
def _narrow_both_ways(x: Array, y: Array) -> Array:
    return _narrow(x, y)


def _forward(x: Array, y: Array):
    return _narrow(x, y), (x.astype(jnp.bfloat16), y.astype(jnp.bfloat16), x[:0], y[:0])


def _backward(kept, d: Array):
    x, y, like_x, like_y = kept
    return _narrow(d, y.T).astype(like_x.dtype), _narrow(x.T, d).astype(like_y.dtype)


_narrow_both_ways.defvjp(_forward, _backward)
