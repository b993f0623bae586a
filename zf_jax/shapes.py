"""Check the shapes of parameters, noise and keys where they enter the library, before JAX fails on them.

Every error is a ``ValueError`` of one sentence that names the argument, its axes, and what was given.  The checks read
shapes and types alone: they also hold while JAX traces, and cost nothing in a compiled program.  ``checks`` does the
same for batches.
"""

from __future__ import annotations

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp

from zf_jax.compiled import cannot_change
from zf_jax.typing import Batch, Params


def check_shape(name: str, value: Any, axes: str, *shape: int | None) -> None:
    """Refuse an array whose shape is not ``shape``, where None is any size.

    Args:
      axes: what the axes are, as in ``"[B, T, Z]"``.
    """
    try:
        chex.assert_shape(value, shape)
    except AssertionError:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        given = list(jnp.shape(value)) if hasattr(value, "shape") else type(value).__name__
        raise ValueError(f"{name} must have the shape {axes} = [{wanted}], not {given}") from None


def check_prefix(name: str, tree: Any, axes: str, *shape: int) -> None:
    """Refuse a tree of arrays whose first axes are not ``shape``."""
    try:
        chex.assert_tree_shape_prefix(tree, shape)
    except AssertionError:
        given = [list(jnp.shape(leaf)) for leaf in jax.tree.leaves(tree)]
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name} must have the shape {axes} = [{wanted}, ...], not {given}") from None


def check_inputs(model: Any, params: Params, batch: Batch, key: Any = None) -> None:
    """Refuse parameters that do not fit the model, or a key that does not fit the batch."""
    check_params(model, params)
    check_key(key, batch.mask.shape[0])


def check_params(model: Any, params: Params) -> None:
    """Refuse parameters that are not of ``model``: one missing, or of another shape.  Parameters beside are allowed."""
    expected = _parameter_shapes(model) if cannot_change(model) else _parameter_shapes.__wrapped__(model)
    given = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for name, shape in expected.items():
        if name not in given:
            raise ValueError(f"params have no params{name}: they must come from init of the same model")
        try:
            chex.assert_shape(given[name], shape)
        except AssertionError:
            found = list(jnp.shape(given[name]))
            raise ValueError(
                f"params{name} must have the shape {list(shape)}, not {found}: params must come from init of the same "
                "model"
            ) from None


def check_key(key: Any, rows: int) -> None:
    """Refuse keys that are neither one key nor one a sequence."""
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if typed and key.shape not in ((), (rows,)):  # what is no typed key is refused where it is used
        raise ValueError(f"key must be one PRNG key or one a sequence, [B] = [{rows}], not {list(jnp.shape(key))}")


@functools.lru_cache(maxsize=64)
def _parameter_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)}
