"""Find the columns that tables share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zf_jax.data.dataset import DataError, Option
from zf_jax.data.table_file import TableFile, listed, refuse_missing, short

_LEAVE_OUT = Option("columns", None, "to leave that column out")


def columns_of_numbers(found: Sequence[TableFile]) -> tuple[list[str], list[str]]:
    """Return the columns of numbers, which must be so in all files, and those left out.

    A column of text is left out, one that is empty in all files, and an index that pandas wrote.

    Raises:
      DataError: there is none, or a column is text in some files and numbers in others.
    """
    kept, left = [], []
    for column in found[0].names:
        texts = [one for one in found if column in one.text]
        seen = [one for one in found if one.has_numbers(column)]
        if texts and seen:
            raise _text_among_numbers(texts[0], column, seen[0])
        (kept if seen else left).append(column)
    left += sorted({name for one in found for name in one.index_columns})
    if not kept:
        what = f"has no column of numbers; it has {listed(left)}"
        raise DataError(found[0].path, what, "separate cells by commas, and write decimals with a point")
    return kept, left


def alike(found: Sequence[TableFile], missing: bool) -> tuple[list[TableFile], list[DataError]]:
    """Return the files that have the columns that most files have, and an error for each of the others.

    Args:
      missing: whether a cell may be without a value.
    """
    if not found:
        return [], []
    most = Counter(frozenset(one.names) for one in found).most_common(1)[0][0]
    same = [one for one in found if most == set(one.names)]
    numbers = {column: _is_of_numbers(column, same, missing) for column in same[0].names}
    kept, bad = [], []
    for one in found:
        error = _unlike(one, same, numbers, missing)
        if error is None:
            kept.append(one)
        else:
            bad.append(error)
    return kept, bad


def _is_of_numbers(column: str, files: Sequence[TableFile], missing: bool) -> bool:
    """Whether a column has numbers in some files, and in no more of them something else."""
    seen = sum(one.has_numbers(column) for one in files)
    others = sum(not one.has_numbers(column) and (column in one.text or not missing) for one in files)
    return seen > 0 and seen >= others


def _unlike(one: TableFile, same: Sequence[TableFile], numbers: dict[str, bool], missing: bool) -> DataError | None:
    """What is wrong with the columns of a file beside those of the files that have the same columns."""
    for column in numbers:
        if column not in one.names:
            what = f"has no column {column!r}, which the files that are read have"
            return DataError(one.path, what, "rename the column", Option("columns"))
    for column in one.names:
        if column not in numbers:
            what = f"has a column {column!r} that the files that are read do not have"
            return DataError(one.path, what, Option("columns", None, "to those of all files"))
    for column, wanted in numbers.items():
        if wanted and column in one.text:
            return _text_among_numbers(one, column, next(other for other in same if other.has_numbers(column)))
        if not wanted and one.has_numbers(column):
            what = f": column {column!r} has numbers, and has none in most files that are read"
            return DataError(one.path, what, _LEAVE_OUT)
    if not missing:
        try:
            refuse_missing(one, [column for column, wanted in numbers.items() if wanted])
        except DataError as error:
            return error
    return None


def _text_among_numbers(one: TableFile, column: str, other: TableFile) -> DataError:
    what = f": column {column!r} has {short(one.text[column])}, and in {other.path} it has numbers"
    return DataError(one.path, what, _LEAVE_OUT)
