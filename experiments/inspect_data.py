"""Counts a data set and decodes one training batch back into what people look at, read and listen to.

    python -m experiments.inspect_data --config=experiments/configs/mnist.py --config.data.dir=DIR --out=runs/look

Prints the counts as one JSON object, and writes into --out: ``batch.png`` (digits, waveforms or piano rolls), and
``batch.wav`` or ``batch.txt`` for speech and text.  Everything is drawn from the batch that training would see first,
not from the files, so a mistake in padding, masks or normalisation is seen or heard.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import numpy as np
from absl import flags
from ml_collections import config_flags

from experiments import command_line
from zf_jax import data
from zf_jax.typing import Batch

_CONFIG = config_flags.DEFINE_config_file("config", None, "The config whose data are looked at.")
_OUT = flags.DEFINE_string("out", "runs/inspect", "Folder of the pictures.")
flags.mark_flags_as_required(["config"])


def main() -> None:
    """Print the counts and say where the pictures are."""
    config = _CONFIG.value
    options = {k: v for k, v in config.data.items() if k not in ("name", "dir")}
    found = data.load(config.data.name, data_dir=config.data.dir or None, **options)
    train = found.split("train")
    batch = next(data.train_batches(train, batch_size=min(config.train.batch_size, 16), seed=config.seed))
    folder = Path(_OUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    written = [_picture(found, batch, folder / "batch.png")]
    if found.vocabulary is not None:
        written.append(_sentences(found, batch, folder / "batch.txt"))
    if found.sample_rate is not None:
        written.append(_sound(found, batch, folder / "batch.wav"))
    for path in written:
        print(path)
    print(json.dumps(found.describe(), ensure_ascii=False))


def _picture(found: data.DataSet, batch: Batch, path: Path) -> Path:
    from matplotlib.figure import Figure

    targets, lengths = np.asarray(batch.targets), np.asarray(batch.lengths)
    figure = Figure(figsize=(10, 8), layout="constrained")
    grid = figure.subplots(4, 4).ravel()
    for axes in grid:
        axes.set(xticks=[], yticks=[])
    for axes, target, length in zip(grid, targets, lengths, strict=False):
        real = target[:length]
        if found.image_shape is not None:
            axes.imshow(real.reshape(found.image_shape), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        elif found.sample_rate is not None:
            samples = real.ravel()
            axes.plot(np.arange(samples.size) / found.sample_rate, samples, linewidth=0.4)
            axes.set(title=f"{samples.size / found.sample_rate:.3f} s", ylim=(-5, 5))
        elif found.vocabulary is not None:
            axes.text(0.5, 0.5, textwrap.fill(found.detokenise(real), 28), ha="center", va="center", fontsize=8)
        else:
            axes.imshow(real.T, aspect="auto", cmap="gray_r", origin="lower", interpolation="nearest")
            axes.set(title=f"{length} {found.units}s")
    figure.suptitle(f"{found.name}: the first training batch, {targets.shape} padded")
    figure.savefig(path, dpi=110)
    return path


def _sentences(found: data.DataSet, batch: Batch, path: Path) -> Path:
    lines = [found.detokenise(t[:n]) for t, n in zip(np.asarray(batch.targets), np.asarray(batch.lengths), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return path


def _sound(found: data.DataSet, batch: Batch, path: Path) -> Path:
    """The pieces of the batch in raw units, a tenth of a second of silence between them."""
    import soundfile

    assert found.normalisation is not None
    assert found.sample_rate is not None
    silence = np.zeros(found.sample_rate // 10, np.int16)
    pieces = []
    for target, length in zip(np.asarray(batch.targets), np.asarray(batch.lengths), strict=True):
        raw = target[:length].ravel() * found.normalisation["std"] + found.normalisation["mean"]
        pieces += [np.clip(np.rint(raw), -32768, 32767).astype(np.int16), silence]
    soundfile.write(path, np.concatenate(pieces), found.sample_rate, subtype="PCM_16")
    return path


if __name__ == "__main__":
    command_line.run(main)
