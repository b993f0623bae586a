"""Prepared data on disk: one TFDS builder in plain Python, array_record files, found and read without TensorFlow.

A preparation writes into TFDS's incomplete folder and is renamed when whole, so that one that was interrupted is never
read; a lock keeps several processes of one run from preparing the same set at once.  Nothing here asks the network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from zf_jax.data.dataset import DataError

BUILDER = "zf_jax"
VERSION = "1.0.0"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a set is prepared.

    Attributes:
      features: the TFDS features of a record.
      splits: for each split, a function that yields its records in their final order.
      metadata: JSON-able facts, filled in while the splits are generated and stored beside the records.
      finish: called when all splits are generated; may raise ``DataError``, and then nothing is stored.
    """

    features: Mapping[str, Any]
    splits: Mapping[str, Callable[[], Iterator[dict[str, Any]]]]
    metadata: dict[str, Any]
    finish: Callable[[], None] = lambda: None


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
        raise DataError(f"{file} is damaged or missing: delete {path} and prepare the set again") from None


def open_splits(path: str) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return random access to the records of every split of a prepared set; ``DataError`` where it is damaged."""
    tfds = _tfds()
    try:
        with _quiet():
            builder = tfds.builder_from_directory(path)
            open_one: Any = builder.as_data_source  # its stub takes no argument
            return {split: open_one(split) for split in builder.info.splits}
    except Exception as error:  # TFDS and array_record raise many kinds; the user needs one sentence
        raise DataError(
            f"{path} cannot be read ({_one_line(error)}): it must hold array_record files; delete it and prepare again"
        ) from error


def prepare(config_name: str, make_recipe: Callable[[], Recipe], data_dir: str) -> str:
    """Store a set under ``data_dir`` and return its path; a set that is there already is left as it is."""
    tfds = _tfds()
    with _locked(data_dir, config_name):
        path = find(data_dir, config_name)
        if path is not None:
            return path
        recipe = make_recipe()
        for leftover in _incomplete(data_dir, config_name):
            shutil.rmtree(leftover, ignore_errors=True)  # of an interrupted run: the lock is ours, nobody writes there
        config = tfds.core.BuilderConfig(name=config_name, description="Sequences for zf_jax.")
        with _quiet():
            builder = _builder_class()(recipe=recipe, data_dir=data_dir, config=config, file_format="array_record")
        try:
            with _quiet():
                builder.download_and_prepare()
        except BaseException as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, DataError):
                cause = cause.__cause__ or cause.__context__
            if cause is not None:
                raise cause from None
            if isinstance(error, OSError):
                why = f"({error.strerror}): make room, or choose another folder"
                raise DataError(f"{data_dir} cannot be written {why}") from None
            raise
    path = find(data_dir, config_name)
    if path is None:
        raise DataError(f"{config_name} was prepared under {data_dir} and cannot be found there: is the disk full?")
    return path


def _builder_class():
    tfds = _tfds()
    from tensorflow_datasets.core import registered

    with registered.skip_registration():

        class ZfJax(tfds.core.GeneratorBasedBuilder):
            """Writes the records of a recipe, in order."""

            name = BUILDER
            VERSION = tfds.core.Version(VERSION)

            def __init__(self, *, recipe: Recipe, **kwargs):
                self._recipe = recipe
                self._facts = tfds.core.MetadataDict()
                super().__init__(**kwargs)

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(dict(self._recipe.features)),
                    metadata=self._facts,
                    disable_shuffling=True,  # neighbours stay neighbours: a recording is a run of records
                )

            def _split_generators(self, dl_manager):
                del dl_manager
                last = list(self._recipe.splits)[-1]
                return {split: self._generate_examples(split, split == last) for split in self._recipe.splits}

            def _generate_examples(self, split, last):
                yield from enumerate(self._recipe.splits[split]())
                if last:
                    self._recipe.finish()
                    self._facts.update(self._recipe.metadata)

    return ZfJax


def _tfds():
    os.environ.setdefault("NO_GCS_CHECK", "true")  # never ask the network whether somebody else has prepared it
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()  # the recipes show their own, in files rather than records
    return tfds


@contextlib.contextmanager
def _quiet():
    """Silence TFDS's progress messages, which mention downloads that do not happen."""
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
        raise DataError(
            f"{data_dir} cannot be written ({error.strerror}): choose another folder with --data_dir, or with "
            "--config.data.cache_dir or the environment variable ZF_JAX_CACHE"
        ) from None
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
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
