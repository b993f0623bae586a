"""A program starts over once with huge pages, with the same arguments, unless the user chose otherwise."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from experiments.huge_pages import use_huge_pages
print("started", flush=True)
use_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"), sys.argv[1:])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(
    ("environment", "starts", "setting"),
    [({}, 2, "glibc.malloc.hugetlb=1"), ({"GLIBC_TUNABLES": ""}, 1, ""), ({"GLIBC_TUNABLES": "x=1"}, 1, "x=1")],
)
def test_a_program_starts_over_once_with_its_arguments(environment, starts, setting):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "a", "b c"],
        env=environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["started"] * starts + [f"{setting} ['a', 'b c']"]
