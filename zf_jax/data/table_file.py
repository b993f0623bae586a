"""Read one table: its columns as numbers, its context and its sequences, checked as far as one file can be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zf_jax.batch import LARGEST
from zf_jax.data.dataset import DataError, Option

_COMMA = re.compile(r"(?=.*\d)[+-]?[\d.]*,[\d.,]*([eE][+-]?\d+)?")  # a number with commas
_INDEX = re.compile(r"__index_level_\d+__")  # an index without a name, as pandas writes it into Parquet
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d*([eE][+-]?\d+)?")


class TableFile(NamedTuple):
    """One file.

    Attributes:
      path: of the file.
      name: of its sequence.
      columns: those of numbers, ``[T]`` each.
      text: a cell of each column of text.
      index_columns: those that are an index which pandas wrote, and that nobody asked for.
      context: the columns of context, ``[T]`` each.
      sequences: the rows of each sequence.
    """

    path: str
    name: str
    columns: dict[str, np.ndarray]
    text: dict[str, str]
    index_columns: list[str]
    context: list[np.ndarray]
    sequences: dict[str, np.ndarray]

    @property
    def names(self) -> list[str]:
        """What the columns of numbers and then those of text are called."""
        return [*self.columns, *self.text]

    def has_numbers(self, column: str) -> bool:
        """Return whether a cell of the column is a number."""
        return column in self.columns and not np.isnan(self.columns[column]).all()


def read_file(path: str, name: str, expected: list[str], chosen: bool, special: list[tuple[str, str]]) -> TableFile:
    """Return one file, checked as far as this can be done without the others.

    Args:
      name: what its sequence is called.
      expected: the columns to read; none reads all that have a name.
      chosen: whether the user asked for them; otherwise they are those of another file, which must be all.
      special: the options that name a column of another use, and that column.

    Raises:
      DataError: the sentence names the file and, of a cell, its row (1 is below the header) and column.
    """
    from zf_jax.data import arrow

    table = arrow.read_table(path)
    for option, column in special:
        if column not in table.column_names:
            raise DataError(path, f"has no column {column!r}; it has {listed(table.column_names)}", Option(option))
    there = [column for column in table.column_names if column and column not in [name for _, name in special]]
    index = [column for column in there if _INDEX.fullmatch(column) and column not in expected]
    there = [column for column in there if column not in index]
    absent = [column for column in expected if column not in there]
    if absent:
        raise DataError(
            path, f"has no column {absent[0]!r}; it has {listed(there)}", "rename the column", Option("columns")
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
    return TableFile(path, name, columns, text, index, context, sequences)


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
            what = f": row {place + 1} of column {column!r} is {short(cell)}, which has a decimal comma"
            what += "" if _DECIMAL_COMMA.fullmatch(cell) else " or commas between thousands"
            raise DataError(path, what, "write numbers with a point alone, as 3.14", *remedy)
        if not must and np.isnan(values).all():
            return cell
        what = f": row {place + 1} of column {column!r} is {short(cell)}, which is no number"
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
        what = f": row {found + 1} of column {column!r} is {short(arrow.texts(table, column)[found])}, "
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


def refuse_missing(found: TableFile, columns: Sequence[str]) -> None:
    """Refuse cells without a value in columns that have some, or that were asked for."""
    for column, values in found.columns.items():
        absent = np.isnan(values)
        if absent.any() and (column in columns or not absent.all()):
            what = f": row {int(absent.argmax()) + 1} of column {column!r} has no value"
            raise DataError(found.path, what, Option("missing", True, "if that means not observed"))


def listed(names: Sequence[str]) -> str:
    """Return the first names of columns as text."""
    shown_names: Iterator[str] = (repr(name) for name in names[:8])
    return ", ".join([*shown_names, *(["..."] if len(names) > 8 else [])]) or "none"


def short(cell: str) -> str:
    """Return a cell as text, cut where it is long."""
    return repr(cell if len(cell) <= 40 else cell[:40] + "...")
