"""Mesh axes over which an array varies inside a ``shard_map``."""

from __future__ import annotations

from typing import Any

import jax

from zf_jax.typing import Array


def vary_like(x: Array, tree: Any) -> Array:
    """Mark ``x``, inside a ``shard_map``, as varying over the mesh axes over which ``tree`` varies.

    The gradient of ``x`` is then summed over these axes, which a ``custom_vjp`` cannot do by itself.
    """
    axes = frozenset().union(*(_varying(y) for y in jax.tree.leaves(tree)))
    missing = tuple(axes - _varying(x))
    return jax.lax.pcast(x, missing, to="varying") if missing else x


def _varying(x: Array) -> frozenset:
    kind = jax.typeof(x)  # `vma` up to JAX 0.9, `manual_axis_type.varying` since
    return getattr(kind, "vma", None) or getattr(getattr(kind, "manual_axis_type", None), "varying", frozenset())
