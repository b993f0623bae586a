"""Sequences as a user gives them: taken apart row by row, checked, and named by their places in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zf_jax.batch import LARGEST, as_numbers, mark_missing
from zf_jax.data.dataset import DataError, Option
from zf_jax.typing import DataProtocol, Observation


def rows_by_split(values: Any, lengths: Any) -> dict[str, dict[str, np.ndarray]]:
    """Return the sequences of every split, by their names in a sentence; all under ``train`` if there are no splits."""
    if not isinstance(values, Mapping):
        return {"train": rows_of(values, lengths, "")}
    if "train" not in values:
        raise DataError("", f"values hold {', '.join(map(repr, values)) or 'no split'}, and must hold 'train'")
    if lengths is not None and (not isinstance(lengths, Mapping) or set(lengths) - set(values)):
        raise DataError("", "lengths must be a dict by split, of the names that values have")
    return {split: rows_of(found, (lengths or {}).get(split), f"[{split!r}]") for split, found in values.items()}


def names_by_place(names: Any, splits: Mapping[str, Mapping[str, np.ndarray]], by_split: bool) -> dict[str, str]:
    """Return the name of each sequence by its place, "values['train'][3]"; its index if none is given."""
    if names is None:
        return {where: str(index) for rows in splits.values() for index, where in enumerate(rows)}
    if by_split and not isinstance(names, Mapping):
        raise DataError("", "names must be a dict by split, of the names that values have")
    found = {}
    for split, rows in splits.items():
        mine = list(names.get(split, ()) if by_split else names)
        if len(mine) != len(rows):
            raise DataError("", f"there are {len(mine)} names and {len(rows)} sequences", "give one name a sequence")
        found |= dict(zip(rows, map(str, mine), strict=True))
    return found


def marked(
    splits: dict[str, dict[str, np.ndarray]], observed: dict[str, dict[str, np.ndarray]]
) -> dict[str, dict[str, np.ndarray]]:
    """Return the sequences with NaN or -1 where ``observed`` is 0."""
    found = {}
    for split, rows in splits.items():
        seen = observed.get(split, {})
        if seen.keys() != rows.keys():
            raise DataError("", "observed must hold as many sequences as values, in the same splits")
        try:
            found[split] = {
                where: mark_missing(row, seen[where], where.replace("values", "observed"))
                for where, row in rows.items()
            }
        except ValueError as error:
            raise DataError("", str(error)) from None
    return found


def rows_of(values: Any, lengths: Any, split: str) -> dict[str, np.ndarray]:
    """Return the sequences of a list, or of a padded array and its lengths, by their names in a sentence."""
    if isinstance(values, (list, tuple)):
        if lengths is not None:
            raise DataError("", f"lengths{split} belong to one padded array; a list of sequences has its own")
        rows: Sequence[np.ndarray] = [_array(row, f"values{split}[{index}]") for index, row in enumerate(values)]
    else:
        padded = as_numbers(values)
        if padded.ndim not in (2, 3):
            raise DataError("", f"values{split} must be [N, T] or [N, T, D], and has the shape {list(padded.shape)}")
        rows = [row[:n] for row, n in zip(padded, _counts(lengths, padded, split), strict=True)]
    if not rows:
        raise DataError("", f"values{split} must hold at least one sequence")
    return {f"values{split}[{index}]": row for index, row in enumerate(rows)}


def _array(row: Any, where: str) -> np.ndarray:
    try:
        return as_numbers(row)
    except ValueError:  # nested lists of several lengths
        raise DataError("", f"{where} is no array: its steps have several sizes") from None


def _counts(lengths: Any, padded: np.ndarray, split: str) -> np.ndarray:
    counts = np.full(len(padded), padded.shape[1]) if lengths is None else np.asarray(lengths)
    if counts.shape != (len(padded),) or not np.issubdtype(counts.dtype, np.integer):
        what = f"lengths{split} must be {len(padded)} integers, one a row, not {counts.dtype} {list(counts.shape)}"
        raise DataError("", what)
    wrong = np.flatnonzero((counts < 0) | (counts > padded.shape[1]))
    if wrong.size:
        index = wrong[0]
        raise DataError("", f"lengths{split}[{index}] is {counts[index]}, and the rows have {padded.shape[1]} steps")
    return counts


def observation_of(where: str, row: np.ndarray) -> Observation:
    """Return what the elements of frames are; ``DataError`` for tokens, which do not tell how many there are."""
    if row.ndim == 2 and row.shape[1]:
        return Observation("frames", row.shape[1])
    if row.ndim == 1 and np.issubdtype(row.dtype, np.integer):
        raise DataError("", "values are integers", "give the observation, Observation('tokens', size)")
    raise DataError("", f"{where} is {row.dtype} {list(row.shape)}", "give real numbers [T, D], or integers [T]")


def check_values(where: str, row: np.ndarray, observation: Observation, protocol: DataProtocol) -> None:
    """Raise ``DataError`` where a sequence has another shape than the observation, no steps, or an illegal value."""
    tokens, size = observation.kind == "tokens", observation.size
    fits = row.ndim == 1 if tokens else row.ndim == 2 and row.shape[1] == size
    fits = fits and np.issubdtype(row.dtype, np.integer if tokens else np.floating)
    if not fits and row.shape[:1] != (0,):
        expected = "integers [T]" if tokens else f"real numbers [T, {size}]"
        raise DataError("", f"{where} is {row.dtype} {list(row.shape)}, and must be {expected}")
    if len(row) < (2 if protocol == "srnn" else 1):
        raise DataError("", f"{where} has {len(row)} steps, which leaves nothing to score", "leave it out")
    if tokens:
        wrong = (row < (-1 if observation.missing else 0)) | (row >= size)
    else:
        wrong = ~((np.abs(row) <= LARGEST) | (observation.missing & np.isnan(row))).all(axis=1)
    if wrong.any():
        step = int(wrong.argmax())
        what = f"{row[step]}, and a token lies in 0 .. {size - 1}" if tokens else f"not finite in float32: {row[step]}"
        marked = np.any(row[step] == -1 if tokens else np.isnan(row[step])) and not observation.missing
        remedies = [Option("missing", True, f"if {'-1' if tokens else 'NaN'} means not observed")] if marked else []
        raise DataError("", f"{where}[{step}] is {what}", *remedies)
