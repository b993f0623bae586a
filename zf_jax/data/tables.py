"""Sequences of frames out of tables: a CSV or Parquet file each, or all in one file with a column that names them.

A column is a dimension, a row is a step, and a cell without a value is a missing number.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zf_jax.data.dataset import DataError, Folder, Option, shown
from zf_jax.data.prepared.folders import walk
from zf_jax.data.rows import LARGEST

SUFFIXES = (".csv", ".parquet")
_COMMA = re.compile(r"(?=.*\d)[+-]?[\d.]*,[\d.,]*([eE][+-]?\d+)?")  # a number with commas
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d*([eE][+-]?\d+)?")


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


class _File(NamedTuple):
    """One file: its columns as numbers ``[T]``, a cell of those that are text, its context, the rows of sequences."""

    path: str
    name: str
    columns: dict[str, np.ndarray]
    text: dict[str, str]
    context: list[np.ndarray]
    sequences: dict[str, np.ndarray]


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
      skip_bad_files: count and skip bad files, instead of stopping.

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
    found, bad = [], list(listing.problems)
    for file in tables:
        name = os.path.basename(file) if file == path else os.path.relpath(file, path).replace(os.sep, "/")
        try:
            names = chosen or (list({**found[0].columns, **found[0].text}) if found else [])
            found.append(_read(file, os.path.splitext(name)[0], names, bool(chosen), special))
            if not missing:
                _refuse_missing(found[-1], chosen)
        except DataError as error:
            bad.append(error)
            if not skip_bad_files:
                break
            found = [one for one in found if one.path != file]
    if bad and not skip_bad_files:
        raise DataError(bad[0].path, bad[0].what, *bad[0].remedies)
    if not found:
        raise DataError(path, f"holds no CSV or Parquet file that can be read; the first says: {bad[0].fact}")
    kept, left = (chosen, []) if chosen else _columns_of_numbers(found)
    if not missing:
        for one in found:
            _refuse_missing(one, kept)
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


def _read(path: str, name: str, expected: list[str], chosen: bool, special: list[tuple[str, str]]) -> _File:
    """One file, checked as far as this can be done without the others."""
    from zf_jax.data import arrow

    table = arrow.read_table(path)
    for option, column in special:
        if column not in table.column_names:
            raise DataError(path, f"has no column {column!r}; it has {_listed(table.column_names)}", Option(option))
    there = [column for column in table.column_names if column and column not in [name for _, name in special]]
    absent = [column for column in expected if column not in there]
    if absent:
        raise DataError(
            path, f"has no column {absent[0]!r}; it has {_listed(there)}", "rename the column", Option("columns")
        )
    if expected and not chosen and len(there) > len(expected):
        added = next(column for column in there if column not in expected)
        what = f"has a column {added!r} that files before it do not have"
        raise DataError(path, what, Option("columns", None, "to those of all files"))
    columns, text, context = {}, {}, []
    for column in expected or there:
        found = _numbers(path, table, column, must=chosen)
        if isinstance(found, str):
            text[column] = found
        else:
            columns[column] = found
    for option, column in special:
        if option == "context_columns":
            found = _numbers(path, table, column, must=True)
            assert not isinstance(found, str)
            if np.isnan(found).any():
                what = f": row {int(np.isnan(found).argmax()) + 1} of column {column!r} has no value"
                raise DataError(path, what, "a context must be known at every step")
            context.append(found)
    sequence_column, order_column = (dict(special).get(f"{kind}_column", "") for kind in ("sequence", "order"))
    sequences = {"": np.arange(table.num_rows)}
    if sequence_column:
        sequences = _groups(path, sequence_column, arrow.texts(table, sequence_column))
    if order_column:
        _check_order(path, order_column, table, sequences)
    return _File(path, name, columns, text, context, sequences)


def _numbers(path: str, table: Any, column: str, *, must: bool) -> np.ndarray | str:
    """A column as numbers, or a cell of a column of text; every column ``must`` be numbers where it was asked for."""
    from zf_jax.data import arrow

    values, wrong = arrow.numbers(table, column)
    if wrong.any():
        place = int(wrong.argmax())
        cells = arrow.texts(table, column)
        cell = cells[place]
        remedy = [] if must else [Option("columns", None, "to leave that column out")]
        text = [cells[row] for row in np.flatnonzero(wrong)]
        if all(_COMMA.fullmatch(one) for one in text):
            what = f": row {place + 1} of column {column!r} is {_short(cell)}, which has a decimal comma"
            what += "" if _DECIMAL_COMMA.fullmatch(cell) else " or commas between thousands"
            raise DataError(path, what, "write numbers with a point alone, as 3.14", *remedy)
        if not must and np.isnan(values).all():
            return cell
        what = f": row {place + 1} of column {column!r} is {_short(cell)}, which is no number"
        raise DataError(path, what, "mend the cell", *remedy)
    large = ~np.isnan(values) & ~(np.abs(values) <= LARGEST)
    if large.any():
        place = int(large.argmax())
        what = f": row {place + 1} of column {column!r} is {values[place]}, which is not finite in float32"
        raise DataError(path, what, "mend the cell")
    return values


def _groups(path: str, column: str, labels: list[str]) -> dict[str, np.ndarray]:
    """The rows of every sequence of a file, in their order, by what the column of sequences says."""
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        if not label:
            raise DataError(path, f": row {row + 1} of column {column!r} does not say of which sequence it is")
        rows.setdefault(label, []).append(row)
    return {label: np.asarray(places) for label, places in rows.items()}


def _check_order(path: str, column: str, table: Any, sequences: Mapping[str, np.ndarray]) -> None:
    from zf_jax.data import arrow

    found, cells = arrow.order(table, column), None
    if isinstance(found, int):
        what = f": row {found + 1} of column {column!r} is {_short(arrow.texts(table, column)[found])}, "
        raise DataError(path, what + "which is neither a number nor a date", "write dates as 2001-12-31")
    for rows in sequences.values():
        values = found[rows]
        wrong = np.flatnonzero(~(values[1:] > values[:-1]))
        if wrong.size:
            cells = arrow.texts(table, column)
            before, row = rows[wrong[0]], rows[wrong[0] + 1]
            what = (
                f": row {row + 1} of column {column!r} is {cells[row]}, not after {cells[before]} in row {before + 1}"
            )
            remedy = "sort the rows by that column", Option("sequence_column", None, "if the file holds several")
            raise DataError(path, what, *remedy)


def _refuse_missing(found: _File, columns: Sequence[str]) -> None:
    """Refuse cells without a value in columns that have some, or that were asked for."""
    for column, values in found.columns.items():
        absent = np.isnan(values)
        if absent.any() and (column in columns or not absent.all()):
            what = f": row {int(absent.argmax()) + 1} of column {column!r} has no value"
            raise DataError(found.path, what, Option("missing", True, "if that means not observed"))


def _columns_of_numbers(found: list[_File]) -> tuple[list[str], list[str]]:
    """The columns of numbers, which must be so in all files, and those left out: text, or empty in all files."""
    kept, left = [], []
    for column in [*found[0].columns, *found[0].text]:
        texts = [one for one in found if column in one.text]
        seen = [one for one in found if column in one.columns and not np.isnan(one.columns[column]).all()]
        if texts and seen:
            what = f": column {column!r} has {_short(texts[0].text[column])}, and in {seen[0].path} it has numbers"
            raise DataError(texts[0].path, what, Option("columns", None, "to leave that column out"))
        (kept if seen else left).append(column)
    if not kept:
        what = f"has no column of numbers; it has {_listed(left)}"
        raise DataError(found[0].path, what, "separate cells by commas, and write decimals with a point")
    return kept, left


def _refuse_twice(path: str, names: list[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise DataError(path, f"holds two sequences called {name!r}", "rename one of the files")
        seen.add(name)


def _listed(names: Sequence[str]) -> str:
    shown_names: Iterator[str] = (repr(name) for name in names[:8])
    return ", ".join([*shown_names, *(["..."] if len(names) > 8 else [])]) or "none"


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:40] + "...")
