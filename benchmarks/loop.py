"""How much of the bare train step's rate the training loop keeps:  python -m benchmarks.loop [--json=FILE]

``loop`` is ``experiments.train``'s own loop in a temporary workdir, with its data pipeline, its metrics and its
checkpoints: the wall time between the first and the last update, less validation and checkpoints.  ``bare`` is the same
compiled function on one batch that lies on the device, nothing else.  The two take turns, once a round; figures are
medians over rounds, so that a busy machine is busy for both.  Any config will do (--config=..., --config.data.dir=...),
but the two are alike only where all sequences are one length, as with the digits, the default: the batch of ``bare`` is
padded to the longest.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import flags

from experiments.lib import cli, training_loop
from experiments.lib.config_flag import config_of, define_config
from experiments.lib.experiment import build, initial_state
from zf_jax.data import train_batches
from zf_jax.runs.metrics import read_metrics
from zf_jax.sharding import global_batch, global_batches

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
_CONFIG = define_config()
flags.set_default(_CONFIG, "digits")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 500, "Updates of each run, in each round.", lower_bound=100)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds.", lower_bound=1)
_UPDATES = flags.DEFINE_list("updates_per_call", ["1", "10"], "Values of config.train.updates_per_call.")
_CLOCK = flags.DEFINE_enum(
    "clock", "wall", list(CLOCKS), "cpu: processor time, for one core of a machine that others use too (taskset -c 0)."
)
_JSON = flags.DEFINE_string("json", None, "Where to write the figures; nowhere by default.")


def main() -> None:
    """Measure, print a table, write the figures."""
    config, sizes = config_of(_CONFIG), [int(size) for size in _UPDATES.value]
    figures = measure(config, sizes, _NUM_STEPS.value, _ROUNDS.value, CLOCKS[_CLOCK.value])
    result: dict[str, Any] = {"clock": _CLOCK.value} | figures
    print("| updates a call | loop, ms an update | bare, ms an update | loop's share of the bare rate | over rounds |")
    print("|---|---|---|---|---|")
    for row in result["rows"]:
        low, high = row["loop_share_range"]
        print(
            f"| {row['updates_per_call']} | {row['loop_ms']:.3f} | {row['bare_ms']:.3f} | {row['loop_share']:.1%} "
            f"| {low:.1%} to {high:.1%} |"
        )
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(result, indent=1) + "\n")


def measure(config: Any, sizes: list[int], num_steps: int, rounds: int, clock: Clock) -> dict[str, Any]:
    """Milliseconds an update of the loop and of the bare step, for each number of updates a call."""
    bare = {size: bare_step(config, size, clock) for size in sizes}
    seconds: dict[tuple[str, int], list[float]] = {(kind, size): [] for kind in ("loop", "bare") for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            seconds["loop", size].append(loop_seconds(config, size, num_steps, clock))
            seconds["bare", size].append(bare[size](num_steps))
    rows = []
    for size in sizes:
        one, other = seconds["loop", size], seconds["bare", size]
        # Within a round both stand under the same load: the ratio's median over rounds is steadier than of medians.
        shares = [b / a for a, b in zip(one, other, strict=True)]
        rows.append(
            {
                "updates_per_call": size,
                "loop_ms": 1e3 * statistics.median(one),
                "bare_ms": 1e3 * statistics.median(other),
                "loop_share": statistics.median(shares),
                "loop_share_range": [min(shares), max(shares)],
            }
        )
    return {
        "data": config.data.name,
        "device": jax.devices()[0].device_kind,
        "cores": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
        "num_steps": num_steps,
        "rounds": rounds,
        "rows": rows,
    }


def loop_seconds(config: Any, updates_per_call: int, num_steps: int, clock: Clock) -> float:
    """Seconds an update of the loop, after the first log line, before which it compiled."""
    config = copy.deepcopy(config)
    config.train.update(updates_per_call=updates_per_call, num_steps=num_steps)
    config.train.update(eval_every=num_steps, checkpoint_every=num_steps, eval_sequences=config.train.eval_batch_size)
    config.train.pictures = False  # they belong to validation, whose time does not count
    with tempfile.TemporaryDirectory() as workdir, contextlib.redirect_stdout(io.StringIO()):
        training_loop.train(config, workdir, clock=clock)
        lines = [line for line in read_metrics(workdir) if line["split"] == "train"]
    steps = [line["step"] for line in lines]
    counted = [
        (after - before) / line["steps_per_second"]
        for before, after, line in zip(steps, steps[1:], lines[1:], strict=False)
    ]
    return sum(counted) / (steps[-1] - steps[0])


def bare_step(config: Any, updates_per_call: int, clock: Clock) -> Callable[[int], float]:
    """What runs about so many updates on a batch that is there already: seconds an update."""
    experiment = build(config)
    train = experiment.data.split("train")
    batches = train_batches(train, batch_size=config.train.batch_size, seed=0, length=int(train.lengths.max()))
    if updates_per_call == 1:
        run, batch = experiment.train_step(), global_batch(next(batches), experiment.mesh)
    else:
        group = [next(batches) for _ in range(updates_per_call)]
        run, batch = experiment.train_steps(), global_batches(group, experiment.mesh)
    key = jax.random.key(0)
    state = [run(initial_state(experiment), batch, key)[0]]  # compiles

    def seconds(num_steps):
        calls = -(-num_steps // updates_per_call)
        jax.block_until_ready(state)
        begun = clock()
        for _ in range(calls):
            state[0] = run(state[0], batch, key)[0]
        jax.block_until_ready(state)
        return (clock() - begun) / (calls * updates_per_call)

    return seconds


if __name__ == "__main__":
    cli.run(main)
