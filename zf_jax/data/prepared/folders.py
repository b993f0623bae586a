"""The user's folders: whether there is something in them, what files they hold, and where their cache lies."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import NamedTuple

from zf_jax.data.dataset import DataError, Folder, Prepare

# Part of the cache's address: files that were cached by older rules of reading are prepared afresh.
_READING = 2
_SYSTEM = ("lost+found", "System Volume Information", "$RECYCLE.BIN", "__MACOSX")


class Listing(NamedTuple):
    """What a folder holds.

    Attributes:
      files: every file, sorted.
      hidden: the number of files and folders that were left out by their names: hidden ones and the system's own.
      problems: what could not be read, a ``DataError`` each.
    """

    files: list[str]
    hidden: int
    problems: list[DataError]


def need_folder(data_dir: str | None, name: str) -> str:
    """Return ``data_dir`` where it is a folder (or file) with something in it; ``DataError`` says what to give."""
    if not data_dir:
        raise DataError("", f"{name} needs a folder", Folder(name, "(its original files, or prepared)"), Prepare(name))
    folder = local(data_dir)
    if not os.path.exists(folder):
        raise DataError(folder, "does not exist", Folder(name))
    if os.path.isdir(folder):
        try:
            empty = not os.listdir(folder)
        except OSError as error:
            raise unreadable(folder, error) from None
        if empty:
            raise DataError(folder, "is empty", f"put the files of {name} there", Folder(name))
    return folder


def local(path: str) -> str:
    """Return the absolute path of a folder, ``~`` expanded; ``DataError`` for an address such as ``gs://...``."""
    if "://" in path:
        raise DataError(path, "is no folder of a file system", "mount the store as one")
    return os.path.abspath(os.path.expanduser(path))


def walk(root: str) -> Listing:
    """List every file under a folder (or the file itself), in sorted order, hidden ones left out, links followed once.

    Raises:
      DataError: a link leads to nothing: what it stood for may well be half of the set, so it is no file to skip.
    """
    if os.path.isfile(root):
        return Listing([root], 0, [])
    found, hidden, problems, seen = [], 0, [], set()

    def failed(error: OSError) -> None:
        problems.append(unreadable(error.filename or root, error))

    for folder, folders, files in os.walk(root, followlinks=True, onerror=failed):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            folders[:] = []
            continue
        seen.add(real)
        named = [f for f in folders if not f.startswith(".") and f not in _SYSTEM]
        hidden += len(folders) - len(named) + sum(f.startswith(".") for f in files)
        folders[:] = sorted(named)
        found += [os.path.join(folder, f) for f in files if not f.startswith(".")]
    found.sort()
    for path in found:
        if os.path.islink(path) and not os.path.exists(path):
            raise DataError(path, "is a link to nothing", "mend it or remove it")
    return Listing(found, hidden, problems)


def folders_in(root: str) -> dict[str, str]:
    """Return the paths of the folders in a folder by their names, sorted; ``DataError`` where it cannot be read."""
    try:
        names = sorted(os.listdir(root)) if os.path.isdir(root) else []
    except OSError as error:
        raise unreadable(root, error) from None
    paths = {name: os.path.join(root, name) for name in names if name not in _SYSTEM and not name.startswith(".")}
    return {name: path for name, path in paths.items() if os.path.isdir(path)}


def check_regular(path: str) -> None:
    """Raise ``DataError`` where a path cannot be looked at, or is a pipe, a socket or a device."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(mode):
        raise DataError(path, "is not a regular file", "remove it")


def read_bytes(path: str) -> bytes:
    """Return the bytes of a regular file; ``DataError`` where it cannot be read."""
    check_regular(path)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: str | bytes, error: OSError) -> DataError:
    """Return the error of a path that the operating system does not let us read, with the system's own reason."""
    what = f"cannot be read ({error.strerror or error})"
    return DataError(os.fsdecode(path), what, "see to its permissions and its disk, or remove it")


def cache_dir(given: str | None, raw: str) -> str:
    """Return where preparations of the raw folder ``raw`` are cached: one place for each state of its files.

    The state is every file's path, size and time of change, so that a changed folder is prepared afresh.  ``given``
    overrides ``$ZF_JAX_CACHE``, which overrides ``~/.cache/zf_jax``.
    """
    home = given or os.environ.get("ZF_JAX_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "zf_jax")
    digest = hashlib.sha256(f"{_READING}\0{os.path.abspath(raw)}".encode("utf-8", "surrogateescape"))
    listing = walk(raw)
    for path in listing.files:
        state = os.stat(path)
        digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    for problem in listing.problems:
        digest.update(problem.path.encode("utf-8", "surrogateescape"))
    return os.path.join(local(home), digest.hexdigest()[:16])
