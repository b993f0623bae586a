"""Write records to array_record files in TFDS's layout, without TensorFlow.

Records are written one by one, shard by shard, so a split of any size needs the memory of one record.  (TFDS's own
writer holds a split in memory, and needs TensorFlow above 1,000 MiB.)
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zf_jax.data.dataset import DataError
from zf_jax.data.prepared import folders
from zf_jax.data.prepared.records import number_of_records, one_line, quiet, tensorflow_datasets
from zf_jax.extras import needs

BUILDER = "zf_jax"
VERSION = "1.0.0"
SHARD_BYTES = 256 << 20

Record = dict[str, Any]
Records = Iterator[Record]  # a generator, if facts are returned


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The records of a set to be written.

    Attributes:
      features: the TFDS features of a record.
      splits: for each split, a generator of the records in their final order, which returns facts about the split.
      metadata: a function from the facts of all splits to the metadata stored as JSON.  If the function raises
        ``DataError``, the set is not stored.
    """

    features: Mapping[str, Any]
    splits: Mapping[str, Callable[[], Records]]
    metadata: Callable[[dict[str, Any]], dict[str, Any]]


def write(recipe: Recipe, config_name: str, data_dir: str, folder: str) -> None:
    """Write a recipe's records, the metadata and TFDS's description of the set into ``folder``."""
    tfds: Any = tensorflow_datasets()
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
                except OSError as error:  # an error of reading, not of writing
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
    with quiet():
        builder = _builder_class()(features=features, data_dir=data_dir, config=config, file_format="array_record")
        builder.info.set_splits(tfds.core.splits.SplitDict(infos))
        builder.info.write_to_directory(folder)
    with open(os.path.join(folder, "metadata.json"), "w", encoding="utf-8") as file:
        json.dump(metadata, file)


class _ShardWriter:
    """Write serialised records to array_record files of at most ``SHARD_BYTES`` each, under temporary names.

    Attributes:
      lengths: the number of records of every shard.
      num_bytes: the size of all records.
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
        """Finish the last shard; ``OSError`` if the shard could not be written whole."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
        except RuntimeError as error:
            raise self._failed(error) from None
        if number_of_records(self.path(len(self.lengths) - 1)) != self.lengths[-1]:
            raise OSError(None, "a file was not written whole")

    def _failed(self, error: RuntimeError) -> OSError:
        return OSError(None, str(error).partition("failed: ")[2].partition(";")[0] or one_line(error))


def _builder_class():
    tfds = tensorflow_datasets()
    with needs("data"):
        from tensorflow_datasets.core import registered

    with registered.skip_registration():

        class ZfJax(tfds.core.GeneratorBasedBuilder):
            """Describe a prepared set to TFDS; ``write`` writes the records."""

            name = BUILDER
            VERSION = tfds.core.Version(VERSION)

            def __init__(self, *, features: Any, **kwargs):
                self._features = features
                super().__init__(**kwargs)

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=self._features,
                    disable_shuffling=True,  # a recording is a run of consecutive records
                )

            def _split_generators(self, dl_manager):
                raise NotImplementedError

            def _generate_examples(self):
                raise NotImplementedError

    return ZfJax
