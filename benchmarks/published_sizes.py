"""The image systems at the published sizes, started:  python -m benchmarks.published_sizes [--json=FILE]

For each config: its parameters, the memory of the compiled update, which is XLA's own figure, and the time and the loss
of two updates on random images of the config's batch.  Each system has a process of its own.  What takes longer than
``--limit`` is reported as far as it came: compiled, but not updated.  No files are needed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.ceilings import temporary_bytes
from experiments.lib.experiment import build_config_model, build_kl_temperature, build_objective
from zf_jax.batch import batch_of
from zf_jax.data import DataSet
from zf_jax.memory import keep_memory, physical_memory
from zf_jax.training import Schedules, init_state, make_optimizer, update
from zf_jax.typing import Observation

CONFIGS = ("nade", "eonade", "pixel_cnn", "pixel_vae", "draw", "pixel_rnn:one_layer", "pixel_rnn")
UPDATES = 2
SIDES = {"mnist": (28, 28), "digits": (8, 8)}


def measure(name: str, found: Any = lambda row: None) -> dict[str, Any]:
    """Compile the update of the config ``FILE[:VARIANT]`` and do two; ``found`` is called with what is known so far."""
    file, _, variant = name.partition(":")
    config = importlib.import_module(f"experiments.configs.{file}").get_config(variant)
    shape, size = SIDES[config.data.name], config.train.batch_size
    data = DataSet(config.data.name, Observation("tokens", 2), "bernoulli", splits={}, image_shape=shape)
    model, objective = build_config_model(config, data), build_objective(config, data)
    optimizer = make_optimizer(config.train.learning_rate, config.train.clip_norm)
    schedules = Schedules(kl_temperature=build_kl_temperature(config))
    key, rng = jax.random.key(0), np.random.default_rng(0)
    images = rng.integers(0, 2, (size, shape[0] * shape[1]))
    batch = jax.tree.map(np.asarray, batch_of(images, observation=data.observation))

    def step(state, batch):
        return update(model, optimizer, state, batch, key, schedules(state.step), objective)

    state = jax.eval_shape(lambda: init_state(model, optimizer, key))
    start = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    row: dict[str, Any] = {
        "config": name,
        "batch_size": size,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "state_bytes": sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)),
        "temporary_bytes": temporary_bytes(compiled),
        "compile_seconds": time.perf_counter() - start,
    }
    found(row)
    if row["state_bytes"] + row["temporary_bytes"] > 0.8 * physical_memory():
        return row | {"stopped": "memory"}
    held = init_state(model, optimizer, key)
    losses, wall, processor = [], time.perf_counter(), time.process_time()
    for _ in range(UPDATES):
        held, metrics = compiled(held, batch)
        losses.append(float(metrics["loss"]))
    row |= {
        "seconds": (time.perf_counter() - wall) / UPDATES,
        "processor_seconds": (time.process_time() - processor) / UPDATES,
        "losses": losses,
    }
    found(row)
    return row


def in_a_process(name: str, limit: float) -> dict[str, Any]:
    """The figures of ``measure`` in a process of its own, or those that it had after ``limit`` seconds."""
    command = [sys.executable, "-m", "benchmarks.published_sizes", f"--one={name}"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=limit)
        lines, stopped = done.stdout, {} if done.returncode == 0 else {"stopped": f"status {done.returncode}"}
    except subprocess.TimeoutExpired as error:
        lines, stopped = (error.stdout or b"").decode(), {"stopped": f"limit of {limit:.0f} s"}
    rows = lines.splitlines()
    return (json.loads(rows[-1]) if rows else {"config": name}) | stopped


def as_line(row: dict[str, Any]) -> str:
    """The row of a Markdown table."""
    if "parameters" not in row:
        return f"| `{row['config']}` | | | | | | not compiled: {row['stopped']} |"
    mib = f"{row['state_bytes'] / 2**20:,.1f} | {row['temporary_bytes'] / 2**20:,.0f}"
    update = f"compiled only: {row.get('stopped')}"
    if "seconds" in row:
        update = f"{row['seconds']:.1f} ({row['processor_seconds']:.1f})"
    numbers = f"{row['parameters']:,} | {row['batch_size']} | {mib} | {row['compile_seconds']:.0f}"
    return f"| `{row['config']}` | {numbers} | {update} |"


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--configs", default=",".join(CONFIGS), help="which, separated by commas")
    parser.add_argument("--limit", type=float, default=600, help="seconds for each")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # in the process of one config: prints what is known, as JSON
    options = parser.parse_args(arguments)
    if options.one:
        return [measure(options.one, lambda row: print(json.dumps(row), flush=True))]
    rows = []
    print("| config | parameters | batch | state, MiB | update, MiB | compile, s | update, s (of processor) |")
    print("|---|---|---|---|---|---|---|")
    for name in options.configs.split(","):
        rows.append(in_a_process(name, options.limit))
        print(as_line(rows[-1]), flush=True)
        if options.json:
            machine = {"jax": jax.__version__, "python": platform.python_version(), "cores": os.cpu_count()}
            report = {"machine": machine | {"load_average": os.getloadavg()}, "updates": UPDATES, "systems": rows}
            Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return rows


if __name__ == "__main__":
    keep_memory()
    main()
