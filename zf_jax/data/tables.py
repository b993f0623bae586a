"""Sequences of frames out of tables: a CSV or Parquet file each, or all in one file with a column that names them.

A column is a dimension, a row is a step, and a cell without a value is a missing number.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zf_jax.data.dataset import DataError, Folder, shown
from zf_jax.data.prepared.folders import walk
from zf_jax.data.table_columns import alike, columns_of_numbers
from zf_jax.data.table_file import TableFile, read_file, refuse_missing

SUFFIXES = (".csv", ".parquet")


class Tables(NamedTuple):
    """Sequences that were read from tables.

    Attributes:
      names: of each sequence: its file below the folder without suffix, or what the column of sequences says.
      values: of each sequence, float64 ``[T, D]``, NaN where a cell has no value.
      columns: what each dimension is called.
      context: what is given beside each step of each sequence, float64 ``[T, K]``; None if nothing is.
      counts: files and columns that were left out.
    """

    names: list[str]
    values: list[np.ndarray]
    columns: tuple[str, ...]
    context: list[np.ndarray] | None
    counts: Mapping[str, Any]


def holds_tables(path: str) -> bool:
    """Return whether a path is a CSV or Parquet file, or a folder with such a file and without arrays.npz."""
    if os.path.isfile(path):
        return _is_table(path)
    return not os.path.exists(os.path.join(path, "arrays.npz")) and any(map(_is_table, walk(path).files))


def read_tables(
    path: str,
    *,
    columns: str | Sequence[str] = (),
    context_columns: str | Sequence[str] = (),
    sequence_column: str = "",
    order_column: str = "",
    missing: bool = False,
    skip_bad_files: bool = False,
) -> Tables:
    """Return the sequences of a CSV or Parquet file, or of all such files below a folder.

    Args:
      path: the file or folder.
      columns: the names of the columns to read, in this order, or a text of them with commas between; by default all
        columns of numbers that have a name.
      context_columns: likewise, the columns of numbers that are given beside each step, such as controls or the month.
      sequence_column: the column whose equal cells make a sequence of a file's rows; by default a file is a sequence.
      order_column: a column of numbers, or of ISO dates and times, that must rise from row to row of a sequence.
      missing: whether a cell may be without a value.
      skip_bad_files: count and skip bad files, instead of stopping; a file without the columns that most files have is
        one.

    Raises:
      DataError: the sentence names the file and, of a cell, its row (1 is below the header) and column.
    """
    chosen, context = _split_names(columns), _split_names(context_columns)
    special = [("sequence_column", sequence_column), ("order_column", order_column)]
    special = [(option, name) for option, name in special if name] + [("context_columns", name) for name in context]
    for option, name in special:
        if name in chosen:
            raise DataError("", f"{option} {name!r} cannot be one of the columns to read")
    listing = walk(path)
    tables = [file for file in listing.files if _is_table(file)]
    if not tables:
        raise DataError(path, "holds no CSV or Parquet file", Folder("arrays"))
    found: list[TableFile] = []
    bad = list(listing.problems)
    for file in tables:
        name = os.path.basename(file) if file == path else os.path.relpath(file, path).replace(os.sep, "/")
        # Where bad files are skipped, the first one does not say what the columns are: it may be the bad one.
        names = chosen or (found[0].names if found and not skip_bad_files else [])
        try:
            one = read_file(file, os.path.splitext(name)[0], names, bool(chosen), special)
            if not missing:
                refuse_missing(one, chosen)
            found.append(one)
        except DataError as error:
            bad.append(error)
            if not skip_bad_files:
                break
    if bad and not skip_bad_files:
        raise bad[0]
    if skip_bad_files and not chosen:
        found, others = alike(found, missing)
        bad += others
    if not found:
        raise DataError(path, f"holds no CSV or Parquet file that can be read; the first says: {bad[0].fact}")
    kept, left = (chosen, []) if chosen else columns_of_numbers(found)
    if not missing:
        for one in found:
            refuse_missing(one, kept)
    names, values, beside = [], [], []
    for one in found:
        stacked = np.stack([one.columns[column] for column in kept], axis=1)
        for label, rows in one.sequences.items():
            parts = ([] if one.path == path else [one.name]) + [label] if sequence_column else [one.name]
            names.append(shown("/".join(parts)))
            values.append(stacked[rows])
            beside.append(np.stack([column[rows] for column in one.context], axis=1) if context else stacked[:0])
    _refuse_twice(path, names)
    counts: dict[str, Any] = {"files": len(found), "other_files_not_read": len(listing.files) - len(tables)}
    counts |= {"hidden_files_not_read": listing.hidden, "columns_left_out": left}
    counts |= {"bad_files_skipped": len(bad), "bad_files": [error.fact for error in bad]}
    return Tables(names, values, tuple(kept), beside if context else None, counts)


def _split_names(columns: str | Sequence[str]) -> list[str]:
    if isinstance(columns, str):
        return list(next(csv.reader([columns], skipinitialspace=True), ()))
    if not isinstance(columns, Sequence) or not all(isinstance(name, str) for name in columns):
        raise DataError("", f"columns must be names, a text with commas between them or a list, not {columns!r}")
    return list(columns)


def _is_table(path: str) -> bool:
    return path.lower().endswith(SUFFIXES)


def _refuse_twice(path: str, names: list[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise DataError(path, f"holds two sequences called {name!r}", "rename one of the files")
        seen.add(name)
