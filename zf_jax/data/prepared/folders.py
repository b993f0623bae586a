"""The user's folders: whether there is something in them, what files they hold, and where their cache lies."""

from __future__ import annotations

import hashlib
import os

from zf_jax.data.dataset import DataError


def need_folder(data_dir: str | None, name: str) -> str:
    """Return ``data_dir`` where it is a folder (or file) with something in it; ``DataError`` says what to give."""
    if not data_dir:
        raise DataError(
            f"{name} needs a folder: pass --config.data.dir=DIR, its original files or the data directory that "
            f"python -m experiments.prepare_data --name={name} wrote"
        )
    folder = os.path.abspath(os.path.expanduser(data_dir))
    if not os.path.exists(folder):
        raise DataError(f"{folder} does not exist: pass the folder of {name} with --config.data.dir=DIR")
    if os.path.isdir(folder) and not os.listdir(folder):
        raise DataError(f"{folder} is empty: put the files of {name} there, or pass another --config.data.dir=DIR")
    return folder


def walk(root: str) -> list[str]:
    """Return every file under a folder (or the file itself), sorted, hidden ones left out, links followed once.

    Raises:
      DataError: a link leads to nothing.
    """
    if os.path.isfile(root):
        return [root]
    found, seen = [], set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = [f for f in folders if not f.startswith(".")]
        found += [os.path.join(folder, f) for f in files if not f.startswith(".")]
    found.sort()
    for path in found:
        # Not a bad file to skip: what the link stood for may well be a whole folder, or half of the set.
        if os.path.islink(path) and not os.path.exists(path):
            raise DataError(f"{path} is a link to nothing: mend it or remove it")
    return found


def cache_dir(given: str | None, raw: str) -> str:
    """Return where preparations of the raw folder ``raw`` are cached: one place for each state of its files.

    The state is every file's path, size and time of change, so that a changed folder is prepared afresh.  ``given``
    overrides ``$ZF_JAX_CACHE``, which overrides ``~/.cache/zf_jax``.
    """
    home = given or os.environ.get("ZF_JAX_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "zf_jax")
    digest = hashlib.sha256(os.path.abspath(raw).encode())
    for path in walk(raw):
        state = os.stat(path)
        digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return os.path.join(os.path.abspath(os.path.expanduser(home)), digest.hexdigest()[:16])
