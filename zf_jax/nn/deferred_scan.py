"""Scan over time with little memory, forming each weight gradient after the reverse scan in one matmul.

Plain autodiff of ``s_t = x_t W`` inside a scan adds the thin product x_t' ds_t to the gradient of W at every step,
reading and writing all of that gradient each time, and it keeps several values for every operation of the step.
Here the step, any JAX function, is traced once, and its operations are sorted into three classes:

    hoisted     depends on the parameters alone (slices, concatenations, products of kernels): runs before the scan
    sums        s = x_1 W_1 + x_2 W_2 + ... + input + bias, the pre-activations, each W hoisted: the forward scan
                keeps the sums and the carries, and nothing else
    the rest    elementwise work between the sums: cheap enough to be computed again in the reverse scan

The reverse scan then holds only what must be sequential: the products ds W' and the elementwise work.  It returns
ds_t, which is also the gradient of an input that is only added; the gradient of a weight is sum_t x_t' ds_t and that
of a bias sum_t ds_t, both over all steps at once.

One form of a product is recognised: ``x @ W`` (``jnp.dot``, ``einsum("bi,ij->bj")``, a ``vmap`` of ``row @ W``), x
computed in the step, W ``[in, out]`` hoisted, written in the step itself; and one form of a bias: a hoisted array that
is added to such a product.  Anything else that is hoisted is read directly: a transposed product
(``einsum("bj,ij->bi")``), one inside a jitted helper or a ``lax.cond``, a bias that is subtracted.  Its gradient is
right, but is added up step by step, as ``lax.scan`` does it.  ``explain`` says what a step defers:

    >>> step = lambda h, x: (jnp.tanh(x + h @ kernel + bias) * scale, None)
    >>> explain(step, jnp.zeros((8, 4)), jnp.zeros((8, 4)))
    Deferral(kernels=((4, 4),), biases=((1, 4),), inputs=((8, 4),), direct=((1, 4),))

Of that step the forward scan keeps h_t and the sum s_t = x_t + h_t W + bias; the reverse scan computes ds_t from
d(tanh(s_t) scale), adds to the gradient of ``scale``, and passes ds_t W' to h_t.  Behind it one matmul gives
sum_t h_t' ds_t.

Reverse mode first (``jax.grad``, ``jax.vjp``): ``custom_vjp`` refuses ``jax.jvp``.  A gradient may be differentiated
again, in either mode, with the memory of a plain scan.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.nn.step_program import Program, Sum, is_real, multiply, read, total, traced_step, unique
from zf_jax.nn.varying import vary_like
from zf_jax.typing import Array


class Deferral(NamedTuple):
    """Shapes of the arrays that a step closes over, or computes from closed-over arrays alone, grouped by use.

    Attributes:
      kernels: of recognised products; each gradient is one matmul after the reverse scan.
      biases: added to such a product; each gradient is one sum after the reverse scan.
      inputs: leaves of x_t that are only added to such a product; the reverse scan need not read them.
      direct: read in any other way; each gradient is added up at every step.
    """

    kernels: tuple[tuple[int, ...], ...]
    biases: tuple[tuple[int, ...], ...]
    inputs: tuple[tuple[int, ...], ...]
    direct: tuple[tuple[int, ...], ...]


def scan(step: Callable, carry: Any, xs: Any, *, reverse: bool = False) -> tuple[Any, Any]:
    """Scan ``step(carry, x) -> (carry, y)`` over axis 0, as ``jax.lax.scan``; ``step`` closes over the parameters.

    Values and gradients are those of ``lax.scan``, up to the order of summation.

    Raises:
      TypeError: ``step`` returns a carry of another structure, shape or dtype than it gets.
    """
    program, known, structure = traced_step(step, carry, jax.tree.map(lambda x: x[0], xs))
    arguments = [known[v] for v in program.hoisted], jax.tree.leaves(carry), jax.tree.leaves(xs)
    hoisted, carry, xs = jax.tree.map(lambda x: vary_like(x, [carry, xs]), arguments)
    run = jax.custom_vjp(partial(_run, program, reverse))
    run.defvjp(partial(_forward, program, reverse), partial(_backward, program, reverse))
    last, ys = run(hoisted, carry, xs)
    return jax.tree.unflatten(structure, [*last, *ys])


def explain(step: Callable, carry: Any, x: Any) -> Deferral:
    """List what ``scan`` defers of ``step``, given a carry and the input of one step."""
    program, known, _ = traced_step(step, carry, x)
    products = [p for s in program.sums for p in s.products]

    def shapes(variables):
        return tuple(tuple(v.aval.shape) for v in unique(variables))

    return Deferral(
        kernels=shapes(p.invars[1] for p in products),
        biases=shapes(v for s in program.sums for v in s.hoisted),
        inputs=shapes(program.only_added),
        direct=tuple(tuple(jnp.shape(known[v])) for v in program.direct),
    )


def _run(program: Program, reverse: bool, hoisted, carry, xs):
    return _forward(program, reverse, hoisted, carry, xs)[0]


def _tied(outputs: Any, inputs: Any) -> Any:
    """Make each of ``outputs`` depend on all of ``inputs``, by adding an empty sum, which costs nothing.

    Otherwise, if only some outputs are batched under ``vmap``, ``_backward`` gets one cotangent for the whole batch
    from an unbatched output, and one per element from a batched output.  For an unbatched input the cotangents are
    summed over the batch, which counts the first once per element.  With this dependence one batched input makes every
    output batched, and each element has its own cotangent.
    """
    empty = sum(jnp.sum(x.reshape(-1)[:0]).astype(jnp.float32) for x in inputs if is_real(x))

    return jax.tree.map(lambda y: y + jnp.asarray(empty, y.dtype) if is_real(y) else y, outputs)


def _forward(program: Program, reverse: bool, hoisted, carry, xs):
    """Run the scan, and return the residuals of the reverse scan too: hoisted values, inputs, carries and sums."""
    # Each distinct variable is stacked once, whatever number of outputs it is.
    stacked = unique([*program.kept, *program.y])

    def one(carry, x):
        values = dict(zip([*program.hoisted, *program.carry, *program.x], [*hoisted, *carry, *x], strict=True))
        program.execute(values, total)
        return [read(v, values) for v in program.new_carry], [read(v, values) for v in stacked]

    last, stacks = jax.lax.scan(one, carry, xs, reverse=reverse)
    stacks = {id(v): s for v, s in zip(stacked, stacks, strict=True)}
    kept = [stacks[id(v)] for v in program.kept]
    outputs = _tied((last, [stacks[id(v)] for v in program.y]), [*hoisted, *carry, *xs])
    return outputs, (hoisted, xs, kept)


def _backward(program: Program, reverse: bool, residuals, cotangents):
    hoisted, xs, kept = residuals
    stacks = dict(zip([*program.x, *program.kept], [*xs, *kept], strict=True))
    constants = dict(zip(program.hoisted, hoisted, strict=True))
    results = [s.result for s in program.sums]
    direct, carry, y = (list(filter(is_real, v)) for v in (program.direct, program.carry, program.y))
    new_carry = [n for n, old in zip(program.new_carry, program.carry, strict=True) if is_real(old)]
    x = [v for v in program.x if is_real(v) and v not in program.only_added]
    wrt = [*direct, *carry, *x, *results]
    needed = [v for v in stacks if v not in program.only_added]
    # Turned once: a thin product is faster with a kernel that lies as it is read.
    turned = {p.invars[1]: constants[p.invars[1]].T for s in program.sums for p in s.products}

    def one(state, at):
        d_carry, d_direct = state
        values_t, d_y = at
        values_t = constants | dict(zip(needed, values_t, strict=True))

        def replay(*differentiated):
            values = program.execute(
                values_t | dict(zip(wrt, differentiated, strict=True)), partial(_recalled_sum, turned)
            )
            return [read(v, values) for v in [*new_carry, *y]]

        pullback = jax.vjp(replay, *(values_t[v] for v in wrt))[1]
        d = dict(zip(wrt, pullback([*d_carry, *d_y]), strict=True))
        return ([d[v] for v in carry], [a + d[v] for a, v in zip(d_direct, direct, strict=True)]), [
            d[v] for v in [*x, *results]
        ]

    d_last, d_ys = cotangents
    d_last = [d for d, old in zip(d_last, program.carry, strict=True) if is_real(old)]
    d_ys = [d for d, v in zip(d_ys, program.y, strict=True) if is_real(v)]
    zeros = [jnp.zeros_like(constants[v]) for v in direct]
    xs_back = ([stacks[v] for v in needed], d_ys)
    (d_carry, d_direct), d_stacks = jax.lax.scan(one, (d_last, zeros), xs_back, reverse=not reverse)
    d = dict(zip([*carry, *direct], [*d_carry, *d_direct], strict=True)) | dict(
        zip([*x, *results], d_stacks, strict=False)
    )

    # The left operands, for all steps side by side.
    def left_operands(*at):
        values = program.execute(constants | dict(zip(needed, at, strict=True)), lambda s, values: values[s.result])
        return [read(p.invars[0], values) for s in program.sums for p in s.products]

    lefts = iter(jax.vmap(left_operands)(*(stacks[v] for v in needed)))
    for s in program.sums:
        for p in s.products:
            _accumulate(d, p.invars[1], _kernel_gradient(p, next(lefts), d[s.result]))
        for v in s.hoisted:
            _accumulate(d, v, _summed_to(jnp.sum(d[s.result], axis=0), constants[v].shape))
        for v in s.inputs:
            d[v] = d[s.result]
    return tuple([d.get(v) for v in variables] for variables in (program.hoisted, program.carry, program.x))


def _recalled_sum(turned: dict, s: Sum, values: dict) -> Array:
    """Return the kept value of a sum; the cotangent passes to the sequential terms, and to the kept value."""

    @jax.custom_vjp
    def recalled(kept, lefts, kernels, others):
        return kept

    def forward(kept, lefts, kernels, others):
        return kept, kernels  # not recalled(...): a second derivative is that of the kept value alone

    def backward(kernels, d):
        d_lefts = [
            multiply(p, d.astype(k.dtype), k).astype(p.invars[0].aval.dtype)
            for p, k in zip(s.products, kernels, strict=True)
        ]
        return d, d_lefts, None, [_summed_to(d, v.aval.shape) for v in s.others]

    recalled.defvjp(forward, backward)
    lefts, kernels = [values[p.invars[0]] for p in s.products], [turned[p.invars[1]] for p in s.products]
    return recalled(values[s.result], lefts, kernels, [read(v, values) for v in s.others])


def _kernel_gradient(product, lefts: Array, d_products: Array) -> Array:
    """Return sum_t x_t' ds_t, given x ``[T, ..., in]`` and ds ``[T, ..., out]``: ``[in, out]``."""
    kind = {name: product.params[name] for name in ("precision", "preferred_element_type")}
    rows, d_rows = (a.reshape(-1, a.shape[-1]) for a in (lefts, d_products))
    total = jax.lax.dot_general(rows, d_rows.astype(rows.dtype), (((0,), (0,)), ((), ())), **kind)
    return total.astype(product.invars[1].aval.dtype)


def _summed_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``x`` over the axes that ``shape`` lacks or has with size 1: the transpose of broadcasting."""
    x = jnp.sum(x, axis=tuple(range(x.ndim - len(shape))))
    axes = tuple(i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if n != m)
    return jnp.sum(x, axis=axes, keepdims=True) if axes else x


def _accumulate(d: dict, variable, value: Array) -> None:
    d[variable] = d[variable] + value if variable in d else value
