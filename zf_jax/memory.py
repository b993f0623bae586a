"""How much memory the machine has, and how glibc is stopped from returning it: up to a fifth faster on a CPU.

An update asks for hundreds of megabytes and gives them back.  The C library hands large blocks to the system at once,
which gives them out again zeroed and page by page, at every update; docs/performance.md has what that costs.
"""

from __future__ import annotations

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h


def physical_memory() -> float:
    """Return the bytes of the machine's memory; infinity where the operating system does not say."""
    if not hasattr(os, "sysconf"):  # Windows
        return float("inf")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def keep_memory() -> None:
    """Let this program's heap grow to what it needs at its highest, and stay; before other threads are started.

    Nothing happens where the C library is not glibc, or where ``GLIBC_TUNABLES`` or a ``MALLOC_`` variable is set.
    """
    chosen = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if chosen or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_ARENA_MAX, 1)  # one heap for all threads: another's cannot hold a large block
    libc.mallopt(M_MMAP_MAX, 0)  # no block is a mapping of its own, which would end with it
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # the heap's free end stays
