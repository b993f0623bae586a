"""One device, several devices, several processes: the same losses and the same evaluation."""

import functools
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
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out.strip().splitlines()[-1])


@functools.cache
def on_devices(devices):
    return finish(start(devices))


def assert_same(found, expected):
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-5)
    np.testing.assert_allclose(found["bounds"], expected["bounds"], rtol=1e-4)
    np.testing.assert_allclose(found["weight"], expected["weight"], rtol=1e-5)
    assert len(found["bounds"]) == 250


@pytest.mark.parametrize("devices", [2, 4])
def test_losses_and_bounds_do_not_depend_on_the_number_of_devices(devices):
    assert on_devices(devices)["devices"] == devices
    assert_same(on_devices(devices), on_devices(1))


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_an_update_under_a_mapped_axis_is_that_of_the_global_view(how):
    mapped = on_devices(4)["mapped"]
    np.testing.assert_allclose(mapped[how], mapped["expected"], rtol=1e-5)


def test_two_processes_of_two_devices_train_and_evaluate_as_one_device_does():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [start(2, address, 2, index) for index in range(2)]
    for process in processes:
        found = finish(process)
        assert found["devices"] == 4
        assert_same(found, on_devices(1))
