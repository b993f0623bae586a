"""One device, several devices, several processes: the same losses and the same evaluation."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def start(devices, *arguments):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
    }
    script = [sys.executable, str(ROOT / "tests" / "helpers" / "devices_script.py"), *map(str, arguments)]
    return subprocess.Popen(script, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All that one process of four devices finds."""
    return finish(start(4, tmp_path_factory.mktemp("divided")))


def test_losses_do_not_depend_on_the_number_of_devices(found):
    expected, losses = (np.array(found[devices]["losses"]) for devices in ("1", "4"))
    assert len(expected) == 8 and np.all(expected > 0)
    called = losses > 0  # of several updates in one call the last loss is known
    assert called.tolist() == [True] * 5 + [False, False, True]
    np.testing.assert_allclose(losses[called], expected[called], rtol=1e-5)


def test_bounds_do_not_depend_on_the_number_of_devices(found):
    assert len(found["1"]["bounds"]) == 250
    np.testing.assert_allclose(found["4"]["bounds"], found["1"]["bounds"], rtol=1e-4)


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_an_update_under_a_mapped_axis_is_that_of_the_global_view(found, how):
    mapped = found["mapped"]
    assert len(mapped["expected"]) == 3
    np.testing.assert_allclose(mapped[how], mapped["expected"], rtol=1e-5)


def test_a_state_divided_among_devices_gives_the_same_and_is_restored_whole(found):
    divided = found["divided"]
    np.testing.assert_allclose(divided["losses"][:4], found["1"]["losses"][:4], rtol=1e-6)
    np.testing.assert_allclose(divided["losses"], found["1"]["losses"], rtol=1e-4)  # Adam enlarges what rounding leaves
    assert divided["stays"], "an update gives the state back as it lay"
    assert divided["bytes"] < 0.5 * divided["whole"]
    assert divided["restored"] == [True, True, True]


def processes_find_what_one_device_finds(found, number, devices):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [start(devices, address, number, index) for index in range(number)]
    for process in processes:
        theirs = finish(process)
        np.testing.assert_allclose(theirs["losses"], found["1"]["losses"], rtol=1e-5)
        np.testing.assert_allclose(theirs["bounds"], found["1"]["bounds"], rtol=1e-4)


def test_two_processes_of_two_devices_train_and_evaluate_as_one_device_does(found):
    processes_find_what_one_device_finds(found, 2, 2)


@pytest.mark.slow
def test_the_table_of_devices_and_processes_is_even():
    """Among them three processes, and runs that are handed on, one of them divided among two processes."""
    from benchmarks import devices

    rows = devices.main(["--quick"]) + [devices.differences(devices.run(3, 1), devices.run(1, 1))]
    assert len(rows) == 7
    for row in rows:
        assert row["losses"] < 1e-5 and row["evaluation"] < 1e-5
