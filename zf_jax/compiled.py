"""Compile a public function once per shape, also if called outside ``jax.jit``, and a step once per settings.

Outside ``jax.jit``, a function with a scan over time builds a new scan at every call; JAX compiles and caches each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Hashable
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

    A second training of the same model then finds its update compiled.  With a mutable argument, ``make`` makes anew;
    also where a function among the arguments, such as a learning rate, reads a variable that has another value now.
    ``forget`` empties what is kept.
    """
    signature = inspect.signature(make)

    @functools.lru_cache(maxsize=16, typed=True)
    def kept(read: tuple, /, *args: Any, **kwargs: Any) -> R:
        return make(*args, **kwargs)

    _KEPT.append(kept)

    @functools.wraps(make)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        arguments = tuple(given.arguments.values())
        read = _read_by(arguments, set()) if cannot_change(arguments) else None
        return make(*args, **kwargs) if read is None else kept(read, *given.args, **given.kwargs)

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


def _read_by(value: Any, visited: set[int]) -> tuple | None:
    """Return what the functions in ``value`` read beside their arguments, with types; None if some of it is mutable.

    Modules and classes are left aside, and what functions of other modules read that are called by name.
    """
    if isinstance(value, tuple):
        parts = list(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, types.FunctionType) and id(value) not in visited:
        visited.add(id(value))
        return _read_by_function(value, visited)
    else:
        return ()
    found = [_read_by(part, visited) for part in parts]
    return None if None in found else tuple(found)


def _read_by_function(function: types.FunctionType, visited: set[int]) -> tuple | None:
    enclosed = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not yet given a value
            enclosed.append(cell.cell_contents)
    there = function.__globals__
    found: list[Any] = []
    for value in (*enclosed, *(there[name] for name in sorted(_names(function.__code__)) if name in there)):
        if isinstance(value, (type, types.ModuleType)):
            continue
        value = tuple(value) if isinstance(value, list) else value  # optax joins a list of schedules
        if not cannot_change(value) and not _is_of_a_library(value):
            return None
        followed = not isinstance(value, types.FunctionType) or value in enclosed or value.__globals__ is there
        read = _read_by(value, visited) if followed else ()
        if read is None:
            return None
        found.append((type(value), value, read))
    return tuple(found)


def _is_of_a_library(value: Any) -> bool:
    """Whether a value is a function of Python, NumPy or JAX that ``def`` did not make."""
    made_by = type(value).__module__.partition(".")[0]
    return callable(value) and isinstance(value, Hashable) and made_by in ("builtins", "numpy", "jax", "jaxlib")


def _names(code: types.CodeType) -> set[str]:
    """Return the names of global variables and attributes in a function and in those defined inside it."""
    return set(code.co_names).union(*(_names(part) for part in code.co_consts if isinstance(part, types.CodeType)))


def _is_concrete(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float)) and not isinstance(leaf, Tracer)
