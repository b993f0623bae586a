"""Benchmarks that need no peer: what they count is what the programs hold, and they write what they promise."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import ceilings, gpu, memory
from benchmarks.configurations import CONFIGURATIONS, operations


def test_operations_of_an_update_are_those_of_each_size_by_hand():
    gigaflop = [operations(CONFIGURATIONS[name])["update"] / 1e9 for name in "ABCD"]
    np.testing.assert_allclose(gigaflop, [151, 68, 72, 2.8], rtol=0.06)


def test_kernels_are_counted_with_the_lengths_of_their_loops():
    def count(length):
        def program(x):
            return jax.lax.scan(lambda c, _: (jnp.sin(c @ c), None), x, None, length=length)[0]

        return ceilings.launches(jax.jit(program).lower(jnp.ones((64, 64))).compile())

    each, rest = divmod(count(7) - count(3), 4)
    assert rest == 0
    assert 2 <= each <= 6


def test_the_gpu_command_writes_floors_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    items = [gpu.Item("ceilings", "", 0, "float32"), gpu.Item("ours", "timit", 4, "float32")]
    monkeypatch.setattr(gpu, "plan", lambda quick: [items])
    path = tmp_path / "report.json"
    gpu.main(["--quick", f"--json={path}"])
    report = json.loads(path.read_text())
    ceilings, ours = report["measurements"]
    assert {"flop_per_second", "bytes_per_second", "launch_seconds"} <= set(ceilings)
    assert {"ms", "tflop_per_second", "compile_seconds", "temporary_bytes", "launches"} <= set(ours)
    assert ours["binding"] in ours["floors_ms"]
    assert ours["skipped_updates"] == 0
    assert "| timit | 4 | float32 |" in capsys.readouterr().out
    assert gpu.main(["--quick", f"--json={path}", "--budget_s=0"]) == report
    with pytest.raises(SystemExit):
        gpu.main([f"--json={path}"])


def test_a_flag_that_xla_refuses_is_a_recorded_failure(monkeypatch):
    monkeypatch.setitem(gpu.COMMAND_BUFFERS, "off", "--xla_no_such_flag=1")
    items = [gpu.Item("ours", size, 4, "tf32", "off") for size in gpu.SIZES]
    found = list(gpu.run_group(items, True, float("inf"), 120.0))
    assert [one["size"] for one in found] == list(gpu.SIZES)
    assert all("xla_no_such_flag" in one["failed"] for one in found)


@pytest.mark.slow
def test_the_loop_is_measured_beside_the_bare_step(tmp_path):
    sizes = {"rnn_dim": 8, "latent_dim": 2, "mlp_dim": 8, "embed_dim": 4}
    flags = [f"--config.model.{name}={value}" for name, value in sizes.items()]
    flags += ["--config.train.batch_size=4", "--num_steps=100", "--rounds=1", "--updates_per_call=5"]
    path = tmp_path / "loop.json"
    command = [sys.executable, "-m", "benchmarks.loop", *flags, f"--json={path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(path.read_text())["rows"]
    assert row["updates_per_call"] == 5
    assert 0 < row["bare_ms"] < row["loop_ms"] * 3


@pytest.mark.slow
def test_memory_of_a_bound_grows_with_what_is_held_at_once(tmp_path):
    path = tmp_path / "memory.json"
    memory.main(["--quick", f"--json={path}"])
    found = json.loads(path.read_text())
    iwae = [row["temporary_bytes"] for row in found["bounds"] if row["bound"] == "IWAE-25"]
    assert 0 < iwae[0] < iwae[1] < iwae[2]
    assert [(row["num_steps"], row["block"]) for row in found["gradients"]] == [(6, 0), (6, 3), (12, 0), (12, 3)]
    assert found["gradients"][2]["temporary_bytes"] > found["gradients"][0]["temporary_bytes"] > 0
    short, long, *_ = found["evaluations"]
    assert 0 < short["temporary_bytes"] < long["temporary_bytes"]
    assert long["batch_bytes"] == 4 * (2 * memory.LONGEST * (4 + 4 + 1 + 1) + 1)
