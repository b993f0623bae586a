"""Compile a public function once per shape, also if called outside ``jax.jit``, and a step once per settings.

Outside ``jax.jit``, a function with a scan over time builds a new scan at every call; JAX compiles and caches each.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh

P = ParamSpec("P")
R = TypeVar("R")

_KEPT: list[Any] = []


def compiled_once(*static: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that runs a pure function under one ``jax.jit``, with the arguments ``static`` as constants.

    The undecorated function is called instead if an argument is being traced by the caller, if a static argument is
    mutable (an object of the user), or if another argument holds a value that is not an array or a number.
    ``__wrapped__`` is the undecorated function.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        jitted = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            rest = {name: value for name, value in given.arguments.items() if name not in static}
            fixed = all(cannot_change(given.arguments[name]) for name in static)
            if fixed and all(map(_is_concrete, jax.tree.leaves(rest))):
                return jitted(*given.args, **given.kwargs)
            return function(*args, **kwargs)

        return call

    return decorate


def made_once(make: Callable[P, R]) -> Callable[P, R]:
    """Return ``make`` with its latest 16 results kept: given equal arguments, it returns the same object.

    A second training of the same model then finds its update compiled.  With a mutable argument, or a function of the
    user's own, which may read a variable that has another value by then, ``make`` makes anew.  ``forget`` empties what
    is kept.
    """
    signature = inspect.signature(make)
    kept = functools.lru_cache(maxsize=16, typed=True)(make)
    _KEPT.append(kept)

    @functools.wraps(make)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        if all(cannot_change(value) and _reads_nothing_else(value) for value in given.arguments.values()):
            return kept(*given.args, **given.kwargs)
        return make(*args, **kwargs)

    return call


def forget() -> None:
    """Let go of all that ``made_once`` keeps, such as compiled steps."""
    for kept in _KEPT:
        kept.cache_clear()


def cannot_change(value: Any) -> bool:
    """Whether a value is None, a number, a string, a function, a mesh, or a tuple or frozen dataclass of these."""
    if isinstance(value, tuple):
        return all(map(cannot_change, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        frozen = value.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]
        return frozen and all(cannot_change(getattr(value, field.name)) for field in fields)
    return value is None or isinstance(value, (str, int, float, np.generic, types.FunctionType, Mesh))


def _reads_nothing_else(value: Any) -> bool:
    """Whether all functions in ``value`` are of optax, JAX or this library, with all that they enclose."""
    if isinstance(value, (tuple, list)):
        return all(map(_reads_nothing_else, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return all(_reads_nothing_else(getattr(value, field.name)) for field in dataclasses.fields(value))
    if not isinstance(value, types.FunctionType):
        return True
    enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
    return value.__module__.partition(".")[0] in ("optax", "jax", "zf_jax") and all(map(_reads_nothing_else, enclosed))


def _is_concrete(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float)) and not isinstance(leaf, Tracer)
