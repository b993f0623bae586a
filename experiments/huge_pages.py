"""Large arrays in pages of 2 MiB instead of 4 KiB: on a CPU worth more than most kernels.

An update asks for hundreds of megabytes and gives them back to Linux, which hands them out again zeroed, with a fault
for every page, at every update.  BUILD_NOTES.md has what that costs.
"""

from __future__ import annotations

import os
import platform
import sys

VARIABLE, SETTING = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"


def use_huge_pages() -> None:
    """Start the program over with this setting, which the C library reads only then, before anything else is done.

    Nothing happens where ``GLIBC_TUNABLES`` is set already, be it to nothing, or the C library is not glibc on Linux.
    """
    if VARIABLE in os.environ or sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    os.environ[VARIABLE] = SETTING
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
