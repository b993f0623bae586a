"""Our speed beside PyTorch's, in one run:  python -m benchmarks.speed [--configs=A,B,C,D] [--json=FILE] [--growth]

Each round times a large float32 matmul (the peak), ours and the peer, one after another, so that a busy machine is
busy for all of them; figures are medians over rounds.  An update is noise, forward, backward and Adam; the train step
is the library's own, which also clips, looks for values that are not finite, and computes metrics, beside the same
update of the peer, which does none of these; the IWAE evaluation takes K samples; sampling draws as many sequences as a
batch holds.  The peer is the faster of eager and compiled PyTorch.  Before anything is timed, loss and gradients of
both are compared on the measured sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.ceilings import temporary_bytes
from benchmarks.configurations import CONFIGURATIONS, TINY, Configuration, model_of, operations, random_batch
from experiments.kept_memory import keep_memory
from zf_jax import bounds, deferred, generation, init_state, make_optimizer, update
from zf_jax.objective import Weights, loss_and_metrics
from zf_jax.typing import Observation

PEAK_SIZE = 2048
AUX_WEIGHT, REVERSE_WEIGHT = 1e-3, 1e-3
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock_name = "wall"
TASKS = ("update", "train_step", "iwae", "sample")
Run = Callable[[], None]


def our_update(configuration: Configuration):
    """The compiled update, the state that it starts from, the batch, and the seconds that it took to compile."""
    model, batch, optimizer = model_of(configuration), random_batch(configuration), optax.adam(1e-3)

    def bare_update(state, batch):
        params, optimizer_state, key = state
        key, key_noise = jax.random.split(key)
        weights = Weights(1.0, AUX_WEIGHT, REVERSE_WEIGHT)
        gradients = jax.grad(lambda p: loss_and_metrics(model, p, batch, key_noise, weights)[0])(params)
        updates, optimizer_state = optimizer.update(gradients, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state, key), {}

    params = model.init(jax.random.key(0))
    state = (params, optimizer.init(params), jax.random.key(1))
    clock = CLOCKS[clock_name]
    start = clock()
    compiled = jax.jit(bare_update, donate_argnums=0).lower(state, batch).compile()
    return compiled, state, batch, clock() - start


def our_train_step(configuration: Configuration):
    """As ``our_update``, of the library's own update."""
    model, batch, key = model_of(configuration), random_batch(configuration), jax.random.key(1)
    optimizer, weights = make_optimizer(1e-3, clip_norm=100.0), Weights(1.0, AUX_WEIGHT, REVERSE_WEIGHT)
    state = init_state(model, optimizer, jax.random.key(0))
    step = jax.jit(lambda state, batch: update(model, optimizer, state, batch, key, weights), donate_argnums=0)
    clock = CLOCKS[clock_name]
    start = clock()
    compiled = step.lower(state, batch).compile()
    return compiled, state, batch, clock() - start


def ours(configuration: Configuration, task: str) -> tuple[Run, dict]:
    """What runs the task once and waits for it, and facts about its compilation."""
    c, key = configuration, jax.random.key(2)
    if task in ("update", "train_step"):
        compiled, state, batch, seconds = (our_update if task == "update" else our_train_step)(c)
        held = [state]

        def run():
            held[0], metrics = compiled(held[0], batch)
            jax.block_until_ready((held[0], metrics))
    else:
        model, batch = model_of(c), random_batch(c)
        params = model.init(jax.random.key(0))
        functions = {
            "iwae": lambda params: bounds.iwae(model, params, batch, key, num_samples=c.K),
            "sample": lambda params: generation.sample(model, params, key, num_samples=c.B, length=c.T).values,
        }
        clock = CLOCKS[clock_name]
        start = clock()
        compiled = jax.jit(functions[task]).lower(params).compile()
        seconds = clock() - start

        def run():
            compiled(params).block_until_ready()

    return run, {"compile_seconds": seconds, "temporary_bytes": temporary_bytes(compiled)}


def peers(configuration: Configuration, task: str, kinds: tuple[str, ...]) -> dict[str, Run]:
    """The peer's variants, each run once already, so that it is compiled; one that fails is left out."""
    import torch

    from benchmarks import peer

    c = configuration
    params = jax.tree.map(np.asarray, model_of(c).init(jax.random.key(0)))
    batch = peer.to_torch(random_batch(c))
    runs = {}
    for kind in kinds:
        torch._dynamo.reset()
        one = peer.Peer(c, params, compiled=kind == "compiled")
        functions = {
            "update": lambda one=one: one.update(batch, torch.randn(c.T, c.B, c.Z), AUX_WEIGHT, REVERSE_WEIGHT),
            "train_step": lambda one=one: one.update(batch, torch.randn(c.T, c.B, c.Z), AUX_WEIGHT, REVERSE_WEIGHT),
            "iwae": lambda one=one: one.iwae(batch, torch.randn(c.T, c.K * c.B, c.Z)),
            "sample": lambda one=one: one.sample(c.B),
        }
        try:
            functions[task]()
        except Exception as error:  # torch.compile needs a C++ compiler, and is not to be had everywhere
            print(f"  peer {kind} left out: {type(error).__name__}", file=sys.stderr)
            continue
        runs[kind] = functions[task]
    return runs


def disagreement(configuration: Configuration) -> dict[str, float]:
    """Relative differences of loss and gradients between ours and the peer, on equal parameters, data and noise."""
    import torch

    from benchmarks import peer

    c, rng = configuration, np.random.default_rng(3)
    model, batch = model_of(c), random_batch(c)
    # Off the initial values, where hidden layers sit exactly on the kink of their activation.
    params = jax.tree.map(
        lambda x: x + 0.01 * rng.normal(size=x.shape).astype(np.float32), model.init(jax.random.key(0))
    )
    noise = rng.normal(size=(c.B, c.T, c.Z)).astype(np.float32)
    weights = Weights(1.0, 0.3, 0.2)
    loss, gradients = jax.jit(
        jax.value_and_grad(lambda p: loss_and_metrics(model, p, batch, weights=weights, noise=jnp.asarray(noise))[0])
    )(params)
    other = peer.Peer(c, jax.tree.map(np.asarray, params))
    other_loss = other.loss(peer.to_torch(batch), torch.tensor(noise.swapaxes(0, 1)), 0.3, 0.2)
    other_loss.backward()
    theirs = other.gradients()
    largest = 0.0
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        gap = np.abs(np.asarray(gradient) - theirs[tuple(k.key for k in path)]).max()
        largest = max(largest, float(gap / (1e-12 + np.abs(np.asarray(gradient)).max())))
    return {"loss": abs(float(loss) - other_loss.item()) / abs(float(loss)), "gradients": largest}


def peer_peak_run() -> Run:
    """The same matmul in PyTorch: how much of a ratio is the library of matmuls, and how much the program."""
    import torch

    square = torch.ones(PEAK_SIZE, PEAK_SIZE)

    def run():
        torch.matmul(square, square)

    return run


def peak_run() -> Run:
    square = jnp.ones((PEAK_SIZE, PEAK_SIZE))
    multiply = jax.jit(jnp.matmul)
    return lambda: multiply(square, square).block_until_ready()


def interleaved(runs: dict[str, Run], rounds: int, repeats: dict[str, int] | None = None) -> dict[str, list[float]]:
    """Seconds of each of ``runs`` in each round, one after another within a round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    clock = CLOCKS[clock_name]
    for _ in range(rounds):
        for name, run in runs.items():
            times = (repeats or {}).get(name, 1)
            start = clock()
            for _ in range(times):
                run()
            seconds[name].append((clock() - start) / times)
    return seconds


def measure(configuration: Configuration, task: str, rounds: int, kinds: tuple[str, ...]) -> dict:
    """One task of one configuration: ours, every variant of the peer, and the peak, in the same rounds."""
    run, facts = ours(configuration, task)
    theirs = peers(configuration, task, kinds)
    runs = {"peak": peak_run(), "ours": run, **theirs}
    if theirs:
        runs["peer_peak"] = peer_peak_run()
    for one in runs.values():
        one()
    once = {name: s[0] for name, s in interleaved(runs, 1).items()}
    repeats = {name: max(1, int(0.1 / seconds)) for name, seconds in once.items()}  # a tenth of a second at least
    seconds = interleaved(runs, rounds, repeats)
    median = {name: statistics.median(s) for name, s in seconds.items()}
    best = min(theirs, key=lambda name: median[name]) if theirs else None
    peak = 2.0 * PEAK_SIZE**3 / median["peak"]
    result = {
        "seconds": median["ours"],
        "gflop": operations(configuration)[task] / 1e9,
        "peak_gflop_per_second": peak / 1e9,
        # Within a round both stand under the same load: the ratio's median over rounds is steadier than of medians.
        "fraction_of_peak": statistics.median(
            operations(configuration)[task] / s / (2.0 * PEAK_SIZE**3 / p)
            for s, p in zip(seconds["ours"], seconds["peak"], strict=True)
        ),
        **facts,
    }
    if best:
        ratios = [a / b for a, b in zip(seconds["ours"], seconds[best], strict=True)]
        result |= {
            "peer": best,
            "peer_seconds": median[best],
            "peer_fraction_of_peak": operations(configuration)[task] / median[best] / peak,
            "peer_matmul_over_ours": median["peer_peak"] / median["peak"],
            "time_over_peer": statistics.median(ratios),
            "time_over_peer_range": [min(ratios), max(ratios)],
        }
        result["peer_variants_seconds"] = {kind: median[kind] for kind in theirs}
    return result


def plain_scan_bytes(configuration: Configuration) -> int:
    """Temporary bytes of the update with ``lax.scan`` in the place of the deferred one."""
    with mock.patch.object(deferred, "scan", jax.lax.scan):
        return temporary_bytes(our_update(configuration)[0])


def peak_memory(name: str, who: str, tiny: bool) -> int:
    """Bytes of resident memory that updates add to a fresh process, at their highest."""
    code = f"from benchmarks import speed; speed.print_peak_memory({name!r}, {who!r}, {tiny})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def print_peak_memory(name: str, who: str, tiny: bool) -> None:
    """The child of ``peak_memory``: what remains after start-up and a first update is not counted as its own."""

    def resident(field):
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))

    configuration = (TINY if tiny else CONFIGURATIONS)[name]
    before = resident("VmRSS")
    run = ours(configuration, "update")[0] if who == "ours" else peers(configuration, "update", ("eager",))["eager"]
    run()
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the high-water mark starts afresh, without what compiling took
    run()
    print(resident("VmHWM") - before)


def growth(rounds: int) -> list[dict]:
    """Time and temporary memory as T, B, H, K and V double, one at a time."""
    d, c = CONFIGURATIONS["D"], dataclasses.replace(CONFIGURATIONS["C"], B=8)
    words = [dataclasses.replace(c, observation=Observation("tokens", n)) for n in (4_000, 8_000, 16_000)]
    series = {
        "T": ("update", [dataclasses.replace(d, T=n) for n in (64, 128, 256)]),
        "B": ("update", [dataclasses.replace(d, B=n) for n in (64, 128, 256)]),
        "H": ("update", [dataclasses.replace(d, H=n) for n in (64, 128, 256)]),
        "K": ("iwae", [dataclasses.replace(d, K=n) for n in (25, 50, 100)]),
        "V": ("update", words),
    }
    table = []
    for axis, (task, configurations) in series.items():
        runs, facts = {}, {}
        for n, configuration in enumerate(configurations):
            runs[str(n)], facts[str(n)] = ours(configuration, task)
        for run in runs.values():
            run()
        seconds = {name: statistics.median(s) for name, s in interleaved(runs, rounds).items()}
        for n, configuration in enumerate(configurations):
            value = configuration.observation.size if axis == "V" else getattr(configuration, axis)
            now = {"seconds": seconds[str(n)], "temporary_bytes": facts[str(n)]["temporary_bytes"]}
            table.append({"axis": axis, "value": value, "task": task, **now})
    return table


def versions() -> dict:
    import torch

    with open("/proc/cpuinfo") as file:
        cpuinfo = file.read()
    cpu = next((line.split(":")[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "")
    return {
        "jax": jax.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "avx512": "avx512f" in cpuinfo,
    }


def as_table(report: dict) -> str:
    """The report as Markdown."""
    lines = [
        "| | task | GFLOP | ours, ms | peer, ms | ours / peer | bare matmul, ours / peer | of peak | peer of peak "
        "| compile, s | memory, MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, tasks in report["configurations"].items():
        for task in TASKS:
            r = tasks if task == "update" else tasks.get(task)
            if not r or "seconds" not in r:
                continue
            peer_ms = f"{r['peer_seconds'] * 1e3:.1f} ({r['peer']})" if "peer" in r else ""
            ratio = f"{r['time_over_peer']:.2f}" if "peer" in r else ""
            of_peak = f"{r['peer_fraction_of_peak']:.0%}" if "peer" in r else ""
            matmul = f"{1 / r['peer_matmul_over_ours']:.2f}" if "peer" in r else ""
            lines.append(
                f"| {name} | {task} | {r['gflop']:.1f} | {r['seconds'] * 1e3:.1f} | {peer_ms} | {ratio} | {matmul} | "
                f"{r['fraction_of_peak']:.0%} | {of_peak} | {r['compile_seconds']:.1f} | "
                f"{r['temporary_bytes'] / 1e6:.0f} |"
            )
    if "growth" in report:
        lines += ["", "| doubled | value | task | ms | memory, MB |", "|---|---|---|---|---|"]
        for r in report["growth"]:
            lines.append(
                f"| {r['axis']} | {r['value']} | {r['task']} | {r['seconds'] * 1e3:.1f} | "
                f"{r['temporary_bytes'] / 1e6:.0f} |"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", default="A,B,C,D", help="which configurations, separated by commas")
    parser.add_argument("--tasks", default=",".join(TASKS), help=f"which of {', '.join(TASKS)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="write the report to this file, and the table beside it as .md")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, two rounds, no compiled peer: a rehearsal")
    parser.add_argument("--growth", action="store_true", help="also T, B, H, K and V doubled one at a time")
    parser.add_argument("--no-compiled", action="store_true", help="leave torch.compile out")
    parser.add_argument("--no-memory", action="store_true", help="leave the processes that measure memory out")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: processor time, for one core of a machine that others use too (taskset -c 0 python -m ...)",
    )
    options = parser.parse_args(arguments)
    global clock_name
    clock_name = options.clock
    try:
        import torch
    except ImportError:
        parser.error("the peer needs PyTorch: pip install torch==2.13.0")
    torch.set_num_threads(len(os.sched_getaffinity(0)))  # as many as JAX takes
    names = options.configs.split(",")
    if unknown := set(names) - set(CONFIGURATIONS):
        parser.error(f"no configuration {', '.join(sorted(unknown))}; there are {', '.join(CONFIGURATIONS)}")
    rounds = 2 if options.quick else options.rounds
    kinds = ("eager",) if options.quick or options.no_compiled else ("eager", "compiled")
    report: dict = {"versions": versions(), "rounds": rounds, "clock": options.clock, "configurations": {}}
    for name in names:
        configuration = (TINY if options.quick else CONFIGURATIONS)[name]
        entry: dict = {
            "sizes": dataclasses.asdict(configuration),
            "disagreement_with_peer": disagreement(configuration),
        }
        for task in options.tasks.split(","):
            result = measure(configuration, task, rounds, kinds)
            entry = {**entry, **result} if task == "update" else {**entry, task: result}
        entry["plain_scan_temporary_bytes"] = plain_scan_bytes(configuration)
        if "temporary_bytes" in entry:
            entry["memory_over_plain_scan"] = entry["temporary_bytes"] / entry["plain_scan_temporary_bytes"]
        if not options.no_memory:
            entry["peak_memory_bytes"] = {who: peak_memory(name, who, options.quick) for who in ("ours", "peer")}
        report["configurations"][name] = entry
        print(as_table({"configurations": {name: entry}}), flush=True)
        if options.json:
            _write(report, options.json)
    if options.growth:
        report["growth"] = growth(rounds)
        print(as_table({"configurations": {}, "growth": report["growth"]}))
    if options.json:
        _write(report, options.json)
    return report


def _write(report: dict, path: str) -> None:
    with open(path, "w") as file:
        json.dump(report, file, indent=1)
    with open(os.path.splitext(path)[0] + ".md", "w") as file:
        file.write(as_table(report) + "\n")


if __name__ == "__main__":
    keep_memory()  # as the experiments do; it serves ours and the peer alike
    main()
