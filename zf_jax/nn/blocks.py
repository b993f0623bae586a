"""Rematerialise in blocks of steps: keep what passes between blocks for the gradient, and compute the rest again."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

_BLOCK: contextvars.ContextVar[int] = contextvars.ContextVar("block", default=0)


@contextlib.contextmanager
def rematerialised(block: int) -> Iterator[None]:
    """While a function is traced, let ``in_blocks`` cut the time axis every ``block`` steps; 0 cuts nowhere."""
    token = _BLOCK.set(block)
    try:
        yield
    finally:
        _BLOCK.reset(token)


def in_blocks(
    function: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, *, reverse: bool = False
) -> tuple[Any, Any]:
    """Return ``function(carry, xs)``, computed block after block inside ``rematerialised``.

    The gradient then keeps ``xs`` and the carry of every block, and computes a block again before it goes through it.

    Args:
      function: a recurrence over axis 1 of every leaf of ``xs`` ``[B, T, ...]``: ``(carry, xs) -> (carry, ys)``, which
        gives the same results where ``xs`` is cut and the carry is passed on.
      reverse: whether the recurrence runs from the last step to the first.
    """
    block = _BLOCK.get()
    length = jax.tree.leaves(xs)[0].shape[1] if block else 0
    if length <= block:
        return function(carry, xs)
    whole = length // block * block

    @jax.checkpoint
    def one(carry, xs):
        with rematerialised(0):  # scans within a block are not cut again
            return function(carry, xs)

    def first(carry):
        """All blocks but the last, which may be shorter."""
        cut = jax.tree.map(
            lambda x: jnp.moveaxis(x[:, :whole].reshape(x.shape[0], whole // block, block, *x.shape[2:]), 1, 0), xs
        )
        carry, ys = jax.lax.scan(one, carry, cut, reverse=reverse)
        return carry, jax.tree.map(lambda y: jnp.moveaxis(y, 0, 1).reshape(y.shape[1], whole, *y.shape[3:]), ys)

    if whole == length:
        return first(carry)
    rest = jax.tree.map(lambda x: x[:, whole:], xs)
    if reverse:
        carry, later = one(carry, rest)
        carry, earlier = first(carry)
    else:
        carry, earlier = first(carry)
        carry, later = one(carry, rest)
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), earlier, later)
