"""Locks on files, between processes, where the operating system has them."""

from __future__ import annotations

from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def lock(file: IO, *, wait: bool) -> None:
    """Lock an open file until it is closed; do nothing on an operating or a file system without locks.

    Args:
      wait: wait for the process that holds the lock.

    Raises:
      BlockingIOError: another process holds the lock, and ``wait`` is False.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if isinstance(error, BlockingIOError):
            raise
