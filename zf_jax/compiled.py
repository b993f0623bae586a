"""Compile a public function once a shape, also where its caller did not.

Called bare, a function that scans over time builds a new scan at every call, which JAX compiles again and keeps.
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

P = ParamSpec("P")
R = TypeVar("R")


def compiled_once(*static: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that runs a pure function under one ``jax.jit``, its arguments ``static`` being fixed values.

    A call goes to the function itself, as if undecorated, inside a transformation of its arguments, whose compilation
    is the caller's; where a static argument is not a value that cannot change, as a user's own object; and where
    another argument holds something that is no array.  ``__wrapped__`` is the undecorated function.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        jitted = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            rest = {name: value for name, value in given.arguments.items() if name not in static}
            fixed = all(_cannot_change(given.arguments[name]) for name in static)
            if fixed and all(map(_is_concrete, jax.tree.leaves(rest))):
                return jitted(*given.args, **given.kwargs)
            return function(*args, **kwargs)

        return call

    return decorate


def _cannot_change(value: Any) -> bool:
    """Whether a value is a number, a name, a function, or a tuple or frozen dataclass of such."""
    if isinstance(value, tuple):
        return all(map(_cannot_change, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        frozen = value.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]
        return frozen and all(_cannot_change(getattr(value, field.name)) for field in fields)
    return value is None or isinstance(value, (str, int, float, np.generic, types.FunctionType))


def _is_concrete(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float)) and not isinstance(leaf, Tracer)
