"""Set checkpoints aside, and mend what orbax would refuse all of them for."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jax

from zf_jax.runs.record import Damaged, read_json, read_record
from zf_jax.sharding import wait_for_all

METRIC = "elbo_nats_per_sequence"


def steps_in(directory: Path) -> list[int]:
    """Return the steps of all checkpoints in a folder, ascending."""
    try:
        return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())
    except OSError:
        return []


def elbo_of(folder: Path) -> float | None:
    """Return the validation ELBO of one checkpoint; None if it was not validated, or that cannot be read."""
    try:
        record = read_record(folder)
        found = record if record is not None else read_json(folder / "metrics", "metrics")
        elbo = found[METRIC]
    except (Damaged, TypeError, KeyError):
        return None
    return elbo if isinstance(elbo, float) and math.isfinite(elbo) else None


def set_aside(directory: Path, steps: list[int], kind: str, warn: Callable[[str], None]) -> None:
    """Move checkpoints into the folder ``kind`` beside ``directory``; all processes must call together."""
    if jax.process_index() == 0:
        for step in steps:
            _move(directory, step, kind, warn)
    wait_for_all("checkpoints set aside")


def _move(directory: Path, step: int, kind: str, warn: Callable[[str], None]) -> None:
    aside = directory.parent / kind / str(step)
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(exist_ok=True)
    os.replace(directory / str(step), aside)
    warn(f"the checkpoint of step {step} lies in {aside} now")


def mend(directory: Path, warn: Callable[[str], None]) -> None:
    """Set aside or write anew what orbax itself reads of every checkpoint, and would refuse them all for.

    Process 0 alone calls this function, which waits for no other.
    """
    for step in steps_in(directory):
        folder = directory / str(step)
        if not is_json(folder / "_CHECKPOINT_METADATA"):
            warn(f"the checkpoint {folder} is damaged (_CHECKPOINT_METADATA)")
            _move(directory, step, "damaged", warn)
            continue
        elbo, file = elbo_of(folder), folder / "metrics" / "metrics"
        written = {} if not is_json(file) else json.loads(file.read_text(encoding="utf-8"))
        if elbo is not None and written != {METRIC: elbo}:
            warn(f"{file} is damaged: written anew from the checkpoint's record")
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps({METRIC: elbo}), encoding="utf-8")
        elif elbo is None and file.exists():
            warn(f"{file} is damaged: the checkpoint of step {step} counts as not validated")
            os.replace(file, file.with_suffix(".damaged"))


def is_json(path: Path) -> bool:
    """Return whether a file can be read and holds JSON."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return True
