"""A scan over time whose weight gradients are formed after the reverse scan, by one matmul a weight.

Plain autodiff of ``y_t = x_t W`` inside a scan adds the thin product x_t' dy_t to the gradient of W at every step,
and reads and writes all of that gradient each time.  Nothing about it is sequential: here the scan keeps x_t, the
reverse scan hands out dy_t, and the gradient is sum_t x_t' dy_t, one product over all steps.  What depends on the
parameters alone (slices, concatenations, products of kernels) is computed once, before the scan.

The step is any JAX function; no model knows of this room.  The step is traced once, and each of its equations is

    hoisted      if it depends on the parameters alone: it runs before the scan, and is differentiated as usual;
    a product    if it is a matmul of a sequential value with a hoisted one: its left operand is kept, and its result
                 is tapped, which is to say that it has an input whose cotangent is the product's own;
    sequential   otherwise.

Reverse mode only (``jax.grad``, ``jax.vjp``), and once: ``custom_vjp`` refuses ``jax.jvp``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from zf_jax.typing import Array


def scan(step: Callable, params: Any, carry: Any, xs: Any, *, reverse: bool = False) -> tuple[Any, Any]:
    """``jax.lax.scan`` of ``step(params, carry, x) -> (carry, y)`` over axis 0, with deferred weight gradients.

    Values and gradients are those of ``lax.scan``, up to the order in which a gradient sums over steps.

    Args:
      params: any pytree; arrays that ``step`` closes over count as part of it.
      carry, xs, reverse: as for ``lax.scan``.
    """
    traced, shapes = jax.make_jaxpr(step, return_shape=True)(params, carry, jax.tree.map(lambda x: x[0], xs))
    jaxpr, structure = traced.jaxpr, jax.tree.structure(shapes)
    leaves = jax.tree.leaves(params)
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars[: len(leaves)]], [*traced.consts, *leaves]))
    inputs = jaxpr.invars[len(leaves) :]
    sequential = _hoist(jaxpr.eqns, known)
    products = {id(eqn): n for n, eqn in enumerate(eqn for eqn in sequential if _is_product(eqn, known))}
    product_eqns = [eqn for eqn in sequential if id(eqn) in products]
    read = [v for eqn in sequential for v in eqn.invars[: 1 if id(eqn) in products else None]] + jaxpr.outvars
    direct = list(dict.fromkeys(v for v in read if not isinstance(v, Literal) and v in known))

    def body(kernels, rest, taps, carry, x):
        """The sequential part of the step: ((carry, y), the left operand of every product)."""
        values = dict(zip([*direct, *inputs], [*rest, *jax.tree.leaves((carry, x))]))
        lefts = []
        for eqn in sequential:
            n = products.get(id(eqn))
            if n is None:
                results = _evaluate(eqn, [_read(v, values) for v in eqn.invars])
            else:
                lefts.append(_read(eqn.invars[0], values))
                results = [tapped(_evaluate(eqn, [lefts[n], kernels[n]])[0], taps[n])]
            values.update(zip(eqn.outvars, results))
        return jax.tree.unflatten(structure, [_read(v, values) for v in jaxpr.outvars]), lefts

    def forward(kernels, rest, carry, xs):
        steps = jax.tree.leaves(xs)[0].shape[0]
        # A tap's value is never read: the zeros are dead code, and only their cotangents exist.
        taps = [_zeros(eqn.outvars[0].aval, steps) for eqn in product_eqns]

        def unrolled(rest, carry, xs, taps):
            def one(carry, x):
                (carry, y), lefts = body(kernels, rest, x[1], carry, x[0])
                return carry, (y, lefts)

            carry, (ys, lefts) = jax.lax.scan(one, carry, (xs, taps), reverse=reverse)
            return (carry, ys), lefts

        outputs, pullback, lefts = jax.vjp(unrolled, rest, carry, xs, taps, has_aux=True)
        return outputs, (pullback, lefts, kernels)

    def backward(residuals, cotangents):
        pullback, lefts, kernels = residuals
        d_rest, d_carry, d_xs, d_taps = pullback(cotangents)
        d_kernels = [_kernel_gradient(*each) for each in zip(product_eqns, lefts, kernels, d_taps)]
        return d_kernels, d_rest, d_carry, d_xs

    @jax.custom_vjp
    def run(kernels, rest, carry, xs):
        none = [None] * len(kernels)
        return jax.lax.scan(lambda carry, x: body(kernels, rest, none, carry, x)[0], carry, xs, reverse=reverse)

    run.defvjp(forward, backward)
    axes = _varying([carry, xs])
    kernels = [_vary(known[eqn.invars[1]], axes) for eqn in product_eqns]
    return run(kernels, [_vary(known[v], axes) for v in direct], carry, xs)


@jax.custom_jvp
def _tapped(y: Array, tap: Array) -> Array:
    return y


@_tapped.defjvp
def _(primals, tangents):
    return primals[0], tangents[0] + tangents[1]


def tapped(y: Array, tap: Array | None) -> Array:
    """``y``, whose cotangent is also that of ``tap``; ``tap`` is never read."""
    return y if tap is None else _tapped(y, tap)


def _hoist(eqns: Iterable, known: dict) -> list:
    """Evaluate what depends on ``known`` alone, adding the results to it; return the other equations."""
    sequential = []
    for eqn in eqns:
        if not eqn.effects and all(isinstance(v, Literal) or v in known for v in eqn.invars):
            known.update(zip(eqn.outvars, _evaluate(eqn, [_read(v, known) for v in eqn.invars])))
        else:
            sequential.append(eqn)
    return sequential


def _is_product(eqn, known: dict) -> bool:
    """Whether the equation is a matmul of a sequential left operand with a hoisted right one."""
    if eqn.primitive.name != "dot_general" or eqn.params["dimension_numbers"][1] != ((), ()):
        return False
    left, right = eqn.invars
    return not isinstance(right, Literal) and right in known and left not in known


def _kernel_gradient(eqn, lefts: Array, kernel: Array, d_products: Array) -> Array:
    """sum_t x_t' dy_t for the product ``eqn``, given x ``[T, ...]`` and dy ``[T, ...]``."""
    (left_axes, right_axes), no_batch = eqn.params["dimension_numbers"]
    over_time = {**eqn.params, "dimension_numbers": ((tuple(a + 1 for a in left_axes), right_axes), no_batch)}
    return jax.linear_transpose(lambda w: eqn.primitive.bind(lefts, w, **over_time), kernel)(d_products)[0]


def _read(variable, values: dict):
    return variable.val if isinstance(variable, Literal) else values[variable]


def _evaluate(eqn, operands: list) -> list:
    # As a program of one equation: how a primitive wants to be bound is JAX's own affair and changes.
    variables = {v: x for v, x in zip(eqn.invars, operands) if not isinstance(v, Literal)}
    program = Jaxpr((), list(variables), eqn.outvars, [eqn])
    return jaxpr_as_fun(ClosedJaxpr(program, ()))(*variables.values())


def _varying(tree) -> frozenset:
    """The mesh axes over which the leaves differ, inside a ``shard_map``."""
    return frozenset().union(*(getattr(jax.typeof(x), "vma", frozenset()) for x in jax.tree.leaves(tree)))


def _vary(x: Array, axes: frozenset) -> Array:
    """``x``, marked as differing over ``axes``, so that its gradient is summed over them where it came from."""
    missing = tuple(axes - getattr(jax.typeof(x), "vma", frozenset()))
    return jax.lax.pcast(x, missing, to="varying") if missing else x


def _zeros(aval, steps: int) -> Array:
    return _vary(jnp.zeros((steps, *aval.shape), aval.dtype), getattr(aval, "vma", frozenset()))
