"""A scan over time whose weight gradients are formed after the reverse scan, by one matmul a weight.

Plain autodiff of ``y_t = x_t W`` inside a scan adds the thin product x_t' dy_t to the gradient of W at every step,
and reads and writes all of that gradient each time.  Nothing about it is sequential: here the scan keeps x_t, the
reverse scan hands out dy_t, and the gradient is sum_t x_t' dy_t, one product over all steps.  What depends on the
parameters alone (slices, concatenations, products of kernels) is computed once, before the scan.

The step is any JAX function; nothing in a model knows of this.  It is traced once, and in its equations

    hoisted      depends on the parameters alone              runs before the scan, differentiated as usual
    product      a dot_general of a sequential value with     its left operand is kept, and its result is *tapped*:
                 a hoisted one                                an input whose cotangent is the product's own
    sequential   everything else                              runs in the scan

Reverse mode only: ``jax.grad`` and ``jax.vjp``, not ``jax.jvp``, once and not twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from zf_jax.typing import Array


def scan(step: Callable, params: Any, carry: Any, xs: Any, *, reverse: bool = False) -> tuple[Any, Any]:
    """``jax.lax.scan`` of ``step(params, carry, x) -> (carry, y)`` over axis 0, its weight gradients deferred.

    Values are those of ``lax.scan``; gradients too, up to the order of summation over steps.

    Args:
      params: any pytree; a closed-over array counts as one of its leaves.
      carry, xs, reverse: as for ``lax.scan``.
    """
    first = jax.tree.map(lambda x: x[0], xs)
    traced, out_shape = jax.make_jaxpr(step, return_shape=True)(params, carry, first)
    jaxpr = _inlined(traced.jaxpr)
    leaves = [*traced.consts, *jax.tree.leaves(params)]
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], leaves))
    sequential = _run_hoisted(jaxpr, known)
    products = [eqn for eqn in sequential if _is_product(eqn, known)]

    # One leaf for each hoisted value that the sequential equations read: kernels of products, and all others.
    kernels = [eqn.invars[1] for eqn in products]
    reads = [v for eqn in sequential for v in eqn.invars[: 1 if eqn in products else None]] + jaxpr.outvars
    others = list(dict.fromkeys(v for v in reads if not isinstance(v, Literal) and v in known))
    inputs = jaxpr.invars[len(leaves) - len(traced.consts) :]
    out_tree = jax.tree.structure(out_shape)


    def body(kernel_values, other_values, taps, carry, x):
        """The step's sequential equations; also the left operand of every product."""
        values = dict(zip(others, other_values)) | dict(zip(inputs, jax.tree.leaves((carry, x))))
        read = lambda v: v.val if isinstance(v, Literal) else values[v]  # noqa: E731
        lefts = []
        for eqn in sequential:
            if eqn in products:
                left, kernel = read(eqn.invars[0]), kernel_values[len(lefts)]
                results = [_tap(_bind(eqn, [left, kernel])[0], None if taps is None else taps[len(lefts)])]
                lefts.append(left)
            else:
                results = _bind(eqn, [read(v) for v in eqn.invars])
            values.update(zip(eqn.outvars, results))
        return jax.tree.unflatten(out_tree, [read(v) for v in jaxpr.outvars]), lefts
