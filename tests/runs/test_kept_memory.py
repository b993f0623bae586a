"""Large blocks come from memory that is there already, the second time, unless the user chose otherwise."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource
import numpy as np
from zf_jax.memory import keep_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_memory()
for _ in range(2):
    before = faults()
    np.ones(2**23)  # 64 MiB: 16,384 pages of 4 KiB, 32 of 2 MiB
print(faults() - before)
"""


def faults_of(environment):
    return int(
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_the_second_block_needs_no_new_pages():
    assert faults_of({}) < 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize("variable", ["GLIBC_TUNABLES", "MALLOC_ARENA_MAX"])
def test_a_choice_of_the_users_stays(variable):
    assert faults_of({variable: "" if variable == "GLIBC_TUNABLES" else "4"}) > 20
