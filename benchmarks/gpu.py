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
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.ceilings import PRECISIONS
from benchmarks.gpu_report import add_floors, as_table
from benchmarks.gpu_updates import COMMAND_BUFFERS, PEERS, REPLY, SIZES, Item


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
        for answer in run_group(items, options.quick, deadline, options.limit_s):
            for kind in ("machine", "left_out"):
                report[kind].update(answer.get(kind, {}))
            if "who" in answer:
                report["measurements"].append(answer)
                print(json.dumps(answer), flush=True)
            add_floors(report)
            options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(as_table(report))
    return report


def run_group(items: list[Item], quick: bool, deadline: float, limit: float) -> Iterator[dict[str, Any]]:
    """What a process says that measures ``items``; where it dies, another goes on behind what it died of."""
    while items and time.time() < deadline:
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        flags = (os.environ.get("XLA_FLAGS", ""), COMMAND_BUFFERS[items[0].command_buffers])
        environment["XLA_FLAGS"] = " ".join(filter(None, flags))
        if items[0].who in PEERS:
            environment["JAX_PLATFORMS"] = "cpu"
        order = json.dumps({"items": items, "quick": quick, "deadline": deadline})
        command = [sys.executable, "-m", "benchmarks.gpu_updates", order]
        started = False
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        ):
            for answer in replies(process, limit):
                if "who" in answer:
                    items = items[1:]
                started = True
                yield answer
            if process.wait() == 0:
                return
            errors.seek(0)
            reason = f"status {process.returncode}: {error_line(errors.read())}"
            if process.returncode == -signal.SIGKILL:
                reason = f"killed: it took longer than {limit:.0f} seconds, or too much memory"
        # Where not even JAX would start, no later item can do better.
        lost, items = (items[:1], items[1:]) if started else (items, [])
        for item in lost:
            yield item._asdict() | {"failed": reason}


def replies(process: subprocess.Popen, limit: float) -> Iterator[dict[str, Any]]:
    """The replies of a child, which is killed where one of them takes longer than ``limit`` seconds."""
    assert process.stdout is not None
    while True:
        timer = threading.Timer(limit, process.kill)
        timer.start()
        line = next((line for line in process.stdout if line.startswith(REPLY)), None)
        timer.cancel()
        if line is None:
            return
        yield json.loads(line.removeprefix(REPLY))


def error_line(errors: str) -> str:
    """The line that says what was wrong."""
    lines = [line for line in errors.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if re.match(r"[EF]\d{4} |[\w.]*Error", line)), lines[-1])[:300]


if __name__ == "__main__":
    main()
