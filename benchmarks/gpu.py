"""The update on a GPU, its floors, and PyTorch's beside it:  python -m benchmarks.gpu --json=FILE [--budget_s=540]

Paper-size sequential MNIST, TIMIT and IMDB at three batch sizes; products in float32, TF32 and bfloat16; XLA's command
buffers as they are by default, off, and around the scans; and the peer with cuDNN: eager, as one captured CUDA graph,
and compiled.  What is most worth knowing comes first, and FILE is written after every measurement: started again on
the same FILE, the script goes on with what is not there yet.  Every setting of XLA has processes of its own, since it
is read when JAX starts; what fails there, a refused flag or a lack of memory, is recorded and passed over.

Our update is the library's train step, clipping and metrics included; the peer's is loss, gradients and Adam.  A floor
is the time of an update that one thing alone holds up: its operations at the rate of a large product of the same
precision; its sequential weights, read once a step each way, at the bandwidth of a large copy; its kernels, counted in
the compiled program, at the time of a tiny one in a chain.  The largest binds.  All three rates are measured here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from benchmarks.ceilings import PRECISIONS, ceilings, launches, temporary_bytes, times_of
from benchmarks.configurations import CONFIGURATIONS, TINY, Configuration, model_of, operations, random_batch
from zf_jax.sharding import data_mesh, replicated
from zf_jax.training import Schedules, init_state, make_optimizer, make_train_step
from zf_jax.typing import Observation

SIZES = {
    "mnist": Configuration(Observation("tokens", 2), "bernoulli", H=1024, Z=256, M=512, E=512, T=784, B=32),
    "timit": CONFIGURATIONS["A"],
    "imdb": CONFIGURATIONS["C"],
}
QUICK_SIZES = {"mnist": TINY["B"], "timit": TINY["A"], "imdb": TINY["C"]}
COMMAND_BUFFERS = {
    "default": "",
    "off": "--xla_gpu_enable_command_buffer=",
    "scans": "--xla_gpu_enable_command_buffer=+WHILE",
    "scans unrolled": "--xla_gpu_enable_command_buffer=+WHILE --xla_gpu_command_buffer_unroll_loops=true",
}
PEERS = ("eager", "graph", "compiled")
AUX_WEIGHT, REVERSE_WEIGHT = 1e-3, 1e-3
ANSWER = "@answer "


class Item(NamedTuple):
    """One measurement: ``who`` is "ceilings", "ours" or one of ``PEERS``; other fields are keys of the tables above."""

    who: str
    size: str
    rows: int
    precision: str
    command_buffers: str = "default"


def plan(quick: bool) -> list[list[Item]]:
    """Groups of measurements, each for one process, the most telling first."""
    sizes, all_rows = list(SIZES), (4,) if quick else (32, 128, 512)
    groups = []
    for rows in all_rows:
        ours = [Item("ours", size, rows, p) for size in sizes for p in PRECISIONS if not quick or p == "float32"]
        if rows == all_rows[0]:
            ours = [Item("ceilings", "", 0, precision) for precision in PRECISIONS] + ours
        groups.append(ours)
        # A user of PyTorch would cast the kernels once for bfloat16, which the peer does not do: not compared.
        groups += [[Item(who, size, rows, p) for size in sizes for p in ("float32", "tf32")] for who in PEERS[:2]]
        if rows < 512:
            for buffers in list(COMMAND_BUFFERS)[1:]:
                groups.append([Item("ours", size, rows, "tf32", buffers) for size in sizes])
    groups += [[Item("compiled", size, rows, "tf32") for size in sizes] for rows in all_rows]
    return groups


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure what the file does not hold yet, within the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="the report; what it holds already is not done again")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, on whatever device there is: a rehearsal")
    parser.add_argument("--budget_s", type=float, default=540.0, help="no measurement starts after so many seconds")
    parser.add_argument("--limit_s", type=float, default=180.0, help="a measurement that takes longer is given up")
    options = parser.parse_args(arguments)
    deadline = time.time() + options.budget_s
    report: dict[str, Any] = {"quick": options.quick, "machine": {}, "left_out": {}, "measurements": []}
    if options.json.exists():
        report = json.loads(options.json.read_text())
        if report["quick"] != options.quick:
            parser.error(f"{options.json} is of {'tiny' if report['quick'] else 'full'} sizes: choose another")
        report["left_out"] = {}
    for group in plan(options.quick):
        done = {tuple(one[field] for field in Item._fields) for one in report["measurements"]}
        items = [item for item in group if item not in done and item.who not in report["left_out"]]
        if items and items[0].command_buffers != "default" and report["machine"].get("platform", "cpu") == "cpu":
            report["left_out"]["command buffers"] = "JAX has no GPU here"
            continue
        for answer in measured(items, options.quick, deadline, options.limit_s):
            for kind in ("machine", "left_out"):
                report[kind].update(answer.get(kind, {}))
            if "who" in answer:
                report["measurements"].append(answer)
                print(json.dumps(answer), flush=True)
            add_floors(report)
            options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(as_table(report))
    return report


def measured(items: list[Item], quick: bool, deadline: float, limit: float) -> Iterator[dict[str, Any]]:
    """What a process says that measures ``items``; where it dies, another goes on behind what it died of."""
    while items and time.time() < deadline:
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        flags = (os.environ.get("XLA_FLAGS", ""), COMMAND_BUFFERS[items[0].command_buffers])
        environment["XLA_FLAGS"] = " ".join(filter(None, flags))
        if items[0].who in PEERS:
            environment["JAX_PLATFORMS"] = "cpu"
        order = json.dumps({"items": items, "quick": quick, "deadline": deadline})
        command = [sys.executable, "-m", "benchmarks.gpu", "--child", order]
        started = False
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        ):
            for answer in answers(process, limit):
                if "who" in answer:
                    items = items[1:]
                started = True
                yield answer
            if process.wait() == 0:
                return
            errors.seek(0)
            reason = f"status {process.returncode}: {told(errors.read())}"
            if process.returncode == -signal.SIGKILL:
                reason = f"killed: it took longer than {limit:.0f} seconds, or too much memory"
        # Where not even JAX would start, no later item can do better.
        lost, items = (items[:1], items[1:]) if started else (items, [])
        for item in lost:
            yield item._asdict() | {"failed": reason}


def answers(process: subprocess.Popen, limit: float) -> Iterator[dict[str, Any]]:
    """The answers of a child, which is killed where one of them takes longer than ``limit`` seconds."""
    assert process.stdout is not None
    while True:
        timer = threading.Timer(limit, process.kill)
        timer.start()
        line = next((line for line in process.stdout if line.startswith(ANSWER)), None)
        timer.cancel()
        if line is None:
            return
        yield json.loads(line.removeprefix(ANSWER))


def told(errors: str) -> str:
    """The line that says what was wrong."""
    lines = [line for line in errors.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if re.match(r"[EF]\d{4} |[\w.]*Error", line)), lines[-1])[:300]


def child(order: dict[str, Any]) -> None:
    """Measure the items of an order, one answer each."""
    items = [Item(*item) for item in order["items"]]
    device = None
    if items[0].who in PEERS:
        try:
            import torch
        except ImportError:
            return tell({"left_out": dict.fromkeys(PEERS, "PyTorch is not installed")})
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            tell({"left_out": dict.fromkeys(PEERS[1:] if order["quick"] else PEERS, "PyTorch sees no GPU")})
            if not order["quick"]:
                return None
        name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
        tell({"machine": {"torch": torch.__version__, "cudnn": torch.backends.cudnn.version(), "torch_device": name}})
    else:
        first, versions = jax.devices()[0], {"jax": jax.__version__, "python": platform.python_version()}
        tell({"machine": {"platform": first.platform, "device": first.device_kind, **versions}})
    for item in items:
        if time.time() > order["deadline"]:
            return None
        try:
            if item.who == "ceilings":
                figures = ceilings(item.precision, order["quick"])
            else:
                size = (QUICK_SIZES if order["quick"] else SIZES)[item.size]
                configuration = dataclasses.replace(size, B=item.rows)
                figures = theirs(item, configuration, device) if device else ours(item, configuration)
        except Exception as error:  # a lack of memory, most often: the next item may fit
            figures = {"failed": f"{type(error).__name__}: {error}"[:300]}
        tell(item._asdict() | figures)
    return None


def tell(value: dict[str, Any]) -> None:
    """Tell the parent."""
    print(ANSWER + json.dumps(value), flush=True)


def ours(item: Item, configuration: Configuration) -> dict[str, Any]:
    """Our update: its time, its rate, what compiling took, the memory and the kernels of the program."""
    model, optimizer, mesh = model_of(configuration), make_optimizer(1e-3, 100.0), data_mesh(jax.devices()[:1])
    schedules = Schedules(*map(optax.constant_schedule, (1.0, AUX_WEIGHT, REVERSE_WEIGHT)))
    key, rng = jax.random.key(0), np.random.default_rng(0)
    # Any numbers will do, and they are there at once; zeros would not: products of zeros run faster.
    state = jax.eval_shape(lambda: init_state(model, optimizer, key))
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)._replace(
        params=jax.tree.map(lambda leaf: (0.03 * rng.normal(size=leaf.shape)).astype(leaf.dtype), state.params)
    )
    state, batch = jax.device_put((state, random_batch(configuration)), replicated(mesh))
    step: Any = make_train_step(model, optimizer, mesh, schedules)
    with jax.default_matmul_precision(PRECISIONS[item.precision]):
        begun = time.perf_counter()
        compiled = step.lower(state, batch, key).compile()
        compile_seconds = time.perf_counter() - begun
    held = [state]

    def run(times):
        for _ in range(times):
            held[0] = compiled(held[0], batch, key)[0]
        jax.block_until_ready(held[0])

    return {
        **times_of(run, operations(configuration)["update"]),
        "compile_seconds": compile_seconds,
        "temporary_bytes": temporary_bytes(compiled),
        "launches": launches(compiled),
        "skipped_updates": int(held[0].skipped_updates),
    }


def theirs(item: Item, configuration: Configuration, device: str) -> dict[str, Any]:
    """The peer's update: its time, its rate, and the memory it took at its highest."""
    import torch

    from benchmarks import peer

    torch.set_float32_matmul_precision("highest" if item.precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = item.precision != "float32"
    if item.who == "compiled":
        torch._dynamo.reset()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    params = jax.tree.map(np.asarray, jax.jit(model_of(configuration).init)(jax.random.key(0)))
    batch = peer.to_torch(random_batch(configuration), device)
    one = peer.Peer(configuration, params, compiled=item.who == "compiled", device=device)
    noise = configuration.T, configuration.B, configuration.Z

    def update():
        one.update(batch, torch.randn(noise, device=device), AUX_WEIGHT, REVERSE_WEIGHT)

    begun = time.perf_counter()
    replay = peer.captured(update) if item.who == "graph" else update

    def run(times):
        for _ in range(times):
            replay()
        if device == "cuda":
            torch.cuda.synchronize()

    run(1)
    figures = {"compile_seconds": time.perf_counter() - begun}
    figures |= times_of(run, operations(configuration)["update"])
    if device == "cuda":
        figures["peak_bytes"] = torch.cuda.max_memory_allocated()
    return figures


def add_floors(report: dict[str, Any]) -> None:
    """Give each update the floors that the ceilings found so far allow, and the peer's time beside ours."""
    found = [one for one in report["measurements"] if "failed" not in one]
    rates = {one["precision"]: one for one in found if one["who"] == "ceilings"}
    peers: dict[tuple, list[tuple[float, str]]] = {}
    for one in found:
        if one["who"] in PEERS:
            peers.setdefault((one["size"], one["rows"], one["precision"]), []).append((one["ms"], one["who"]))
    for one in found:
        if one["who"] != "ours":
            continue
        c = (QUICK_SIZES if report["quick"] else SIZES)[one["size"]]
        if rate := rates.get(one["precision"]):
            weights = 8 * c.H**2 + c.H * c.M + 2 * c.M * c.Z + 4 * c.Z * c.H
            size = 2 if one["precision"] == "bf16" else 4
            floors = {
                "operations": 1e12 * one["gflop"] / rate["flop_per_second"],
                "weights": 1e3 * 2 * c.T * size * weights / rate["bytes_per_second"],
                "launches": 1e3 * one["launches"] * rate["launch_seconds"],
            }
            one["floors_ms"], one["binding"] = floors, max(floors, key=lambda name: floors[name])
            one["over_floor"] = one["ms"] / floors[one["binding"]]
        if theirs := peers.get((one["size"], one["rows"], one["precision"])):
            one["peer_ms"], one["peer"] = min(theirs)
            one["time_over_peer"] = one["ms"] / one["peer_ms"]


def as_table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        "| | B | products | command buffers | ms | TFLOP/s | floor, ms | binding | kernels | compile, s | memory, MB | "
        "peer, ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in report["measurements"]:
        if one["who"] != "ours":
            continue
        start = f"| {one['size']} | {one['rows']} | {one['precision']} | {one['command_buffers']} |"
        if "failed" in one:
            lines.append(f"{start} {one['failed'][:80]} |")
            continue
        floor = f"{one['floors_ms'][one['binding']]:.2f} | {one['binding']}" if "binding" in one else " | "
        peer = f"{one['peer_ms']:.2f} ({one['peer']})" if "peer" in one else ""
        lines.append(
            f"{start} {one['ms']:.2f} | {one['tflop_per_second']:.2f} | {floor} | {one['launches']} | "
            f"{one['compile_seconds']:.1f} | {one['temporary_bytes'] / 1e6:.0f} | {peer} |"
        )
    for one in report["measurements"]:
        if one["who"] == "ceilings" and "failed" not in one:
            lines.append(
                f"\n{one['precision']}: {one['flop_per_second'] / 1e12:.2f} TFLOP/s, "
                f"{one['bytes_per_second'] / 1e12:.3f} TB/s, {one['launch_seconds'] * 1e6:.2f} us a kernel"
            )
    lines += [f"\nleft out: {name}: {reason}" for name, reason in report["left_out"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(json.loads(sys.argv[2]))
    else:
        main()
