"""Prepare data sets on disk in TFDS's layout, and find prepared sets, without TensorFlow.

A set is written into a temporary folder, which is renamed after the last record, so an interrupted preparation is never
read.  A lock keeps other processes from preparing the same set at the same time.  No function uses the network.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zf_jax.data.dataset import DataError, Option
from zf_jax.data.prepared import folders
from zf_jax.data.prepared.records import open_splits
from zf_jax.data.prepared.shards import BUILDER, VERSION, Recipe, Record, write

__all__ = [
    "NoRoom",
    "Recipe",
    "Record",
    "config_name",
    "find",
    "find_or_prepare",
    "find_stock",
    "open_splits",
    "prepare",
    "prepared_without",
    "read_metadata",
    "refuse_other_options",
    "variants",
    "with_others",
]


_SOURCE = "source_sha256"


class NoRoom(DataError):
    """The disk has no room for temporary files; the preparation stops, also if bad files are skipped."""


def config_name(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the name under which a set is stored: the set's name and every option that differs from the default."""
    changed = [f"{key}={options[key]}" for key in sorted(options) if options[key] != defaults[key]]
    if not changed:
        return name
    plain = [item.replace("=", "_") for item in changed if item.replace("=", "_").replace(".", "_").isidentifier()]
    return "-".join([name, *plain, hashlib.sha256(repr(changed).encode()).hexdigest()[:8]])


def find(folder: str, config: str) -> str | None:
    """Return the path of a complete preparation by this library under a TFDS data directory, or None."""
    path = os.path.join(folder, BUILDER, config, VERSION)
    return path if os.path.isfile(os.path.join(path, "dataset_info.json")) else None


def find_stock(folder: str, name: str) -> str | None:
    """Return the path of the newest version of a set that TFDS's own builder prepared as array_record, or None."""
    versions = os.path.join(folder, name)
    if not os.path.isdir(versions):
        return None
    whole = [v for v in os.listdir(versions) if os.path.isfile(os.path.join(versions, v, "dataset_info.json"))]
    return os.path.join(versions, max(whole, key=_version_key)) if whole else None


def variants(folder: str, name: str) -> list[str]:
    """Return the stored names of all preparations of a set under a data directory, with any options."""
    home = os.path.join(folder, BUILDER)
    names = sorted(os.listdir(home)) if os.path.isdir(home) else []
    return [n for n in names if (n == name or n.startswith(f"{name}-")) and find(folder, n)]


def refuse_other_options(folder: str, name: str) -> None:
    """Raise ``DataError`` if a data directory holds a set, which ``find`` did not find with the options asked for."""
    there = variants(folder, name)
    if there:
        what = f"holds {name} prepared with other options ({', '.join(there)})"
        raise DataError(folder, what, "pass the options that the set was prepared with, or prepare the set again")


def read_metadata(path: str) -> dict[str, Any]:
    """Return the metadata of a set that this library prepared; ``DataError`` if the file is damaged or missing."""
    file = os.path.join(path, "metadata.json")
    try:
        with open(file, encoding="utf-8") as opened:
            return json.load(opened)
    except (OSError, ValueError):
        raise DataError(file, "is damaged or missing", f"delete {path} and prepare the set again") from None


def find_or_prepare(
    folder: str,
    cache_dir: str | None,
    name: str,
    config: str,
    prepare_into: Callable[[str], str],
    cached_as: str | None = None,
) -> str:
    """Return the path of a prepared set: in ``folder``, or else in the cache, where ``prepare_into`` prepares the set.

    Args:
      folder: the original files, or a TFDS data directory.
      cache_dir: the folder of cached preparations; None for the default (``folders.cache_dir``).
      name: the set's name.
      config: the set's stored name, see ``config_name``.
      prepare_into: a function that prepares the set in a given data directory and returns the path of the set.
      cached_as: the set's stored name in the cache; None for ``config``.

    Raises:
      DataError: ``folder`` holds the set, prepared with other options.
    """
    path = find(folder, config)
    if path is not None:
        return path
    refuse_other_options(folder, name)
    home = folders.cache_dir(cache_dir, folder)
    return find(home, cached_as or config) or prepare_into(home)


def with_others(bad: Sequence[DataError], number: int) -> DataError:
    """Return the first error of ``bad``, with how many of the ``number`` read are bad and the option to skip files."""
    first = bad[0]
    others = f" ({len(bad)} of the {number} files read are bad)" if len(bad) > 1 else ""
    skip = Option("skip_bad_files", True, "to count and skip bad files")
    return DataError(first.path, first.what + others, *first.remedies, skip)


def prepared_without(path: str, bad: Sequence[str]) -> DataError:
    """Return the error of loading, without ``skip_bad_files``, a set that was prepared without the files ``bad``."""
    what = f"was prepared without {len(bad)} bad files, the first: {bad[0]}"
    return DataError(path, what, "repair the files and prepare the set again", Option("skip_bad_files", True))


def prepare(config_name: str, make_recipe: Callable[[], Recipe], data_dir: str, source: str | None = None) -> str:
    """Prepare a set under ``data_dir`` and return the path of the set.  An existing preparation is kept.

    Args:
      config_name: the stored name of the set, see ``config_name``.
      make_recipe: returns the recipe; called only if the set is not prepared yet.
      data_dir: a TFDS data directory.
      source: the folder of the original files, whose state is stored beside the set.

    Raises:
      DataError: the original files are bad, or not those of the existing preparation, or ``data_dir`` cannot be
        written.
    """
    with folders.locked(data_dir, config_name):  # another process waits, and then finds the set prepared
        path = find(data_dir, config_name)
        prepared = os.path.join(data_dir, BUILDER)
        known = {} if source is None or not os.path.exists(source) else {_SOURCE: folders.digest_of(source, prepared)}
        if path is not None:
            # Preparations of older versions have no such digest.
            if known and read_metadata(path).get(_SOURCE, known[_SOURCE]) != known[_SOURCE]:
                what = f"was not prepared from the files that are now in {source}"
                raise DataError(path, what, "choose another data_dir", f"delete {path} to prepare them")
            return path
        try:
            recipe = make_recipe()
        except OSError as error:
            raise folders.unreadable(error.filename or "a file", error) from None
        recipe = dataclasses.replace(recipe, metadata=lambda facts, make=recipe.metadata: make(facts) | known)
        home = os.path.join(os.path.abspath(data_dir), BUILDER, config_name)
        for leftover in _incomplete(data_dir, config_name):
            shutil.rmtree(leftover, ignore_errors=True)  # of an interrupted run: this process holds the lock
        temporary = os.path.join(home, f"{VERSION}.incomplete")
        try:
            os.makedirs(temporary)
            write(recipe, config_name, data_dir, temporary)
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
        raise DataError(data_dir, f"does not hold the {config_name} just written there", "check that the disk has room")
    return path


def _incomplete(data_dir: str, config: str) -> list[str]:
    home = os.path.join(data_dir, BUILDER, config)
    names = os.listdir(home) if os.path.isdir(home) else []
    # TFDS's own temporary folders, and a set without dataset_info.json, which is written last.
    return [os.path.join(home, name) for name in names if "incomplete" in name or name == VERSION]


def _version_key(version: str) -> tuple:
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))
