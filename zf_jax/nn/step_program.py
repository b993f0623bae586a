"""The sequential part of a traced step, sorted into what is hoisted, sums of products, and the rest.

``deferred_scan`` says what these classes are for.  A program is made of the variables and equations of a jaxpr.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from zf_jax.typing import Array


class Sum(NamedTuple):
    """A chain of additions with at least one product; the terms are variables of the traced step."""

    result: Any
    products: tuple  # equations x @ W, W hoisted
    inputs: tuple  # parts of x_t that are read nowhere else
    hoisted: tuple  # biases
    others: tuple  # anything else


def traced_step(step: Callable, carry: Any, x: Any) -> tuple[Program, dict, Any]:
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
    return Program(traced.jaxpr, known, len(jax.tree.leaves(carry))), known, jax.tree.structure(shapes)


class Program:
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
        self.sums = [e for e in self.equations if isinstance(e, Sum)]
        plain = [e for e in self.equations if not isinstance(e, Sum)]
        read_by_sums = [v for s in self.sums for v in (*s.hoisted, *(p.invars[1] for p in s.products))]
        self.direct = unique(v for v in _reads(plain) + jaxpr.outvars if not isinstance(v, Literal) and v in known)
        self.hoisted = unique([*self.direct, *read_by_sums])
        self.only_added = unique(v for s in self.sums for v in s.inputs)
        self.kept = unique([*self.carry, *(s.result for s in self.sums)])

    def evaluate(self, eqn, values: dict) -> list:
        # Evaluate through a jaxpr of one equation: how `bind` is called differs between primitives and JAX versions.
        operands = unique(v for v in eqn.invars if not isinstance(v, Literal))
        program = self.jaxpr.replace(
            constvars=[], invars=operands, outvars=eqn.outvars, eqns=[eqn], effects=eqn.effects
        )
        return jaxpr_as_fun(ClosedJaxpr(program, ()))(*(values[v] for v in operands))

    def execute(self, values: dict, evaluate_sum: Callable) -> dict:
        """Run all equations, adding their results to ``values``."""
        for e in self.equations:
            if isinstance(e, Sum):
                values[e.result] = evaluate_sum(e, values)
            else:
                values.update(zip(e.outvars, self.evaluate(e, values), strict=True))
        return values


def _with_sums(eqns: Sequence, known: dict, x: Sequence, uses: Counter) -> list:
    """Return the equations, with chains of additions of products merged into sums."""
    sums: dict = {}
    absorbed: set = set()
    for eqn in eqns:
        if _is_product(eqn, known):
            sums[eqn.outvars[0]] = Sum(eqn.outvars[0], (eqn,), (), (), ())
        elif eqn.primitive.name in ("add", "add_any"):
            result, shape = eqn.outvars[0], eqn.outvars[0].aval.shape
            parts = Sum(result, (), (), (), ())
            drawn = []
            for v in eqn.invars:
                alone = not isinstance(v, Literal) and uses[id(v)] == 1 and v.aval.shape == shape
                if alone and v in sums:
                    parts = Sum(result, *(a + b for a, b in zip(parts[1:], sums[v][1:], strict=True)))
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
        or not is_real(eqn.outvars[0])
    ):
        return False
    return eqn.params["dimension_numbers"] == (((left.aval.ndim - 1,), (0,)), ((), ()))


def multiply(product, left: Array, kernel: Array) -> Array:
    """Return ``left @ kernel`` with the options of the traced product."""
    return product.primitive.bind(left, kernel, **product.params)


def total(s: Sum, values: dict) -> Array:
    """Return the value of a sum."""
    products = [multiply(p, *(values[v] for v in p.invars)) for p in s.products]
    return reduce(add, [*products, *(read(v, values) for v in (*s.inputs, *s.hoisted, *s.others))])


def read(variable, values: dict):
    """Return the value of a variable or of a literal."""
    return variable.val if isinstance(variable, Literal) else values[variable]


def _reads(eqns) -> list:
    return [v for eqn in eqns for v in eqn.invars]


def unique(variables) -> list:
    """Return the variables in order, each once."""
    return list({id(v): v for v in variables}.values())


def is_real(variable) -> bool:
    """Return whether a variable or an array is of a type that has gradients."""
    return jnp.issubdtype(getattr(variable, "aval", variable).dtype, jnp.inexact)
