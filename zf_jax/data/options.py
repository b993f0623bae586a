"""The options of a data set: whether one is known, and of the type of its default."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from zf_jax.data.dataset import DataError

_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "True or False"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
}
_LARGEST = 2**63  # what numpy and TFDS can hold


def check_options(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise ``DataError`` if an option of the set ``name`` is not among ``defaults``, or of another type."""
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        raise DataError(name, f"has no option {unknown[0]!r}", f"it takes {', '.join(sorted(defaults)) or 'none'}")
    for option, value in options.items():
        _check_type(option, value, defaults[option])


def check_arguments(name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Check options that are arguments of ``function``; it checks those of its ``**`` argument itself."""
    defaults = defaults_of(function)
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()):
        options = {key: value for key, value in options.items() if key in defaults}
    check_options(name, options, defaults)


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of a loader that are options and may be left out, each with what it is then."""
    parameters = inspect.signature(function).parameters
    given = {"data_dir", "manual_dir", "name"}
    return {key: p.default for key, p in parameters.items() if p.default is not p.empty and key not in given}


def _check_type(option: str, value: Any, default: Any) -> None:
    if type(default) not in _KINDS:
        return
    types, words = _KINDS[type(default)]
    if not isinstance(value, types) or (isinstance(value, bool) and not isinstance(default, bool)):
        raise DataError("", f"{option} must be {words}, not {value!r}")
    if not isinstance(value, str) and not -_LARGEST < value < _LARGEST:  # nor NaN
        raise DataError("", f"{option} must be a finite number between -2**63 and 2**63, not {value!r}")
