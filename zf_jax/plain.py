"""Turn numpy's numbers in frozen records into Python's own, so that equal records print, hash and serialise alike."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return Python's number for one of numpy's, a tuple for a list, and anything else as it is."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (list, tuple):  # a NamedTuple stays one
        return tuple(plain(one) for one in value)
    return value


def make_plain(record: Any) -> None:
    """Replace each field of a frozen dataclass by ``plain`` of it; for ``__post_init__``."""
    for field in dataclasses.fields(record):
        object.__setattr__(record, field.name, plain(getattr(record, field.name)))
