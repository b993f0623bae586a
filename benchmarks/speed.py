"""Our speed beside PyTorch's, in one run:  python -m benchmarks.speed [--configs=A,N,P] [--json=FILE] [--growth]

Each round times a large float32 matmul (the peak), ours and the peer, one after another, so that a busy machine is
busy for all of them; figures are medians over rounds.  An update is noise, forward, backward and Adam; the train step
is the library's own, which also clips, looks for values that are not finite, and computes metrics, beside the same
update of the peer, which does none of these; the IWAE evaluation takes K samples; sampling draws as many sequences as a
batch holds.  Of N, NADE's output, and P, PixelRNN, the update alone is timed.  The peer is the faster of eager and
compiled PyTorch.  Before anything is timed, loss and gradients of both are compared on the measured sizes.
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
from typing import Any
from unittest import mock

import jax

from benchmarks import autoregressive
from benchmarks.ceilings import temporary_bytes
from benchmarks.configurations import CONFIGURATIONS, TINY, Configuration, operations
from benchmarks.contestants import (
    PEAK_SIZE,
    TASKS,
    Run,
    disagreement,
    our_update,
    ours,
    peak_run,
    peer_peak_run,
    peers,
)
from zf_jax.memory import keep_memory
from zf_jax.nn import deferred_scan
from zf_jax.typing import Observation

NAMES = (*CONFIGURATIONS, *autoregressive.SIZES)
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def interleaved(
    runs: dict[str, Run], rounds: int, clock: Clock, repeats: dict[str, int] | None = None
) -> dict[str, list[float]]:
    """Seconds of each of ``runs`` in each round, one after another within a round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times = (repeats or {}).get(name, 1)
            start = clock()
            for _ in range(times):
                run()
            seconds[name].append((clock() - start) / times)
    return seconds


def measure(configuration: Configuration, task: str, rounds: int, kinds: tuple[str, ...], clock: Clock) -> dict:
    """One task of one configuration: ours, every variant of the peer, and the peak, in the same rounds."""
    run, facts = ours(configuration, task)
    theirs = peers(configuration, task, kinds)
    return side_by_side(run, theirs, operations(configuration)[task], rounds, clock) | facts


def side_by_side(run: Run, theirs: dict[str, Run], operations: float, rounds: int, clock: Clock) -> dict:
    """Ours, every variant of the peer if there is one, and the peak, in the same rounds."""
    runs = {"peak": peak_run(), "ours": run, **theirs}
    if theirs:
        runs["peer_peak"] = peer_peak_run()
    for one in runs.values():
        one()
    once = {name: s[0] for name, s in interleaved(runs, 1, clock).items()}
    repeats = {name: max(1, int(0.1 / seconds)) for name, seconds in once.items()}  # a tenth of a second at least
    seconds = interleaved(runs, rounds, clock, repeats)
    median = {name: statistics.median(s) for name, s in seconds.items()}
    best = min(theirs, key=lambda name: median[name]) if theirs else None
    peak = 2.0 * PEAK_SIZE**3 / median["peak"]
    result: dict[str, Any] = {
        "seconds": median["ours"],
        "gflop": operations / 1e9,
        "peak_gflop_per_second": peak / 1e9,
        # Within a round both stand under the same load: the ratio's median over rounds is steadier than of medians.
        "fraction_of_peak": statistics.median(
            operations / s / (2.0 * PEAK_SIZE**3 / p) for s, p in zip(seconds["ours"], seconds["peak"], strict=True)
        ),
    }
    if best:
        ratios = [a / b for a, b in zip(seconds["ours"], seconds[best], strict=True)]
        result |= {
            "peer": best,
            "peer_seconds": median[best],
            "peer_fraction_of_peak": operations / median[best] / peak,
            "peer_matmul_over_ours": median["peer_peak"] / median["peak"],
            "time_over_peer": statistics.median(ratios),
            "time_over_peer_range": [min(ratios), max(ratios)],
        }
        result["peer_variants_seconds"] = {kind: median[kind] for kind in theirs}
    return result


def plain_scan_bytes(configuration: Configuration) -> int:
    """Temporary bytes of the update with ``lax.scan`` in the place of the deferred one."""
    with mock.patch.object(deferred_scan, "scan", jax.lax.scan):
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


def growth(rounds: int, clock: Clock) -> list[dict]:
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
        seconds = {name: statistics.median(s) for name, s in interleaved(runs, rounds, clock).items()}
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
    parser.add_argument("--configs", default=",".join(NAMES), help="which configurations, separated by commas")
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
    try:
        import torch
    except ImportError:
        parser.error("the peer needs PyTorch: pip install torch==2.13.0")
    torch.set_num_threads(len(os.sched_getaffinity(0)))  # as many as JAX takes
    names = options.configs.split(",")
    if unknown := set(names) - set(NAMES):
        parser.error(f"no configuration {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return _measured(options, names, CLOCKS[options.clock])


def _measured(options: argparse.Namespace, names: list[str], clock: Clock) -> dict:
    """The report on these configurations, printed and written as it grows."""
    rounds = 2 if options.quick else options.rounds
    kinds = ("eager",) if options.quick or options.no_compiled else ("eager", "compiled")
    report: dict = {"versions": versions(), "rounds": rounds, "clock": options.clock, "configurations": {}}
    for name in names:
        if name in autoregressive.SIZES:
            report["configurations"][name] = _autoregressive(name, options.quick, rounds, kinds, clock)
            print(as_table({"configurations": {name: report["configurations"][name]}}), flush=True)
            if options.json:
                _write(report, options.json)
            continue
        configuration = (TINY if options.quick else CONFIGURATIONS)[name]
        entry: dict = {
            "sizes": dataclasses.asdict(configuration),
            "disagreement_with_peer": disagreement(configuration),
        }
        for task in options.tasks.split(","):
            result = measure(configuration, task, rounds, kinds, clock)
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
        report["growth"] = growth(rounds, clock)
        print(as_table({"configurations": {}, "growth": report["growth"]}))
    if options.json:
        _write(report, options.json)
    return report


def _autoregressive(name: str, quick: bool, rounds: int, kinds: tuple[str, ...], clock: Clock) -> dict:
    """The update of NADE's output or of PixelRNN."""
    sizes = (autoregressive.TINY if quick else autoregressive.SIZES)[name]
    gaps, (run, facts) = autoregressive.disagreement(name, sizes), autoregressive.ours(name, sizes)
    theirs = autoregressive.peers(name, sizes, kinds)
    found = side_by_side(run, theirs, autoregressive.operations(name, sizes), rounds, clock)
    return {"sizes": sizes, "disagreement_with_peer": gaps, **found, **facts}


def _write(report: dict, path: str) -> None:
    with open(path, "w") as file:
        json.dump(report, file, indent=1)
    with open(os.path.splitext(path)[0] + ".md", "w") as file:
        file.write(as_table(report) + "\n")


if __name__ == "__main__":
    keep_memory()  # as the experiments do; it serves ours and the peer alike
    main()
