"""Where results are written: what cannot be is refused before the work, and no file is left half written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from experiments.lib.cli import UserError


def check_file(path: Path, called: str, remedy: str = "") -> None:
    """Refuse a file that cannot be written.

    Args:
      called: what the user calls it, as ``--out=a.npz``.
      remedy: how another is chosen, where that is not plain.

    Raises:
      UserError: the folder is missing or cannot be written, or the path is no file.
    """
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"{called} cannot be written: {path.parent} is no folder that can be written{remedy}")
    if path.exists() and not path.is_file():
        raise UserError(f"{called} cannot be written: it is no file{remedy}")


def make_folder(path: Path, called: str, remedy: str = "") -> None:
    """Make a folder if it is missing; arguments as for ``check_file``.

    Raises:
      UserError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{called} cannot be made: {error.strerror}{remedy}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"{called} cannot be written{remedy}")


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a path to write to, of the same suffix, which takes the place of ``path`` at the end if all went well."""
    unfinished = path.with_name(f"{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
