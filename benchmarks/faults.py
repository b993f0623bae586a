"""Break real runs and count what is lost:  python -m benchmarks.faults [--kills=30] [--flips=60] [--json=FILE]

Every fault is done to processes of ``experiments.train`` and ``experiments.evaluate`` on the digits, of tiny sizes:

- ``SIGKILL`` at a random moment, and the same command again, until the run is done: the parameters and the optimiser's
  state must be those of the run that nobody disturbed, bit for bit.
- ``SIGTERM`` at a random moment, likewise.  A run that is stopped after its first update loses no step.
- one bit flipped in a random file of a checkpoint, and the checkpoint read: the values that were saved come back, or
  those of an earlier checkpoint with a warning, or a sentence; other values never.
- a file cut in half, likewise.
- 5,000 updates with validations, pictures and checkpoints: memory, threads and open files at a fifth of the run and at
  its end.

Prints a table: the fault, times tried, steps lost, wrong results.  Ends with status 1 if a result is wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from experiments.lib import cli
from experiments.lib.experiment import build, initial_state
from experiments.lib.run_folder import read_config
from zf_jax.runs.checkpoints import CheckpointError, Checkpoints

_KILLS = flags.DEFINE_integer("kills", 30, "Runs killed, and as many stopped.", lower_bound=1)
_FLIPS = flags.DEFINE_integer("flips", 60, "Bits flipped, and half as many files cut.", lower_bound=2)
_UPDATES = flags.DEFINE_integer("updates", 5000, "Updates of the run that is watched for growth.", lower_bound=100)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the moments, the files and the bits.")
_JSON = flags.DEFINE_string("json", None, "Where to write the figures; nowhere by default.")

STEPS = 60  # of a run that is broken
_SIZES = {
    "model.rnn_dim": 16,
    "model.latent_dim": 4,
    "model.mlp_dim": 16,
    "model.embed_dim": 8,
    "train.batch_size": 8,
    "train.eval_sequences": 16,
    "train.log_every": 5,
    "train.eval_every": 10,
    "train.checkpoint_every": 5,
    "train.decay_steps": 0,
    "train.pictures": False,
    "train.num_steps": STEPS,
}


class Row(NamedTuple):
    """One line of the table; ``lost`` is the most steps that one fault cost."""

    fault: str
    tried: int
    lost: str
    wrong: int
    notes: str


def main() -> None:
    """Do every fault, print the table, write the figures."""
    rng = random.Random(_SEED.value)
    print("| fault | times tried | steps lost, at most | wrong results | |")
    print("|---|---|---|---|---|", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as made:
        for row in faults(Path(made), rng):
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
            rows.append(row)
    if _JSON.value:
        result = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "seed": _SEED.value}
        result["rows"] = [row._asdict() for row in rows]
        Path(_JSON.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if any(row.wrong for row in rows):
        raise SystemExit(1)


def faults(folder: Path, rng: random.Random) -> Iterator[Row]:
    """Do every fault, one after another."""
    whole = folder / "whole"
    began = time.monotonic()
    finish(start(whole))
    seconds = time.monotonic() - began
    yield broken_off(folder, whole, signal.SIGKILL, _KILLS.value, seconds, rng)
    yield broken_off(folder, whole, signal.SIGTERM, _KILLS.value, seconds, rng)
    yield damaged(folder, whole, "one bit flipped in a checkpoint", flip, _FLIPS.value, rng)
    yield damaged(folder, whole, "a checkpoint's file cut in half", cut, _FLIPS.value // 2, rng)
    yield growth(folder / "long", _UPDATES.value)


def start(workdir: Path, **changes: Any) -> subprocess.Popen[str]:
    """Start ``experiments.train`` in a process of its own."""
    settings = _SIZES | {name.replace("__", "."): value for name, value in changes.items()}
    flags_ = [f"--config.{name}={value}" for name, value in settings.items()]
    config = Path(__file__).parents[1] / "experiments/configs/digits.py"
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.train", f"--config={config}", f"--workdir={workdir}", *flags_],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a run that must end well, and return what it printed."""
    out, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"experiments.train ended with {process.returncode}: {err}")
    return out


def broken_off(folder: Path, whole: Path, how: signal.Signals, tries: int, seconds: float, rng: random.Random) -> Row:
    """Break runs off ``tries`` times, going on after each, and compare every run that reaches its end."""
    expected, wrong, lost, done, tried = leaves(whole), 0, 0, 0, 0
    bad_ends = 0
    while tried < tries:
        workdir = folder / f"{how.name}{done}"
        while True:
            process = start(workdir)
            if tried == tries:
                finish(process)
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, seconds))
            reached = last_step(workdir)
            tried += process.poll() is None  # a run that ended before its moment was not broken off
            process.send_signal(how)
            _, err = process.communicate()
            bad_ends += "Traceback" in err
            lost = max(lost, reached - newest(workdir))
            if newest(workdir) == STEPS:
                break
        done += 1
        wrong += not same(leaves(workdir), expected)
        shutil.rmtree(workdir)
    return Row(f"{how.name} at a random moment", tried, str(lost), wrong + bad_ends, f"{done} runs, each to its end")


def last_step(workdir: Path) -> int:
    """The last step that the run wrote down."""
    try:
        lines = (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return 0
    for line in reversed(lines):
        try:
            return json.loads(line)["step"]
        except ValueError:
            continue
    return 0


def newest(workdir: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    return max((int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()), default=0)


def leaves(workdir: Path) -> list[np.ndarray]:
    """The arrays of a run's newest checkpoint."""
    with Checkpoints(workdir, create=False) as checkpoints:
        found = checkpoints.restore_newest(like(workdir), "latest")
        assert found is not None, f"{workdir} has no checkpoint"
        return [np.asarray(leaf) for leaf in jax.tree.leaves(found[0])]


_LIKE: list[Any] = []


def like(workdir: Path) -> Any:
    """A state of the runs' shapes, built once."""
    if not _LIKE:
        _LIKE.append(initial_state(build(read_config(str(workdir)), any_batch_size=True)))
    return _LIKE[0]


def same(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    """Whether two lists of arrays are equal bit for bit."""
    return len(found) == len(expected) and all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))


def flip(path: Path, rng: random.Random) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    """Cut a file at its middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damaged(folder: Path, whole: Path, name: str, damage: Any, tries: int, rng: random.Random) -> Row:
    """Damage a random file of the newest checkpoint, and read the run."""
    saved = {step: leaves_of_step(whole, step) for step in steps(whole)}
    wrong, sentences, earlier, lost = 0, 0, 0, 0
    for _ in range(tries):
        workdir = folder / "damaged"
        shutil.copytree(whole, workdir)
        newest_step = newest(workdir)
        files = [p for p in sorted((workdir / "checkpoints" / str(newest_step)).rglob("*")) if p.is_file()]
        damage(rng.choice([p for p in files if p.stat().st_size]), rng)
        try:
            with Checkpoints(workdir, create=False, warn=lambda message: None) as checkpoints:
                found = checkpoints.restore_newest(like(workdir), "latest")
        except CheckpointError:
            sentences += 1
        except Exception:  # what a user would see as a traceback
            wrong += 1
        else:
            assert found is not None
            state, step = found
            wrong += not same([np.asarray(leaf) for leaf in jax.tree.leaves(state)], saved[step])
            earlier += step < newest_step
            lost = max(lost, newest_step - step)
        shutil.rmtree(workdir)
    notes = f"{earlier} times the checkpoint before was read, {sentences} times none"
    return Row(name, tries, str(lost), wrong, notes)


def steps(workdir: Path) -> list[int]:
    with Checkpoints(workdir, create=False) as checkpoints:
        return checkpoints.steps()


def leaves_of_step(workdir: Path, step: int) -> list[np.ndarray]:
    with Checkpoints(workdir, create=False) as checkpoints:
        return [np.asarray(leaf) for leaf in jax.tree.leaves(checkpoints.restore(like(workdir), step))]


def growth(workdir: Path, updates: int) -> Row:
    """Watch the memory, the threads and the open files of one long run."""
    every = max(1, updates // 50)
    process = start(
        workdir,
        train__num_steps=updates,
        train__eval_every=every,
        train__checkpoint_every=every,
        train__log_every=every,
        train__pictures=True,
    )
    seen: list[tuple[int, int, int, int]] = []
    assert process.stdout is not None
    while process.poll() is None:
        time.sleep(0.2)
        step = last_step(workdir)
        if step and (not seen or step >= seen[-1][0] + every):
            try:
                seen.append((step, *usage(process.pid)))
            except (FileNotFoundError, ProcessLookupError):
                break
    finish(process)
    early = next(row for row in seen if row[0] >= updates / 5)
    late = seen[-1]
    mib = [row[1] / 2**20 for row in (early, late)]
    wrong = int(late[1] > 1.1 * early[1]) + int(late[2] > early[2] + 2) + int(late[3] > early[3] + 5)
    notes = (
        f"from update {early[0]} to {late[0]}: {mib[0]:.0f} to {mib[1]:.0f} MiB, "
        f"{early[2]} to {late[2]} threads, {early[3]} to {late[3]} open files"
    )
    return Row(f"{updates} updates with {updates // every} checkpoints", 1, "0", wrong, notes)


def usage(pid: int) -> tuple[int, int, int]:
    """Bytes of resident memory, threads and open files of a process."""
    status = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        if ":" in line
    )
    return int(status["VmRSS"].split()[0]) * 1024, int(status["Threads"]), len(os.listdir(f"/proc/{pid}/fd"))


if __name__ == "__main__":
    cli.run(main)
