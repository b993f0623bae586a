"""Check and list the user's folders and files, and choose the cache folder of each."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from zf_jax.data.dataset import DataError, Directory, Folder, Prepare
from zf_jax.locks import lock

# Part of the cache's path: raise by 1 if files are read differently, so that cached sets are prepared again.
_READING = 2
_SYSTEM = ("lost+found", "System Volume Information", "$RECYCLE.BIN", "__MACOSX")


class Listing(NamedTuple):
    """The files of a folder.

    Attributes:
      files: the paths of all files, sorted.
      hidden: the number of hidden files, and of hidden folders, system folders and folders of runs, which are left out.
      problems: one ``DataError`` for each folder that cannot be read.
    """

    files: list[str]
    hidden: int
    problems: list[DataError]


def need_folder(data_dir: str | None, name: str) -> str:
    """Return the absolute path of ``data_dir``; ``DataError`` if None, missing or an empty folder."""
    if not data_dir and name == "arrays":
        raise DataError("", "arrays needs a file or folder", Folder(name, kind="file or folder"))
    if not data_dir:
        raise DataError("", f"{name} needs a folder", Folder(name, "(original files, or prepared)"), Prepare(name))
    folder = local(data_dir)
    if not os.path.exists(folder):
        raise DataError(folder, "does not exist", Folder(name, kind="file or folder" if name == "arrays" else "folder"))
    if os.path.isdir(folder):
        try:
            empty = not os.listdir(folder)
        except OSError as error:
            raise unreadable(folder, error) from None
        if empty:
            raise DataError(folder, "is empty", f"copy the files of {name} there", Folder(name))
    return folder


def local(path: str) -> str:
    """Return the absolute path of a folder, ``~`` expanded; ``DataError`` for an address such as ``gs://...``."""
    if "://" in path:
        raise DataError(path, "is no folder of a file system", "mount the store as one")
    return os.path.abspath(os.path.expanduser(path))


def walk(root: str) -> Listing:
    """List every file under a folder, sorted, without hidden files or runs; links are followed, each folder once.

    A path to a file lists that file.

    Raises:
      DataError: a link has no target.  The target may have been a large part of the set, so no link is skipped.
    """
    if os.path.isfile(root):
        return Listing([root], 0, [])
    found, hidden, problems, seen = [], 0, [], set()

    def failed(error: OSError) -> None:
        problems.append(unreadable(error.filename or root, error))

    for folder, folders, files in os.walk(root, followlinks=True, onerror=failed):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder visited already
            folders[:] = []
            continue
        seen.add(real)
        named = [f for f in folders if not (f.startswith(".") or f in _SYSTEM or _is_run(os.path.join(folder, f)))]
        hidden += len(folders) - len(named) + sum(f.startswith(".") for f in files)
        folders[:] = sorted(named)
        found += [os.path.join(folder, f) for f in files if not f.startswith(".")]
    found.sort()
    for path in found:
        if os.path.islink(path) and not os.path.exists(path):
            raise DataError(path, "is a link to nothing", "repair or remove the link")
    return Listing(found, hidden, problems)


@contextlib.contextmanager
def locked(folder: str, name: str) -> Iterator[None]:
    """Hold the lock called ``name`` of a folder, which is made if missing; other processes wait for it.

    Raises:
      DataError: the folder cannot be written.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        handle = open(os.path.join(folder, f".{name}.lock"), "w")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise DataError(folder, f"cannot be written ({error.strerror})", Directory()) from None
    with handle:
        lock(handle, wait=True)
        yield


def _is_run(folder: str) -> bool:
    """Whether a folder was made by training: its samples and forecasts are no data of the folder above it."""
    return os.path.isfile(os.path.join(folder, "config.json")) and os.path.isdir(os.path.join(folder, "checkpoints"))


def folders_in(root: str) -> dict[str, str]:
    """Return the paths of a folder's subfolders by name, sorted; ``DataError`` if the folder cannot be read."""
    try:
        names = sorted(os.listdir(root)) if os.path.isdir(root) else []
    except OSError as error:
        raise unreadable(root, error) from None
    paths = {name: os.path.join(root, name) for name in names if name not in _SYSTEM and not name.startswith(".")}
    return {name: path for name, path in paths.items() if os.path.isdir(path)}


def check_regular(path: str) -> None:
    """Raise ``DataError`` if a path cannot be read, or is not a regular file (a pipe, a socket, a device)."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(mode):
        raise DataError(path, "is not a regular file", "remove the file")


def read_bytes(path: str) -> bytes:
    """Return the bytes of a regular file; ``DataError`` if the file cannot be read."""
    check_regular(path)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: str | bytes, error: OSError) -> DataError:
    """Return the ``DataError`` of an unreadable path, with the operating system's reason."""
    what = f"cannot be read ({error.strerror or error})"
    return DataError(os.fsdecode(path), what, "check the permissions and the disk, or remove the file")


def cache_dir(given: str | None, raw: str) -> str:
    """Return the cache folder for preparations of the folder ``raw``.

    The name is a digest of every file's path, size and modification time, so a changed folder is prepared again.
    ``given`` overrides ``$ZF_JAX_CACHE``, which overrides ``~/.cache/zf_jax``.
    """
    home = given or os.environ.get("ZF_JAX_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "zf_jax")
    listing = walk(raw)
    listed = [f"{_READING}\0{os.path.abspath(raw)}", *(f"{path}\0{_state(path)}\n" for path in listing.files)]
    return os.path.join(local(home), _digest(listed + [problem.path for problem in listing.problems])[:16])


def digest_of(raw: str, without: str) -> str:
    """Return a digest of every file's path within a folder, size and modification time, but of files below ``without``.

    The folder itself may be moved; a copy whose files have other times is another folder.
    """
    own = os.path.join(os.path.abspath(without), "")
    files = [path for path in walk(os.path.abspath(raw)).files if not path.startswith(own)]
    return _digest(f"{os.path.relpath(path, os.path.abspath(raw))}\0{_state(path)}\n" for path in files)


def _state(path: str) -> str:
    state = os.stat(path)
    return f"{state.st_size}\0{state.st_mtime_ns}"


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogateescape"))  # a file's name is any bytes
    return digest.hexdigest()
