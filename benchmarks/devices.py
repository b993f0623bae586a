"""The same training on 1 to 24 devices of 1 to 3 processes:  python -m benchmarks.devices [--json=FILE] [--quick]

Every setting is a run of processes of its own, with CPU devices.  Twenty updates of a tiny Z-Forcing on the digits and
an evaluation of the test split must give what one device gives.  Then a run is handed on: saved on some devices,
restored and gone on with on others, which must give what the run that nobody interrupted gives.  In the last chain the
state is divided among the devices of two processes, as by ``config.parallel.shard_params``.

Prints two tables of the largest relative differences.  Ends with status 1 if one is above 1e-5.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

UPDATES, BATCH = 20, 48  # rows that 1 to 24 devices can share
DEVICES, PROCESSES = (1, 2, 4, 8), (1, 2, 3)
CHAINS = (  # (processes, devices of each, whether the state is divided among them), one after another
    ((1, 4, False), (1, 2, False), (1, 1, False)),
    ((1, 1, False), (2, 1, False), (1, 1, False)),
    ((2, 2, True), (2, 1, True), (1, 1, False)),
)
LARGE = 256  # numbers of an array that is divided: the kernels here are small
MOST = 1e-5


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="the smallest settings: a rehearsal")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(train(**json.loads(options.child))))
        return []
    devices, processes = ((1, 2), (1, 2)) if options.quick else (DEVICES, PROCESSES)
    chains = CHAINS[1:] if options.quick else CHAINS
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        expected = run(1, 1)
        print("| processes | devices of each | losses | evaluation |\n|---|---|---|---|", flush=True)
        for number, each in itertools.product(processes, devices):
            rows.append({"processes": number, "devices_of_each": each} | differences(run(number, each), expected))
            print("| " + " | ".join(map(shown, rows[-1].values())) + " |", flush=True)
        print("\n| handed on, processes x devices | losses | evaluation |\n|---|---|---|", flush=True)
        for index, chain in enumerate(chains):
            name = " to ".join(f"{number} x {each}{' divided' * divided}" for number, each, divided in chain)
            rows.append({"chain": name} | differences(handed_on(chain, f"{folder}/{index}"), expected))
            print("| " + " | ".join(map(shown, rows[-1].values())) + " |", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps({"updates": UPDATES, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    if any(row[name] > MOST for row in rows for name in ("losses", "evaluation")):
        raise SystemExit(1)
    return rows


def shown(value: Any) -> str:
    return f"{value:.1e}" if isinstance(value, float) else str(value)


def differences(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, float]:
    """Return the largest relative differences of the losses and of the evaluation's sum."""

    def largest(a: Iterable[float], b: Iterable[float]) -> float:
        return max(abs(x - y) / abs(y) for x, y in zip(a, b, strict=True))

    return {
        "losses": largest(found["losses"], expected["losses"]),
        "evaluation": largest(found["evaluation"], expected["evaluation"]),
    }


def handed_on(chain: Sequence[tuple[int, int, bool]], workdir: str) -> dict[str, Any]:
    """Train in one setting after another, each from the checkpoint of the one before."""
    ends = [UPDATES * (i + 1) // len(chain) for i in range(len(chain))]
    losses: list[float] = []
    found: dict[str, Any] = {}
    for (number, each, divided), end in zip(chain, ends, strict=True):
        found = run(number, each, workdir=workdir, end=end, evaluates=end == UPDATES or divided, divided=divided)
        losses += found["losses"]
    return {"losses": losses, "evaluation": found["evaluation"]}


def run(number: int, each: int, **settings: Any) -> dict[str, Any]:
    """Train in ``number`` processes of ``each`` devices, and return what process 0 found; all must find the same."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(each)}
    children = []
    for process in range(number):
        joined = {} if number == 1 else {"address": address, "number": number, "process": process}
        command = [sys.executable, "-m", "benchmarks.devices", f"--child={json.dumps(settings | joined)}"]
        children.append(
            subprocess.Popen(command, cwd=Path(__file__).parents[1], env=environment, stdout=subprocess.PIPE)
        )
    printed = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise RuntimeError(f"a process of {number} x {each} failed")
    found = [json.loads(lines.decode().strip().splitlines()[-1]) for lines in printed]
    if any(one != found[0] for one in found):
        raise RuntimeError(f"the processes of {number} x {each} do not agree")
    return found[0]


def train(
    address: str | None = None,
    number: int = 1,
    process: int = 0,
    workdir: str | None = None,
    end: int = UPDATES,
    evaluates: bool = True,
    divided: bool = False,
) -> dict[str, Any]:
    """Train to update ``end``, from the checkpoint in ``workdir`` if there is one, on all devices there are."""
    import jax

    from zf_jax import build_model, make_optimizer, sharding
    from zf_jax.data import eval_batches, load, train_batches
    from zf_jax.evaluation.scoring import evaluate_split, make_eval_step
    from zf_jax.runs.checkpoints import Checkpoints
    from zf_jax.sharding import data_mesh, global_batch, initialize_distributed, replicated
    from zf_jax.training import Schedules, make_init, make_train_step

    if address is not None:
        initialize_distributed(address, number, process)
    mine = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    data = load("digits", view="rows")
    model = build_model("zforcing", data.observation, rnn_dim=16, latent_dim=4, mlp_dim=16, embed_dim=8)
    optimizer, mesh = make_optimizer(1e-2, 10.0), data_mesh()
    sharding.LARGE = LARGE
    state = make_init(model, optimizer, mesh, divided)(jax.random.key(0))
    if divided and all(leaf.is_fully_replicated for leaf in jax.tree.leaves(state)):
        raise RuntimeError("nothing was divided")
    schedules = Schedules(aux_weight=lambda step: 0.01, reverse_weight=lambda step: 0.01)
    step = make_train_step(model, optimizer, mesh, schedules, shard_params=divided)
    if workdir is not None:
        with Checkpoints(workdir) as checkpoints:
            saved = checkpoints.restore_newest(state)
        state = state if saved is None else saved[0]
    batches = train_batches(data.split("train"), batch_size=BATCH, seed=0, start_step=int(state.step), **mine)
    losses = []
    while int(state.step) < end:
        state, metrics = step(state, global_batch(next(batches), mesh), jax.random.key(1))
        losses.append(float(metrics["loss"]))
    if workdir is not None:
        with Checkpoints(workdir) as checkpoints:
            checkpoints.save(state, {})
            checkpoints.wait()
    evaluation = []
    if evaluates:
        bound = make_eval_step(model, mesh, "iwae", num_samples=2)
        # 250 sequences: the last batch is short.
        served = eval_batches(data.split("test"), batch_size=96, **mine)
        params = jax.device_put(state.params, replicated(mesh))
        evaluation = [float(evaluate_split(bound, params, served, jax.random.key(2), mesh).bound.sum())]
    return {"losses": losses, "evaluation": evaluation}


if __name__ == "__main__":
    main()
