"""Read the size of the machine's memory, and stop glibc from returning freed memory between updates.

An update allocates and frees hundreds of megabytes.  By default glibc returns large blocks to the system, and at the
next update the system hands out zeroed pages again.  docs/performance.md states the cost.
"""

from __future__ import annotations

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h


def physical_memory() -> float:
    """Return the size of the machine's memory in bytes; infinity if the operating system does not state the size."""
    if not hasattr(os, "sysconf"):  # Windows
        return float("inf")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def keep_memory() -> None:
    """Keep freed memory in this process's heap; call this function before other threads are started.

    The function does nothing if the C library is not glibc, or if ``GLIBC_TUNABLES`` or a ``MALLOC_`` variable is set.
    """
    chosen = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if chosen or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_ARENA_MAX, 1)  # one heap for all threads: heaps of further threads cannot hold a large block
    libc.mallopt(M_MMAP_MAX, 0)  # no block is a mapping of its own, which is unmapped when freed
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # the heap's free end stays
