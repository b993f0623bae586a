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

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from zf_jax.typing import Array


class _Sum(NamedTuple):
    """A chain of additions with at least one product; the terms are variables of the traced step."""

    result: Any
    products: tuple  # equations x @ W, W hoisted
    inputs: tuple  # parts of x_t that are read nowhere else
    hoisted: tuple  # biases
    others: tuple  # anything else


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
    program, known, structure = _traced(step, carry, jax.tree.map(lambda x: x[0], xs))
    arguments = [known[v] for v in program.hoisted], jax.tree.leaves(carry), jax.tree.leaves(xs)
    hoisted, carry, xs = jax.tree.map(lambda x: vary_like(x, [carry, xs]), arguments)
    run = jax.custom_vjp(partial(_run, program, reverse))
    run.defvjp(partial(_forward, program, reverse), partial(_backward, program, reverse))
    last, ys = run(hoisted, carry, xs)
    return jax.tree.unflatten(structure, [*last, *ys])


def explain(step: Callable, carry: Any, x: Any) -> Deferral:
    """List what ``scan`` defers of ``step``, given a carry and the input of one step."""
    program, known, _ = _traced(step, carry, x)
    products = [p for s in program.sums for p in s.products]

    def shapes(variables):
        return tuple(tuple(v.aval.shape) for v in _unique(variables))

    return Deferral(
        kernels=shapes(p.invars[1] for p in products),
        biases=shapes(v for s in program.sums for v in s.hoisted),
        inputs=shapes(program.only_added),
        direct=tuple(tuple(jnp.shape(known[v])) for v in program.direct),
    )


def _traced(step: Callable, carry: Any, x: Any) -> tuple[_Program, dict, Any]:
    """Trace a step: its program, the values of its hoisted variables, and the structure of its result."""
    traced, shapes = jax.make_jaxpr(step, return_shape=True)(carry, x)
    given, returned = jax.eval_shape(lambda c: c, carry), shapes[0]
    if jax.tree.structure(given) != jax.tree.structure(returned):
        raise TypeError(
            "step must return a carry of the structure that it gets, "
            f"{jax.tree.structure(given)}, not {jax.tree.structure(returned)}"
        )
    for (path, old), new in zip(jax.tree.leaves_with_path(given), jax.tree.leaves(returned), strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise TypeError(
                f"step must return a carry of the shapes and dtypes that it gets: carry{jax.tree_util.keystr(path)} is "
                f"{old.dtype}{list(old.shape)}, and {new.dtype}{list(new.shape)} comes back"
            )
    known = dict(zip(traced.jaxpr.constvars, traced.consts, strict=True))
    return _Program(traced.jaxpr, known, len(jax.tree.leaves(carry))), known, jax.tree.structure(shapes)


class _Program:
    """The sequential part of a traced step.

    Attributes:
      jaxpr: the whole step, as it was traced.
      equations: equations and sums, in order.
      carry, x: the variables that a step gets.
      new_carry, y: the variables that a step returns; some may be literals.
      sums: the elements of ``equations`` that are sums.
      hoisted: variables read by the equations that depend on the parameters alone; their values are in ``known``.
      direct: elements of ``hoisted`` that are read outside sums; their gradients are added up step by step.
      only_added: elements of ``x`` that are only added to a sum.
      kept: variables that the forward scan keeps at every step: carries, and the results of sums.
    """

    def __init__(self, jaxpr: Jaxpr, known: dict, carry_size: int):
        self.jaxpr, self.carry, self.x = jaxpr, jaxpr.invars[:carry_size], jaxpr.invars[carry_size:]
        self.new_carry, self.y = jaxpr.outvars[:carry_size], jaxpr.outvars[carry_size:]
        sequential = []
        for eqn in jaxpr.eqns:
            if not eqn.effects and all(isinstance(v, Literal) or v in known for v in eqn.invars):
                known.update(zip(eqn.outvars, self.evaluate(eqn, known), strict=True))
            else:
                sequential.append(eqn)
        self.equations = _with_sums(sequential, known, self.x, Counter(map(id, _reads(sequential) + jaxpr.outvars)))
        self.sums = [e for e in self.equations if isinstance(e, _Sum)]
        plain = [e for e in self.equations if not isinstance(e, _Sum)]
        read_by_sums = [v for s in self.sums for v in (*s.hoisted, *(p.invars[1] for p in s.products))]
        self.direct = _unique(v for v in _reads(plain) + jaxpr.outvars if not isinstance(v, Literal) and v in known)
        self.hoisted = _unique([*self.direct, *read_by_sums])
        self.only_added = _unique(v for s in self.sums for v in s.inputs)
        self.kept = _unique([*self.carry, *(s.result for s in self.sums)])

    def evaluate(self, eqn, values: dict) -> list:
        # Evaluate through a jaxpr of one equation: how `bind` is called differs between primitives and JAX versions.
        operands = _unique(v for v in eqn.invars if not isinstance(v, Literal))
        program = self.jaxpr.replace(
            constvars=[], invars=operands, outvars=eqn.outvars, eqns=[eqn], effects=eqn.effects
        )
        return jaxpr_as_fun(ClosedJaxpr(program, ()))(*(values[v] for v in operands))

    def execute(self, values: dict, evaluate_sum: Callable) -> dict:
        """Run all equations, adding their results to ``values``."""
        for e in self.equations:
            if isinstance(e, _Sum):
                values[e.result] = evaluate_sum(e, values)
            else:
                values.update(zip(e.outvars, self.evaluate(e, values), strict=True))
        return values


def _run(program: _Program, reverse: bool, hoisted, carry, xs):
    return _forward(program, reverse, hoisted, carry, xs)[0]


def _tied(outputs: Any, inputs: Any) -> Any:
    """Make each of ``outputs`` depend on all of ``inputs``, by adding an empty sum, which costs nothing.

    Otherwise, if only some outputs are batched under ``vmap``, ``_backward`` gets one cotangent for the whole batch
    from an unbatched output, and one per element from a batched output.  For an unbatched input the cotangents are
    summed over the batch, which counts the first once per element.  With this dependence one batched input makes every
    output batched, and each element has its own cotangent.
    """
    empty = sum(jnp.sum(x.reshape(-1)[:0]).astype(jnp.float32) for x in inputs if _is_real(x))

    return jax.tree.map(lambda y: y + jnp.asarray(empty, y.dtype) if _is_real(y) else y, outputs)


def _forward(program: _Program, reverse: bool, hoisted, carry, xs):
    """Run the scan, and return the residuals of the reverse scan too: hoisted values, inputs, carries and sums."""
    # Each distinct variable is stacked once, whatever number of outputs it is.
    stacked = _unique([*program.kept, *program.y])

    def one(carry, x):
        values = dict(zip([*program.hoisted, *program.carry, *program.x], [*hoisted, *carry, *x], strict=True))
        program.execute(values, _total)
        return [_read(v, values) for v in program.new_carry], [_read(v, values) for v in stacked]

    last, stacks = jax.lax.scan(one, carry, xs, reverse=reverse)
    stacks = {id(v): s for v, s in zip(stacked, stacks, strict=True)}
    kept = [stacks[id(v)] for v in program.kept]
    outputs = _tied((last, [stacks[id(v)] for v in program.y]), [*hoisted, *carry, *xs])
    return outputs, (hoisted, xs, kept)


def _backward(program: _Program, reverse: bool, residuals, cotangents):
    hoisted, xs, kept = residuals
    stacks = dict(zip([*program.x, *program.kept], [*xs, *kept], strict=True))
    constants = dict(zip(program.hoisted, hoisted, strict=True))
    results = [s.result for s in program.sums]
    direct, carry, y = (list(filter(_is_real, v)) for v in (program.direct, program.carry, program.y))
    new_carry = [n for n, old in zip(program.new_carry, program.carry, strict=True) if _is_real(old)]
    x = [v for v in program.x if _is_real(v) and v not in program.only_added]
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
            return [_read(v, values) for v in [*new_carry, *y]]

        pullback = jax.vjp(replay, *(values_t[v] for v in wrt))[1]
        d = dict(zip(wrt, pullback([*d_carry, *d_y]), strict=True))
        return ([d[v] for v in carry], [a + d[v] for a, v in zip(d_direct, direct, strict=True)]), [
            d[v] for v in [*x, *results]
        ]

    d_last, d_ys = cotangents
    d_last = [d for d, old in zip(d_last, program.carry, strict=True) if _is_real(old)]
    d_ys = [d for d, v in zip(d_ys, program.y, strict=True) if _is_real(v)]
    zeros = [jnp.zeros_like(constants[v]) for v in direct]
    xs_back = ([stacks[v] for v in needed], d_ys)
    (d_carry, d_direct), d_stacks = jax.lax.scan(one, (d_last, zeros), xs_back, reverse=not reverse)
    d = dict(zip([*carry, *direct], [*d_carry, *d_direct], strict=True)) | dict(
        zip([*x, *results], d_stacks, strict=False)
    )

    # The left operands, for all steps side by side.
    def left_operands(*at):
        values = program.execute(constants | dict(zip(needed, at, strict=True)), lambda s, values: values[s.result])
        return [_read(p.invars[0], values) for s in program.sums for p in s.products]

    lefts = iter(jax.vmap(left_operands)(*(stacks[v] for v in needed)))
    for s in program.sums:
        for p in s.products:
            _accumulate(d, p.invars[1], _kernel_gradient(p, next(lefts), d[s.result]))
        for v in s.hoisted:
            _accumulate(d, v, _summed_to(jnp.sum(d[s.result], axis=0), constants[v].shape))
        for v in s.inputs:
            d[v] = d[s.result]
    return tuple([d.get(v) for v in variables] for variables in (program.hoisted, program.carry, program.x))


def _with_sums(eqns: Sequence, known: dict, x: Sequence, uses: Counter) -> list:
    """Return the equations, with chains of additions of products merged into sums."""
    sums: dict = {}
    absorbed: set = set()
    for eqn in eqns:
        if _is_product(eqn, known):
            sums[eqn.outvars[0]] = _Sum(eqn.outvars[0], (eqn,), (), (), ())
        elif eqn.primitive.name in ("add", "add_any"):
            result, shape = eqn.outvars[0], eqn.outvars[0].aval.shape
            parts = _Sum(result, (), (), (), ())
            drawn = []
            for v in eqn.invars:
                alone = not isinstance(v, Literal) and uses[id(v)] == 1 and v.aval.shape == shape
                if alone and v in sums:
                    parts = _Sum(result, *(a + b for a, b in zip(parts[1:], sums[v][1:], strict=True)))
                    drawn.append(v)
                elif alone and v in x:
                    parts = parts._replace(inputs=(*parts.inputs, v))
                elif not isinstance(v, Literal) and v in known:
                    parts = parts._replace(hoisted=(*parts.hoisted, v))
                else:
                    parts = parts._replace(others=(*parts.others, v))
            if drawn:
                sums[result] = parts
                absorbed.update(drawn)
    return [sums.get(e.outvars[0], e) if e.outvars else e for e in eqns if not (e.outvars and e.outvars[0] in absorbed)]


def _is_product(eqn, known: dict) -> bool:
    """Return whether the equation is ``x @ W`` of a sequential x ``[..., in]`` and a hoisted W ``[in, out]``."""
    if eqn.primitive.name != "dot_general":
        return False
    left, right = eqn.invars
    if (
        isinstance(right, Literal)
        or right not in known
        or left in known
        or right.aval.ndim != 2
        or not _is_real(eqn.outvars[0])
    ):
        return False
    return eqn.params["dimension_numbers"] == (((left.aval.ndim - 1,), (0,)), ((), ()))


def _multiply(product, left: Array, kernel: Array) -> Array:
    return product.primitive.bind(left, kernel, **product.params)


def _total(s: _Sum, values: dict) -> Array:
    """Return the value of a sum."""
    products = [_multiply(p, *(values[v] for v in p.invars)) for p in s.products]
    return reduce(add, [*products, *(_read(v, values) for v in (*s.inputs, *s.hoisted, *s.others))])


def _recalled_sum(turned: dict, s: _Sum, values: dict) -> Array:
    """Return the kept value of a sum; the cotangent passes to the sequential terms, and to the kept value."""

    @jax.custom_vjp
    def recalled(kept, lefts, kernels, others):
        return kept

    def forward(kept, lefts, kernels, others):
        return kept, kernels  # not recalled(...): a second derivative is that of the kept value alone

    def backward(kernels, d):
        d_lefts = [_multiply(p, d, k).astype(p.invars[0].aval.dtype) for p, k in zip(s.products, kernels, strict=True)]
        return d, d_lefts, None, [_summed_to(d, v.aval.shape) for v in s.others]

    recalled.defvjp(forward, backward)
    lefts, kernels = [values[p.invars[0]] for p in s.products], [turned[p.invars[1]] for p in s.products]
    return recalled(values[s.result], lefts, kernels, [_read(v, values) for v in s.others])


def _kernel_gradient(product, lefts: Array, d_products: Array) -> Array:
    """Return sum_t x_t' ds_t, given x ``[T, ..., in]`` and ds ``[T, ..., out]``: ``[in, out]``."""
    kind = {name: product.params[name] for name in ("precision", "preferred_element_type")}
    rows, d_rows = (a.reshape(-1, a.shape[-1]) for a in (lefts, d_products))
    total = jax.lax.dot_general(rows, d_rows, (((0,), (0,)), ((), ())), **kind)
    return total.astype(product.invars[1].aval.dtype)


def _summed_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``x`` over the axes that ``shape`` lacks or has with size 1: the transpose of broadcasting."""
    x = jnp.sum(x, axis=tuple(range(x.ndim - len(shape))))
    axes = tuple(i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if n != m)
    return jnp.sum(x, axis=axes, keepdims=True) if axes else x


def _accumulate(d: dict, variable, value: Array) -> None:
    d[variable] = d[variable] + value if variable in d else value


def _read(variable, values: dict):
    return variable.val if isinstance(variable, Literal) else values[variable]


def _reads(eqns) -> list:
    return [v for eqn in eqns for v in eqn.invars]


def _unique(variables) -> list:
    return list({id(v): v for v in variables}.values())


def _is_real(variable) -> bool:
    """Return whether a variable or an array is of a type that has gradients."""
    return jnp.issubdtype(getattr(variable, "aval", variable).dtype, jnp.inexact)


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
