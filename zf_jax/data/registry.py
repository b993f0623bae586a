"""The data sets by name; a room is imported when its data are asked for."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable

from zf_jax.data.dataset import DataError, DataSet

_SPEECH = ("timit", "blizzard", "librispeech", "ljspeech", "audio_folder")
_MUSIC = ("jsb_chorales", "nottingham", "piano_midi", "muse_data")
_TEXT = ("imdb", "text_folder")

# For each name the room, its loader, and whether one loader serves several names.
_LOADERS: dict[str, tuple[str, str, bool]] = {
    "digits": ("images", "load_digits", False),
    "mnist": ("images", "load_mnist", False),
    "images": ("images", "load_images", False),
    **{name: ("speech", "load_speech", True) for name in _SPEECH},
    **{name: ("corpus", "load_text", True) for name in _TEXT},
    **{name: ("music", "load_music", True) for name in _MUSIC},
}
NAMES = tuple(sorted(_LOADERS))


def load(name: str, *, data_dir: str | None = None, **options) -> DataSet:
    """Return the data set called ``name``.

    Args:
      name: one of ``NAMES``.
      data_dir: the folder that holds the original files, or TFDS's data directory where the set was prepared.
      **options: the settings of that set's loader, e.g. ``protocol`` or ``sample_rate``; all take ``skip_bad_files``.

    Raises:
      DataError: the name or an option is unknown, or the data are missing or bad; the sentence says what to do.
    """
    return _call(_loader(name), name, data_dir=data_dir, **options)


def _loader(name: str) -> Callable[..., DataSet]:
    if name not in _LOADERS:
        raise DataError(f"there is no data set {name!r}: choose one of {', '.join(NAMES)}")
    room, function, shared = _LOADERS[name]
    loader = getattr(importlib.import_module(f"zf_jax.data.{room}"), function)
    return functools.partial(loader, name=name) if shared else loader


def _call(loader: Callable[..., DataSet], name: str, **options) -> DataSet:
    parameters = inspect.signature(loader).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = sorted(set(options) - set(parameters))
    if unknown and not takes_all:
        known = sorted(set(parameters) - {"data_dir", "name"})
        raise DataError(f"{name} has no option {unknown[0]!r}: it takes {', '.join(known)}")
    return loader(**options)
