"""Read and write tables with named columns, CSV or Parquet: the one room that imports pyarrow.

Cells of CSV files are read as text, so that a cell that is no number can be shown as it stands in the file.  Rows are
counted from 1, the first one below the header.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zf_jax.data.dataset import DataError
from zf_jax.data.prepared.folders import check_regular, unreadable
from zf_jax.extras import needs
from zf_jax.memory import physical_memory

with needs("data"):
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.parquet

pc: Any = pyarrow.compute  # its functions are made at import, and no type checker knows them
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None")  # cells without a value
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_SIGN = r"^\+"


class Numbers(NamedTuple):
    """A column as numbers: float64 ``[T]``, NaN where a cell is missing or no number, and which cells are no number."""

    values: np.ndarray
    wrong: np.ndarray


def read_table(path: str) -> pa.Table:
    """Return a CSV or Parquet file.

    Raises:
      DataError: the file is empty, damaged, larger than a quarter of the memory, or names a column twice; a CSV file
        has no header, is not UTF-8, or a row has another number of cells than the header.
    """
    check_regular(path)
    if not os.path.getsize(path):
        raise DataError(path, "is empty", "remove the file")
    try:
        table = _read_csv(path) if path.lower().endswith(".csv") else _read_parquet(path)
    except OSError as error:
        raise unreadable(path, error) from None
    if not table.num_rows:
        raise DataError(path, "has a header and no rows", "remove the file")
    return table


def numbers(table: pa.Table, column: str) -> Numbers:
    """Return a column as numbers; text counts where it is written as a number."""
    found = table[column].combine_chunks()
    if pa.types.is_dictionary(found.type):
        found = found.dictionary_decode()
    wrong = np.zeros(len(found), bool)
    if _is_text(found.type):
        found = pc.utf8_trim_whitespace(found.cast(pa.string()))
        written = pc.fill_null(pc.match_substring_regex(found, _NUMBER), False)
        absent = pc.or_(pc.is_null(found), pc.is_in(found, value_set=pa.array(MISSING)))
        wrong = ~np.asarray(pc.or_(written, absent))
        found = pc.replace_substring_regex(pc.if_else(written, found, None), _SIGN, "")
    elif pa.types.is_boolean(found.type):
        found = found.cast(pa.uint8())
    elif not (pa.types.is_integer(found.type) or pa.types.is_floating(found.type) or pa.types.is_decimal(found.type)):
        return Numbers(np.full(len(found), np.nan), np.asarray(pc.is_valid(found)))
    return Numbers(found.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), wrong)


def texts(table: pa.Table, column: str) -> list[str]:
    """Return the cells of a column as text; "" where a cell is missing."""
    return ["" if cell is None else str(cell).strip() for cell in table[column].to_pylist()]


def order(table: pa.Table, column: str) -> np.ndarray | int:
    """Return a column of numbers or of ISO dates and times as what compares, ``[T]``; else the place of a bad cell."""
    found = table[column].combine_chunks()
    if pa.types.is_dictionary(found.type):
        found = found.dictionary_decode()
    if found.null_count:
        return int(np.argmax(np.asarray(pc.is_null(found))))
    if not _is_text(found.type):
        temporal = pa.types.is_date(found.type) or pa.types.is_timestamp(found.type)
        whole = found.cast(pa.timestamp("us"), safe=False).cast(pa.int64()) if temporal else found
        if temporal or pa.types.is_integer(found.type) or pa.types.is_floating(found.type):
            return whole.to_numpy(zero_copy_only=False)
        return 0
    found = pc.utf8_trim_whitespace(found.cast(pa.string()))
    best = 0  # how far the kind goes that goes furthest
    for kind in (pa.int64(), pa.float64(), pa.timestamp("us"), pa.timestamp("us", "UTC")):
        bad = _first_bad(found, kind)
        if bad is None:
            whole = found.cast(kind)
            return (whole if kind in (pa.int64(), pa.float64()) else whole.cast(pa.int64())).to_numpy()
        best = max(best, bad)
    return best


def write_rows(rows: Sequence[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write dicts of the same keys as a Parquet file."""
    pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), path)


def _read_csv(path: str) -> pa.Table:
    _check_size(path, os.path.getsize(path))
    header = _header(path)
    ragged: list[Any] = []

    def remember(row):
        ragged.append(row)
        return "error"

    try:
        table = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(use_threads=False),
            # Of a single column an empty line is a cell without a value, and no step may be lost.
            pyarrow.csv.ParseOptions(invalid_row_handler=remember, ignore_empty_lines=len(header) > 1),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if ragged:
            row = ragged[0]
            cells = f"{row.actual_columns} cells, and the header has {row.expected_columns}"
            where = "a row" if row.number is None else f"row {row.number - 1}"
            remedy = "quote cells that hold commas, or mend the row"
            if len(header) == 1 and ";" in header[0]:
                remedy = "separate cells by commas, not by semicolons, and write decimals with a point"
            raise DataError(path, f": {where} has {cells}", remedy) from None
        if "UTF8" in str(error):
            raise _not_utf8(path) from None
        raise DataError(path, f"is no CSV file ({str(error).splitlines()[0]})", "save it again") from None
    if table.column_names != header:
        raise DataError(path, "has a header of several lines", "write the names of the columns in one line")
    return table


def _header(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = next(filter(None, csv.reader(file)), [])
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except csv.Error as error:
        raise DataError(path, f"has no header that can be read ({error})", "save it again as UTF-8") from None
    if not header:
        raise DataError(path, "is empty", "remove the file")
    if any("\0" in name for name in header):
        raise _not_utf8(path)
    _check_names(path, header)
    if all(pc.match_substring_regex(pa.array(header, pa.string()), _NUMBER).to_pylist()):
        raise DataError(path, "has no header: its first row is numbers", "write the names of the columns above them")
    return header


def _read_parquet(path: str) -> pa.Table:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check_names(path, file.schema_arrow.names)
            _check_size(path, 8 * file.metadata.num_rows * len(file.schema_arrow.names))
            return file.read()
    except pa.ArrowException as error:
        raise DataError(path, f"is no Parquet file ({str(error).splitlines()[0]})", "save it again") from None


def _check_names(path: str, names: list[str]) -> None:
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise DataError(path, f"has two columns called {twice!r}", "rename one of them")


def _check_size(path: str, size: int) -> None:
    if size > physical_memory() / 4:
        raise DataError(path, f"takes {size} bytes, more than a quarter of the memory", "divide it into several files")


def _not_utf8(path: str) -> DataError:
    return DataError(path, "is not UTF-8", "save it with that encoding")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _first_bad(found: pa.Array, kind: pa.DataType) -> int | None:
    """The place of the first cell that cannot be cast, by halving."""

    def fits(end: int) -> bool:
        try:
            found.slice(0, end).cast(kind)
        except pa.ArrowInvalid:
            return False
        return True

    if fits(len(found)):
        return None
    low, high = 0, len(found)  # the first ``low`` cells fit, the first ``high`` do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
