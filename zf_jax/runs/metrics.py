"""Write metrics as JSON lines, and as TensorBoard events if tensorboardX is installed; process 0 only."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np


class MetricWriter:
    """Append metrics to ``workdir/metrics.jsonl``, one object per line: ``step``, ``split`` and metrics by name."""

    def __init__(self, workdir: str | Path, *, resume_step: int = 0):
        """Open the files, and drop lines of steps after ``resume_step``, which a resumed run writes again."""
        self._active = jax.process_index() == 0
        self._path = Path(workdir) / "metrics.jsonl"
        self._events = None
        if not self._active:
            return
        if self._path.exists():
            _keep_until(self._path, resume_step)
        self._file = self._path.open("a", encoding="utf-8")
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            return
        self._events = SummaryWriter(str(Path(workdir) / "events"), purge_step=resume_step + 1)

    def __enter__(self) -> MetricWriter:
        return self

    def __exit__(self, *_) -> None:
        if self._active:
            self._file.close()
            if self._events is not None:
                self._events.close()

    def write(self, step: int, split: str, metrics: Mapping[str, Any]) -> None:
        """Write one line; NaN and infinity become null, because JSON has neither."""
        if not self._active:
            return
        line: dict[str, Any] = {"step": int(step), "split": split}
        for name, value in metrics.items():
            value = np.asarray(value).item()
            line[name] = value if not isinstance(value, float) or math.isfinite(value) else None
            if self._events is not None:
                self._events.add_scalar(f"{split}/{name}", value, int(step))
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Write an image, ``[rows, columns, 3]`` uint8, to TensorBoard."""
        if self._active and self._events is not None:
            self._events.add_image(name, image, int(step), dataformats="HWC")


def read_metrics(workdir: str | Path) -> list[dict[str, Any]]:
    """Return the lines of ``workdir/metrics.jsonl``, without damaged or truncated lines."""
    lines = []
    for line in (Path(workdir) / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get("step"), int) and isinstance(found.get("split"), str):
            lines.append(found)
    return lines


def _keep_until(path: Path, step: int) -> None:
    kept = [line for line in read_metrics(path.parent) if line["step"] <= step]
    rewritten = path.with_suffix(".tmp")
    rewritten.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    os.replace(rewritten, path)
