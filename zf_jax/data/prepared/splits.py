"""Divide data into splits by sha256, so that every machine gets the same splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from zf_jax.data.dataset import DataError, Remedy

FINER: Remedy = "choose a finer split_by"


def stable_order(keys: Sequence[str], seed: int = 0) -> list[int]:
    """Return a permutation of ``range(len(keys))`` that depends on the keys and the seed only."""
    return sorted(range(len(keys)), key=lambda i: (_digest(f"{seed}:{keys[i]}"), keys[i]))


def stable_fraction(text: str) -> float:
    """Return a number in [0, 1) that depends on the text only."""
    return int.from_bytes(_digest(text)[:8], "big") / 2.0**64


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()  # file names need not be UTF-8


def by_hash(text: str, valid: float, test: float) -> str:
    """Return the split of a document, which depends on the document's text and the two fractions only."""
    place = stable_fraction(text)
    return "test" if place < test else "valid" if place < test + valid else "train"


def take(keys: Sequence[str], fraction: float, seed: int, *, what: str, remedy: Remedy = FINER) -> set[str]:
    """Return ``fraction`` of the keys (at least one, never all), drawn from the sorted list by ``seed``.

    Raises:
      DataError: the fraction is not in (0, 1), or there are fewer than two keys; ``what`` names the keys, ``remedy`` is
        what helps where they are too few.
    """
    unique = sorted(set(keys))
    if not 0.0 < fraction < 1.0:
        raise DataError("", f"a split takes a fraction of the {what} between 0 and 1, not {fraction}")
    if len(unique) < 2:
        raise _too_few(unique, what, remedy)
    count = min(max(1, round(fraction * len(unique))), len(unique) - 1)
    return {unique[i] for i in stable_order(unique, seed)[:count]}


def _too_few(keys: Sequence[str], what: str, remedy: Remedy) -> DataError:
    return DataError("", f"{len(keys)} different {what} cannot be divided into splits", "add data", remedy)


def three_way(
    keys: Sequence[str], valid: float, test: float, seed: int, *, what: str, remedy: Remedy = FINER
) -> list[str]:
    """Return the split of every key; equal keys, such as one speaker's, share a split.  Errors as for ``take``."""
    if valid + test >= 1.0:
        raise DataError(
            "",
            f"valid_fraction {valid} and test_fraction {test} of the {what} leave nothing to train on",
            "choose smaller fractions",
        )
    if len(set(keys)) < 3:
        raise _too_few(sorted(set(keys)), what, remedy)
    tested = take(keys, test, seed, what=what)
    rest = [key for key in keys if key not in tested]
    validated = take(rest, valid / (1.0 - test), seed + 1, what=what)
    return ["test" if key in tested else "valid" if key in validated else "train" for key in keys]
