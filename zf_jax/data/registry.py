"""The data sets by name; a room is imported when its data are asked for."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from zf_jax.data.dataset import DataError, DataSet, Register
from zf_jax.data.options import check_arguments, defaults_of


class Entry(NamedTuple):
    """How a data set is loaded and prepared; functions, or their places ``"room.function"`` in ``zf_jax.data``.

    Attributes:
      load: returns the ``DataSet``; its keyword arguments are the set's options, ``data_dir`` one of them.
      prepare: stores the files of a folder as array_record, ``(folder, data_dir, *, name, ...) -> path``; None where
        the set is read as it lies.
      options: arguments of ``load`` that the entry itself gives, such as the name where one loader serves several.
    """

    load: str | Callable[..., DataSet]
    prepare: str | Callable[..., str] | None = None
    options: Mapping[str, Any] = {}


def _shared(names: tuple[str, ...], load: str, prepare: str | None = None) -> dict[str, Entry]:
    return {name: Entry(load, prepare, {"name": name}) for name in names}


DATA_SETS: dict[str, Entry] = {
    "arrays": Entry("arrays_file.load_arrays"),
    "digits": Entry("images.load_digits"),
    "mnist": Entry("images.load_mnist", "images.prepare_images"),
    "images": Entry("images.load_images", "images.prepare_images"),
    **_shared(
        ("timit", "blizzard", "librispeech", "ljspeech", "audio_folder"),
        "speech.dataset.load_speech",
        "speech.dataset.prepare_speech",
    ),
    **_shared(("imdb", "text_folder"), "text.dataset.load_text", "text.dataset.prepare_text"),
    **_shared(("jsb_chorales", "nottingham", "piano_midi", "muse_data"), "music.load_music"),
}
NAMES = tuple(sorted(DATA_SETS))


def load(name: str, *, data_dir: str | None = None, **options) -> DataSet:
    """Return the data set called ``name``.

    Args:
      name: one of ``NAMES``, or of what was added to ``DATA_SETS``.
      data_dir: the folder that holds the original files, or TFDS's data directory where the set was prepared.
      **options: the settings of that set's loader, e.g. ``protocol`` or ``sample_rate``.  All accept
        ``skip_bad_files``, which means something for sets that are folders of files.

    Raises:
      DataError: the name or an option is unknown, or the data are missing or bad; the sentence says what to do.
    """
    entry = _entry(name)
    loader = functools.partial(_function(entry.load), **entry.options)
    options = _accepted(loader, options)
    check_arguments(name, loader, options)
    return loader(data_dir=data_dir, **options)


def prepare(name: str, *, manual_dir: str | None, data_dir: str, **options) -> str | None:
    """Prepare a set once as array_record under ``data_dir`` and return where; None where it is read as it lies.

    Args:
      name: as for ``load``.
      manual_dir: the folder of the original files; None fetches those that may be fetched.
      data_dir: TFDS's data directory, later ``load``'s ``data_dir``.
      **options: those of ``load`` that change what is stored.

    Raises:
      DataError: as ``load``; also where the files must be had from their owner, or cannot be fetched.
    """
    entry = _entry(name)
    if entry.prepare is None:
        return None
    from zf_jax.data.prepared import downloads, folders

    prepare_set = _function(entry.prepare)
    options = _accepted(prepare_set, options)
    check_arguments(name, prepare_set, options)
    data_dir = folders.local(data_dir)
    folder = folders.need_folder(manual_dir, name) if manual_dir else downloads.fetch(name, data_dir)
    return prepare_set(folder, data_dir, name=name, **options)


def option_defaults(name: str) -> dict[str, Any]:
    """Return the options of the set called ``name`` that may be left out, each with what it is then."""
    return defaults_of(_function(_entry(name).load))


def _entry(name: str) -> Entry:
    if name not in DATA_SETS:
        choices = f"choose one of {', '.join(sorted(DATA_SETS))}"
        raise DataError("", f"there is no data set {name!r}", choices, Register(name))
    return DATA_SETS[name]


def _function(place: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return a function, importing its room if it is given by its place."""
    if callable(place):
        return place
    room, _, name = place.rpartition(".")
    return getattr(importlib.import_module(f"zf_jax.data.{room}"), name)


def _accepted(function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Leave out ``skip_bad_files``, which every config may have, for sets that are no folders of files."""
    parameters = inspect.signature(function).parameters
    return {k: v for k, v in options.items() if k != "skip_bad_files" or k in parameters}
