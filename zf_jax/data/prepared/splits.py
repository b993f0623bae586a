"""Splits that are the same on every machine: by sha256, never by directory order or a library's random stream."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from zf_jax.data.dataset import DataError


def stable_order(keys: Sequence[str], seed: int = 0) -> list[int]:
    """Return a permutation of ``range(len(keys))`` that depends on the keys and the seed alone."""
    return sorted(range(len(keys)), key=lambda i: (_digest(f"{seed}:{keys[i]}"), keys[i]))


def stable_fraction(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone."""
    return int.from_bytes(_digest(text)[:8], "big") / 2.0**64


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()  # file names need not be UTF-8


def by_hash(text: str, valid: float, test: float) -> str:
    """Return the split a document belongs to, whatever else is in the corpus: equal texts share a split."""
    place = stable_fraction(text)
    return "test" if place < test else "valid" if place < test + valid else "train"


def take(keys: Sequence[str], fraction: float, seed: int, *, what: str) -> set[str]:
    """Return ``fraction`` of the keys (at least one, never all), drawn from the sorted list by seed.

    Raises ``DataError`` where the fraction is not in (0, 1) or there are fewer than two keys; ``what`` names them.
    """
    unique = sorted(set(keys))
    if not 0.0 < fraction < 1.0:
        raise DataError("", f"a split takes a fraction of the {what} between 0 and 1, not {fraction}")
    if len(unique) < 2:
        fact = f"{len(unique)} {what} cannot be divided into splits"
        raise DataError("", fact, "add data or split by something finer")
    count = min(max(1, round(fraction * len(unique))), len(unique) - 1)
    return {unique[i] for i in stable_order(unique, seed)[:count]}


def three_way(keys: Sequence[str], valid: float, test: float, seed: int, *, what: str) -> list[str]:
    """Return the split of every key; equal keys (a speaker's recordings) share one.  Errors as ``take``."""
    if valid + test >= 1.0:
        raise DataError("", f"valid and test cannot take {valid} + {test} of the {what}: nothing is left to train on")
    tested = take(keys, test, seed, what=what)
    rest = [key for key in keys if key not in tested]
    validated = take(rest, valid / (1.0 - test), seed + 1, what=what)
    return ["test" if key in tested else "valid" if key in validated else "train" for key in keys]
