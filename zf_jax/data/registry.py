"""The data sets by name; a room is imported when its data are asked for."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable

from zf_jax.data.dataset import DataError, DataSet
from zf_jax.data.options import check_arguments

_SPEECH = ("timit", "blizzard", "librispeech", "ljspeech", "audio_folder")
_MUSIC = ("jsb_chorales", "nottingham", "piano_midi", "muse_data")
_TEXT = ("imdb", "text_folder")

# For each name the room, its loader, and whether one loader serves several names.
_LOADERS: dict[str, tuple[str, str, bool]] = {
    "arrays": ("arrays_file", "load_arrays", False),
    "digits": ("images", "load_digits", False),
    "mnist": ("images", "load_mnist", False),
    "images": ("images", "load_images", False),
    **dict.fromkeys(_SPEECH, ("speech.dataset", "load_speech", True)),
    **dict.fromkeys(_TEXT, ("text.dataset", "load_text", True)),
    **dict.fromkeys(_MUSIC, ("music", "load_music", True)),
}
NAMES = tuple(sorted(_LOADERS))


def load(name: str, *, data_dir: str | None = None, **options) -> DataSet:
    """Return the data set called ``name``.

    Args:
      name: one of ``NAMES``.
      data_dir: the folder that holds the original files, or TFDS's data directory where the set was prepared.
      **options: the settings of that set's loader, e.g. ``protocol`` or ``sample_rate``.  All accept
        ``skip_bad_files``, which means something for sets that are folders of files.

    Raises:
      DataError: the name or an option is unknown, or the data are missing or bad; the sentence says what to do.
    """
    loader = _loader(name)
    if "skip_bad_files" not in inspect.signature(loader).parameters:
        options.pop("skip_bad_files", None)  # every config may have it; these sets are no folders of files
    check_arguments(name, loader, options)
    return loader(data_dir=data_dir, **options)


def prepare(name: str, *, manual_dir: str | None, data_dir: str, **options) -> str | None:
    """Prepare a set once as array_record under ``data_dir`` and return where; None where it is read as it lies.

    Args:
      name: one of ``NAMES``.
      manual_dir: the folder of the original files; None fetches those that may be fetched.
      data_dir: TFDS's data directory, later ``load``'s ``data_dir``.
      **options: those of ``load`` that change what is stored.

    Raises:
      DataError: as ``load``; also where the files must be had from their owner, or cannot be fetched.
    """
    if name not in _LOADERS:
        raise DataError("", f"there is no data set {name!r}", f"choose one of {', '.join(NAMES)}")
    room, function, _ = _LOADERS[name]
    if room in ("music", "arrays_file") or name == "digits":
        return None
    from zf_jax.data.prepared import downloads, folders

    module = importlib.import_module(f"zf_jax.data.{room}")
    if room == "images":
        options.pop("skip_bad_files", None)
        function = "load_images"
    prepare_set = getattr(module, function.replace("load_", "prepare_"))
    check_arguments(name, prepare_set, options)
    data_dir = folders.local(data_dir)
    folder = folders.need_folder(manual_dir, name) if manual_dir else downloads.fetch(name, data_dir)
    return prepare_set(folder, data_dir, name=name, **options)


def _loader(name: str) -> Callable[..., DataSet]:
    if name not in _LOADERS:
        raise DataError("", f"there is no data set {name!r}", f"choose one of {', '.join(NAMES)}")
    room, function, shared = _LOADERS[name]
    loader = getattr(importlib.import_module(f"zf_jax.data.{room}"), function)
    return functools.partial(loader, name=name) if shared else loader
