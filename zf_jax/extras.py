"""Packages that only some rooms need: where one is missing, a sentence names the extra that brings it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class MissingExtra(ImportError):
    """A package is not installed: one sentence that says how to install it."""


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Import packages of an extra within this context.

    Raises:
      MissingExtra: one of the packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name} is not installed: pip install 'zf_jax[{extra}]'", name=error.name) from None
