"""Sequences out of one npz file, or out of tables: CSV or Parquet files with named columns.

An npz file has ``values``, a padded array, its ``lengths`` and, where wanted, each one's ``split``.  ``values`` are
integers ``[N, T]`` or real numbers ``[N, T, D]``, ``lengths`` ``[N]`` whole numbers, and ``split`` ``[N]`` the words
train, valid and test; without it a share is drawn by seed.  ``names`` ``[N]`` are words too: what the sequences are
called.  What is given beside them are ``context``, real numbers ``[N, T, K]``, and ``labels``, integers ``[N]``.  All
are read whole and need no preparing.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from zf_jax.data.arrays import from_arrays
from zf_jax.data.dataset import DataError, DataSet, Folder
from zf_jax.data.prepared.folders import need_folder
from zf_jax.data.prepared.npz import open_npz
from zf_jax.data.tables import holds_tables, read_tables
from zf_jax.typing import DataProtocol, Observation

_SPLITS = ("train", "valid", "test")


def load_arrays(
    *,
    data_dir: str | None = None,
    protocol: DataProtocol = "full",
    num_tokens: int = 0,
    missing: bool = False,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    split_seed: int = 0,
    split_by: str = "sequence",
    piece_steps: int = 0,
    normalise: str = "",
    columns: str | Sequence[str] = (),
    context_columns: str | Sequence[str] = (),
    sequence_column: str = "",
    order_column: str = "",
    skip_bad_files: bool = False,
) -> DataSet:
    """Return the sequences of an npz file, or of tables, as ``from_arrays`` does.

    Args:
      data_dir: an npz file or the folder of ``arrays.npz``; or a CSV or Parquet file, or a folder of such files.
      protocol: ``full`` scores every step; ``srnn`` takes the first frame as given.
      num_tokens: how many tokens there are; 0 takes one more than the largest in the file.
      missing: whether a NaN in frames, or a token -1, is an element that was not observed; otherwise it is refused.
      valid_fraction: of the sequences, where the file has no ``split``.
      test_fraction: likewise.
      split_seed: of that division.
      split_by: ``sequence``, or ``time`` for the first, next and last steps of every sequence.
      piece_steps: the training split is cut into pieces of so many steps; 0 cuts none.
      normalise: by the moments of ``all`` numbers or of each ``dimension``; "" is ``dimension`` for tables, whose
        columns may have units of their own, and ``all`` for an npz file; ``none`` is for binary frames.
      columns: of tables, as ``context_columns``, ``sequence_column``, ``order_column`` and ``skip_bad_files``: see
        ``read_tables``.

    Raises:
      DataError: the file is missing, damaged, or holds something else; the sentence names the sequence.
    """
    path = need_folder(data_dir, "arrays")
    reading: dict[str, Any] = {"columns": columns, "context_columns": context_columns}
    reading |= {"sequence_column": sequence_column, "order_column": order_column}
    dividing: Any = {"split_by": split_by, "piece_steps": piece_steps}
    scale: Any = normalise
    if holds_tables(path):
        if num_tokens:
            raise DataError("", "num_tokens belongs to an npz file of integers; tables hold real numbers")
        found = read_tables(path, **reading, missing=missing, skip_bad_files=skip_bad_files)
        try:
            data = from_arrays(
                found.values,
                names=found.names,
                columns=found.columns,
                context=found.context,
                missing=missing,
                protocol=protocol,
                normalise=scale or "dimension",
                valid_fraction=valid_fraction,
                test_fraction=test_fraction,
                seed=split_seed,
                **dividing,
            )
        except DataError as error:
            raise DataError(path, f": {in_names(error.what, found.names)}", *error.remedies) from None
        return dataclasses.replace(data, counts={**data.counts, **found.counts})
    given = next((name for name, value in reading.items() if value), None)
    if given is not None:
        raise DataError(path, f"is an npz file, which has no columns: leave {given} out", "give CSV or Parquet files")
    values, lengths, split, names = read_arrays(path)
    context, labels = read_context(path)
    options = {"valid_fraction": valid_fraction, "test_fraction": test_fraction, "seed": split_seed}
    what = {"missing": missing, "protocol": protocol, "normalise": scale or "all", **dividing}
    try:
        observation = _tokens(values, lengths, num_tokens) if values.ndim == 2 else None
        if split is None:
            beside: Any = {"context": context, "labels": labels}
            return from_arrays(values, lengths, names=names, observation=observation, **beside, **what, **options)
        parts = _parts(split, values.shape[:1], lengths)
        by_split = {name: values[places] for name, places in parts.items()}
        lengths_by_split = {name: lengths[places] for name, places in parts.items()}
        names = {
            name: [str(place) for place in places] if names is None else names[places] for name, places in parts.items()
        }
        beside = {
            key: None if rows is None else {name: rows[places] for name, places in parts.items()}
            for key, rows in (("context", context), ("labels", labels))
        }
        return from_arrays(by_split, lengths_by_split, names=names, observation=observation, **beside, **what)
    except DataError as error:
        raise DataError(path, f": {error.what}", *error.remedies) from None


def in_names(sentence: str, names: Sequence[str]) -> str:
    """Return a sentence of ``from_arrays`` about ``values[3]`` as one about the sequence of that name."""
    return re.sub(r"(?:values|context)\[(\d+)\]", lambda match: f"sequence {names[int(match[1])]!r}", sentence)


def read_arrays(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return ``values``, ``lengths``, ``split`` and ``names`` of an npz file, or of arrays.npz in a folder.

    Raises:
      DataError: the file is missing, damaged, lacks ``values`` or ``lengths``, or its names do not fit them.
    """
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "arrays.npz")):
        raise DataError(path, "holds neither arrays.npz nor CSV or Parquet files", Folder("arrays"))
    path = os.path.join(path, "arrays.npz") if os.path.isdir(path) else path
    with open_npz(path) as arrays:
        absent = [key for key in ("values", "lengths") if key not in arrays]
        if absent:
            raise DataError(path, f"lacks {' and '.join(absent)}", "it must hold values and lengths")
        names = arrays.get("names")
        if names is not None and (names.shape != arrays["values"].shape[:1] or names.dtype.kind != "U"):
            raise DataError(path, f"holds names {names.dtype} {list(names.shape)}", "give one text a sequence")
        return arrays["values"], arrays["lengths"], arrays.get("split"), names


def read_context(path: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return ``context`` and ``labels`` of an npz file, or of arrays.npz in a folder; None of what the file lacks.

    Raises:
      DataError: the file is damaged, or does not hold one entry for each of its sequences.
    """
    path = os.path.join(path, "arrays.npz") if os.path.isdir(path) else path
    with open_npz(path) as arrays:
        number = arrays["values"].shape[:1]
        found = arrays.get("context"), arrays.get("labels")
    for name, rows in zip(("context", "labels"), found, strict=True):
        if rows is None:
            continue
        if rows.ndim != (3 if name == "context" else 1):
            form = "real numbers [N, T, K]" if name == "context" else "integers [N]"
            raise DataError(path, f"holds {name} {rows.dtype} {list(rows.shape)}, and it must be {form}")
        if rows.shape[:1] != number:
            raise DataError(path, f"holds {len(rows)} entries of {name} and {number[0]} sequences", "give one each")
    return found


def _tokens(values: np.ndarray, lengths: np.ndarray, num_tokens: int) -> Observation:
    if not np.issubdtype(values.dtype, np.integer) or not values.size:
        what = f"values are {values.dtype} {list(values.shape)}, and must be integers [N, T] or real numbers [N, T, D]"
        raise DataError("", what)
    if num_tokens < 0:
        raise DataError("", f"num_tokens must be at least 0, not {num_tokens}")
    if num_tokens or lengths.shape != (len(values),):  # which from_arrays refuses
        return Observation("tokens", num_tokens or 1)
    real = np.arange(values.shape[1]) < lengths[:, None]
    return Observation("tokens", max(1, 1 + int(values.max(where=real, initial=0))))


def _parts(split: np.ndarray, number: tuple[int, ...], lengths: np.ndarray) -> dict[str, np.ndarray]:
    """The places of every split's sequences."""
    if len(number) != 1 or split.shape != number or lengths.shape != number:
        what = f"split and lengths must have one entry for each sequence, {list(number)}"
        raise DataError("", f"{what}, not {list(split.shape)} and {list(lengths.shape)}")
    wrong = np.flatnonzero(~np.isin(split, _SPLITS))
    if wrong.size:
        raise DataError("", f"split[{wrong[0]}] is {split[wrong[0]].item()!r}, and must be one of {', '.join(_SPLITS)}")
    found = {name: np.flatnonzero(split == name) for name in _SPLITS}
    return {name: places for name, places in found.items() if places.size}
