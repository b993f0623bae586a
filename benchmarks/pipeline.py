"""How fast the data arrive: the pipeline alone beside the small train step, in one run, for each modality.

    python -m benchmarks.pipeline --out=benchmarks/results/pipeline.json

Real files are written into a temporary folder first (WAV, text, .amat, npz: noise, in the right formats), so the times
are those of the whole path: stored records, cutting, normalising, padding, read-ahead.  ``batches`` is the pipeline
with nothing behind it; ``step`` is the compiled update of the config's ``:small`` variant, fed with one batch that is
already there.  The pipeline is fast enough where ``times_faster`` is at least 10.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments.lib import cli
from experiments.lib.experiment import build, initial_state
from zf_jax.data import train_batches
from zf_jax.sharding import global_batch

_OUT = flags.DEFINE_string("out", None, "Where to write the figures as JSON; nowhere by default.")
_ONLY = flags.DEFINE_list("only", [], "Modalities to measure; all by default.")
_BATCHES = flags.DEFINE_integer("batches", 300, "Batches to read in each of three goes.")
_STEPS = flags.DEFINE_integer("steps", 10, "Updates to time, after the first two.")


def main() -> None:
    """Measure every modality and print a table."""
    rows = []
    for name in _ONLY.value or list(MODALITIES):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(_root()):
            row = _measure(name, Path(folder))
        rows.append(row)
        print(
            f"{name:14s} batch {row['batch_ms']:7.2f} ms   small step {row['step_ms']:8.1f} ms   "
            f"{row['times_faster']:6.1f} times faster",
            flush=True,
        )
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "jax": jax.__version__}
    result = {"machine": machine, "device": jax.devices()[0].device_kind, "rows": rows}
    if _OUT.value:
        Path(_OUT.value).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def _measure(name: str, folder: Path) -> dict[str, Any]:
    module, write = MODALITIES[name]
    config = importlib.import_module(f"experiments.configs.{module}").get_config(
        *([] if module == "digits" else ["small"])
    )
    config.data.dir = str(folder / "data")
    if "cache_dir" in config.data:
        config.data.cache_dir = str(folder / "cache")
    write(folder / "data")
    experiment = build(config)
    train, size = experiment.data.split("train"), config.train.batch_size

    goes = []
    batches = train_batches(train, batch_size=size, seed=0)
    for _ in range(20):  # threads start, the read-ahead fills
        next(batches)
    for _ in range(3):  # the first go reads from disk, later ones partly from memory: all are shown
        begun = time.perf_counter()
        for _ in range(_BATCHES.value):
            next(batches)
        goes.append((time.perf_counter() - begun) / _BATCHES.value)
    batch = global_batch(next(batches), experiment.mesh)
    del batches

    state, key = initial_state(experiment), jax.random.key(0)
    update = experiment.train_step()
    times = []
    for step in range(_STEPS.value + 2):
        begun = time.perf_counter()
        state, metrics = update(state, batch, key)
        jax.block_until_ready((state, metrics))
        if step >= 2:
            times.append(time.perf_counter() - begun)
    # The slowest go against the median step: the claim is that the data never hold a step up.
    batch_ms, step_ms = 1e3 * max(goes), 1e3 * statistics.median(times)
    return {
        "modality": name,
        "config": f"{module}.py" + ("" if module == "digits" else ":small"),
        "shape": list(batch.targets.shape),
        "batch_ms": round(batch_ms, 3),
        "batch_ms_of_each_go": [round(1e3 * go, 3) for go in goes],
        "step_ms": round(step_ms, 2),
        "times_faster": round(step_ms / batch_ms, 1),
    }


def _digits(folder: Path) -> None:
    folder.mkdir()


def _mnist(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 5000), ("valid", 10), ("test", 10)):
        lines = (" ".join(map(str, row)) for row in (rng.random((count, 784)) < 0.13).astype(int))
        (folder / f"binarized_mnist_{split}.amat").write_text("\n".join(lines) + "\n")


def _speech(folder: Path) -> None:
    import soundfile

    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(60):  # ten minutes
        samples = rng.normal(0, 0.05, 160_000)
        soundfile.write(folder / f"{i}.flac", samples, 16000, subtype="PCM_16")


def _text(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(5000)]
    ranks = np.minimum(rng.zipf(1.3, (40_000, 14)) - 1, 4999)
    lengths = rng.integers(2, 15, 40_000)
    lines = (" ".join(words[j] for j in row[:n]) + "." for row, n in zip(ranks, lengths, strict=True))
    (folder / "text.txt").write_text("\n".join(lines))


def _music(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", 229), ("valid", 10), ("test", 10)):
        lengths = rng.integers(25, 130, count)
        arrays[split] = (rng.random((int(lengths.sum()), 88)) < 0.045).astype(np.uint8)
        arrays[f"{split}_lengths"] = lengths
    np.savez(folder / "jsb_chorales.npz", allow_pickle=False, **arrays)


def _root() -> Path:
    return Path(__file__).parents[1]


MODALITIES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "digits": ("digits", _digits),
    "mnist": ("mnist", _mnist),
    "speech": ("audio_folder", _speech),
    "text": ("text_folder", _text),
    "music": ("music", _music),
}


if __name__ == "__main__":
    cli.run(main)
