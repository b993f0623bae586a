"""Read prepared records from TFDS's array_record files, without TensorFlow."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

from zf_jax.data.dataset import DataError
from zf_jax.extras import needs


def open_splits(path: str) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return the records of every split of a prepared set, by index; ``DataError`` if the set is damaged."""
    tfds = tensorflow_datasets()
    try:
        with quiet():
            builder = tfds.builder_from_directory(path)
            _check_shards(builder)
            open_one: Any = builder.as_data_source  # its stub takes no argument
            return {split: _Checked(open_one(split), f"{path}, {split}") for split in builder.info.splits}
    except Exception as error:  # TFDS and array_record raise many kinds of error
        what = f"cannot be read ({error if isinstance(error, _Damaged) else one_line(error)})"
        raise DataError(path, what, "delete the folder and prepare the set again, as array_record files") from error


class _Damaged(Exception):
    """A shard is damaged; ``open_splits`` reports the message in a ``DataError``."""


class _Checked(Sequence):
    """Read records of one split by index; ``DataError`` if a record cannot be decoded."""

    def __init__(self, records: Any, where: str):
        self._records, self._where = records, where

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        try:
            return self._records[index]
        except Exception as error:  # array_record checks digests when a record is read
            what = f"record {index} is damaged ({one_line(error)})"
            raise DataError(self._where, what, "delete the prepared set, and prepare the set again") from error


def _check_shards(builder: Any) -> None:
    """Raise ``_Damaged`` if a shard is missing or does not hold the number of records that was written."""
    for name, split in builder.info.splits.items():
        for shard, expected in zip(split.filepaths, split.shard_lengths, strict=True):
            file = os.path.basename(str(shard))
            if not os.path.isfile(shard):
                raise _Damaged(f"the {name} split's file {file} is missing")
            if number_of_records(str(shard)) != expected:
                raise _Damaged(f"the {name} split's file {file} does not hold the {expected} records written to it")


def number_of_records(shard: str) -> int:
    """Return the number of records in an array_record file; -1 if the file is damaged."""
    with needs("data"):
        from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(shard)
        try:
            return reader.num_records()
        finally:
            reader.close()
    except Exception:
        return -1


def tensorflow_datasets() -> Any:
    """Return the module ``tensorflow_datasets``, set to use no network and to show no progress bars."""
    os.environ.setdefault("NO_GCS_CHECK", "true")  # TFDS would ask a server for a prepared copy
    with needs("data"):
        import tensorflow_datasets as tfds

    tfds.disable_progress_bar()  # the recipes show progress in files
    return tfds


@contextlib.contextmanager
def quiet():
    """Silence TFDS's progress messages, which mention downloads that do not happen."""
    with needs("data"):
        from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(before)


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 160 characters, or else the error's type."""
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
