"""Prepared data on disk in TFDS's layout: array_record files, written, found and read without TensorFlow.

Records are written as they come, shard by shard, so a split of any size needs the memory of one record.  (TFDS's own
writer holds a split in memory, and needs TensorFlow above 1,000 MiB.)  A preparation is written into a folder of its
own and renamed when whole, so that one that was interrupted is never read; a lock keeps several processes of one run
from preparing the same set at once.  Nothing here asks the network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from zf_jax.data.dataset import DataError, Directory, Option
from zf_jax.data.prepared import folders
from zf_jax.extras import needs
from zf_jax.locks import lock

BUILDER = "zf_jax"
VERSION = "1.0.0"
SHARD_BYTES = 256 << 20


class NoRoom(DataError):
    """What stops a whole preparation, and not one file: no room for temporary files."""


Record = dict[str, Any]
Records = Iterator[Record]  # a generator, where it returns facts


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a set is prepared.

    Attributes:
      features: the TFDS features of a record.
      splits: for each split, a generator of its records in their final order, which returns facts about the split.
      metadata: turns the facts of all splits into the JSON-able facts that are stored beside the records; may raise
        ``DataError``, and then nothing is stored.
    """

    features: Mapping[str, Any]
    splits: Mapping[str, Callable[[], Records]]
    metadata: Callable[[dict[str, Any]], dict[str, Any]]


def config_name(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the stored name of a set: its own, and every option that is not at its default."""
    changed = [f"{key}={options[key]}" for key in sorted(options) if options[key] != defaults[key]]
    if not changed:
        return name
    plain = [item.replace("=", "_") for item in changed if item.replace("=", "_").replace(".", "_").isidentifier()]
    return "-".join([name, *plain, hashlib.sha256(repr(changed).encode()).hexdigest()[:8]])


def find(folder: str, config: str) -> str | None:
    """Return the path of a whole preparation of ours under a TFDS data directory, or None."""
    path = os.path.join(folder, BUILDER, config, VERSION)
    return path if os.path.isfile(os.path.join(path, "dataset_info.json")) else None


def find_stock(folder: str, name: str) -> str | None:
    """Return the newest version of a set that a stock TFDS builder prepared as array_record, or None."""
    versions = os.path.join(folder, name)
    if not os.path.isdir(versions):
        return None
    whole = [v for v in os.listdir(versions) if os.path.isfile(os.path.join(versions, v, "dataset_info.json"))]
    return os.path.join(versions, max(whole, key=_version_key)) if whole else None


def variants(folder: str, name: str) -> list[str]:
    """Return the stored names of all preparations of a set under a data directory, whatever their options."""
    home = os.path.join(folder, BUILDER)
    names = sorted(os.listdir(home)) if os.path.isdir(home) else []
    return [n for n in names if (n == name or n.startswith(f"{name}-")) and find(folder, n)]


def read_metadata(path: str) -> dict[str, Any]:
    """Return the facts stored beside a preparation of ours; ``DataError`` where they are damaged."""
    file = os.path.join(path, "metadata.json")
    try:
        with open(file, encoding="utf-8") as opened:
            return json.load(opened)
    except (OSError, ValueError):
        raise DataError(file, "is damaged or missing", f"delete {path} and prepare the set again") from None


def open_splits(path: str) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return random access to the records of every split of a prepared set; ``DataError`` where it is damaged."""
    tfds = _tfds()
    try:
        with _quiet():
            builder = tfds.builder_from_directory(path)
            _check_shards(builder)
            open_one: Any = builder.as_data_source  # its stub takes no argument
            return {split: _Checked(open_one(split), f"{path}, {split}") for split in builder.info.splits}
    except Exception as error:  # TFDS and array_record raise many kinds; the user needs one sentence
        what = f"cannot be read ({error if isinstance(error, _Damaged) else _one_line(error)})"
        raise DataError(path, what, "it must hold array_record files; delete it and prepare again") from error


class _Damaged(Exception):
    """A fact about damaged shards, for ``open_splits`` to put into a sentence."""


class _Checked(Sequence):
    """The records of one split; a record that cannot be decoded raises ``DataError``."""

    def __init__(self, records: Any, where: str):
        self._records, self._where = records, where

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        try:
            return self._records[index]
        except Exception as error:  # array_record checks its digests on reading
            what = f"record {index} is damaged ({_one_line(error)})"
            raise DataError(self._where, what, "delete the prepared set and prepare it again") from error


def _check_shards(builder: Any) -> None:
    """Raise ``_Damaged`` where a shard is missing or holds another number of records than was written."""
    for name, split in builder.info.splits.items():
        for shard, expected in zip(split.filepaths, split.shard_lengths, strict=True):
            file = os.path.basename(str(shard))
            if not os.path.isfile(shard):
                raise _Damaged(f"the {name} split's file {file} is missing")
            if _number_of_records(str(shard)) != expected:
                raise _Damaged(f"the {name} split's file {file} does not hold the {expected} records written to it")


def _number_of_records(shard: str) -> int:
    """Return the number of records of an array_record file, -1 where it is damaged."""
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


def find_or_prepare(
    folder: str, cache_dir: str | None, name: str, config: str, prepare_into: Callable[[str], str]
) -> str:
    """Return where a set is prepared: in ``folder`` itself, or in the cache, prepared there by ``prepare_into``.

    Args:
      folder: the original files, or a TFDS data directory.
      cache_dir: where preparations of original files are kept; None for the default (``folders.cache_dir``).
      name: the set's name.
      config: its stored name, see ``config_name``.
      prepare_into: given the data directory, prepares the set there and returns its path.

    Raises:
      DataError: ``folder`` holds the set, prepared with other options.
    """
    path = find(folder, config)
    if path is not None:
        return path
    there = variants(folder, name)
    if there:
        what = f"holds {name} prepared with other options ({', '.join(there)})"
        raise DataError(folder, what, "load it with the same ones, or prepare it again with these")
    home = folders.cache_dir(cache_dir, folder)
    return find(home, config) or prepare_into(home)


def with_others(bad: Sequence[DataError], number: int) -> DataError:
    """Return the error of the first of the bad among ``number`` files, which says how many and how to skip them."""
    first = bad[0]
    others = f" ({len(bad)} of {number} files are bad)" if len(bad) > 1 else ""
    skip = Option("skip_bad_files", True, "to count and skip bad files")
    return DataError(first.path, first.what + others, *first.remedies, skip)


def prepared_without(path: str, bad: Sequence[str]) -> DataError:
    """Return the error of a set that was prepared without bad files, and is loaded as if it were whole."""
    what = f"was prepared without {len(bad)} bad files, the first: {bad[0]}"
    return DataError(path, what, "mend them and prepare again", Option("skip_bad_files", True))


def prepare(config_name: str, make_recipe: Callable[[], Recipe], data_dir: str) -> str:
    """Store a set under ``data_dir`` and return its path; a set that is there already is left as it is."""
    with _locked(data_dir, config_name):
        path = find(data_dir, config_name)
        if path is not None:
            return path
        try:
            recipe = make_recipe()
        except OSError as error:
            raise folders.unreadable(error.filename or "a file", error) from None
        home = os.path.join(os.path.abspath(data_dir), BUILDER, config_name)
        for leftover in _incomplete(data_dir, config_name):
            shutil.rmtree(leftover, ignore_errors=True)  # of an interrupted run: the lock is ours, nobody writes there
        temporary = os.path.join(home, f"{VERSION}.incomplete")
        try:
            os.makedirs(temporary)
            _write(recipe, config_name, data_dir, temporary)
            os.rename(temporary, os.path.join(home, VERSION))
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            what = f"cannot be written ({error.strerror or error})"
            raise DataError(data_dir, what, "make room, or choose another folder") from None
        except Exception:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    path = find(data_dir, config_name)
    if path is None:
        raise DataError(data_dir, f"does not hold the {config_name} that was written there", "is the disk full?")
    return path


def _write(recipe: Recipe, config_name: str, data_dir: str, folder: str) -> None:
    """Write a recipe's records, facts and TFDS's description of them into ``folder``."""
    tfds: Any = _tfds()
    with needs("data"):
        from etils import epath
        from tensorflow_datasets.core import example_serializer, naming

    features = tfds.features.FeaturesDict(dict(recipe.features))
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    template = naming.ShardedFileTemplate(
        data_dir=epath.Path(folder), dataset_name=BUILDER, filetype_suffix="array_record"
    )
    facts, infos = {}, []
    for split, records in recipe.splits.items():
        writer = _ShardWriter(folder)
        generator = records()
        try:
            while True:
                try:
                    record = next(generator)
                except StopIteration as stop:
                    facts[split] = stop.value
                    break
                except OSError as error:  # of reading: not to be taken for one of writing
                    raise folders.unreadable(error.filename or "a file", error) from None
                writer.write(serializer.serialize_example(features.encode_example(record)))
        finally:
            writer.close()
        if not writer.lengths:
            raise DataError("", f"the {split} split of {config_name} is empty", "add data, or choose larger fractions")
        named = template.replace(split=split)
        for index in range(len(writer.lengths)):
            final = named.sharded_filepath(shard_index=index, num_shards=len(writer.lengths))
            os.rename(writer.path(index), final)
        infos.append(tfds.core.SplitInfo(split, writer.lengths, writer.num_bytes, named))
    metadata = recipe.metadata(facts)
    config = tfds.core.BuilderConfig(name=config_name, description="Sequences for zf_jax.")
    with _quiet():
        builder = _builder_class()(features=features, data_dir=data_dir, config=config, file_format="array_record")
        builder.info.set_splits(tfds.core.splits.SplitDict(infos))
        builder.info.write_to_directory(folder)
    with open(os.path.join(folder, "metadata.json"), "w", encoding="utf-8") as file:
        json.dump(metadata, file)


class _ShardWriter:
    """Writes serialised records to array_record files of at most ``SHARD_BYTES`` each, under temporary names.

    Attributes:
      lengths: the records of every shard.
      num_bytes: of all records.
    """

    def __init__(self, folder: str):
        self._folder = folder
        self._writer: Any = None
        self._room = 0
        self.lengths: list[int] = []
        self.num_bytes = 0

    def path(self, index: int) -> str:
        return os.path.join(self._folder, f"shard-{index}.part")

    def write(self, record: bytes) -> None:
        with needs("data"):
            from array_record.python.array_record_module import ArrayRecordWriter

        try:
            if self._writer is None or self._room < len(record):
                self.close()
                self._writer = ArrayRecordWriter(self.path(len(self.lengths)), "group_size:1")
                self._room = SHARD_BYTES
                self.lengths.append(0)
            self._writer.write(record)
        except RuntimeError as error:
            raise self._failed(error) from None
        self._room -= len(record)
        self.num_bytes += len(record)
        self.lengths[-1] += 1

    def close(self) -> None:
        """Finish the last shard.  Raises ``OSError`` where not all of it could be written."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
        except RuntimeError as error:
            raise self._failed(error) from None
        if _number_of_records(self.path(len(self.lengths) - 1)) != self.lengths[-1]:
            raise OSError(None, "a file was not written whole")

    def _failed(self, error: RuntimeError) -> OSError:
        return OSError(None, str(error).partition("failed: ")[2].partition(";")[0] or _one_line(error))


def _builder_class():
    tfds = _tfds()
    with needs("data"):
        from tensorflow_datasets.core import registered

    with registered.skip_registration():

        class ZfJax(tfds.core.GeneratorBasedBuilder):
            """Describes a prepared set to TFDS; its records are written by ``_write``."""

            name = BUILDER
            VERSION = tfds.core.Version(VERSION)

            def __init__(self, *, features: Any, **kwargs):
                self._features = features
                super().__init__(**kwargs)

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=self._features,
                    disable_shuffling=True,  # neighbours stay neighbours: a recording is a run of records
                )

            def _split_generators(self, dl_manager):
                raise NotImplementedError

            def _generate_examples(self):
                raise NotImplementedError

    return ZfJax


def _tfds():
    os.environ.setdefault("NO_GCS_CHECK", "true")  # never ask the network whether somebody else has prepared it
    with needs("data"):
        import tensorflow_datasets as tfds

    tfds.disable_progress_bar()  # the recipes show their own, in files rather than records
    return tfds


@contextlib.contextmanager
def _quiet():
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


@contextlib.contextmanager
def _locked(data_dir: str, config: str):
    """Hold the set's lock: a second process waits, then finds the set prepared."""
    try:
        os.makedirs(data_dir, exist_ok=True)
        handle = open(os.path.join(data_dir, f".{config}.lock"), "w")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise DataError(data_dir, f"cannot be written ({error.strerror})", Directory()) from None
    with handle:
        lock(handle, wait=True)
        yield


def _incomplete(data_dir: str, config: str) -> list[str]:
    home = os.path.join(data_dir, BUILDER, config)
    names = os.listdir(home) if os.path.isdir(home) else []
    # TFDS's own half-written folders, and one that lacks what is written last (half copied, or half deleted).
    return [os.path.join(home, name) for name in names if "incomplete" in name or name == VERSION]


def _version_key(version: str) -> tuple:
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
