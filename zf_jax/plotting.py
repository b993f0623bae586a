"""Plot sequences (images, waveforms, piano rolls, text) and training curves."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zf_jax.data import DataSet
from zf_jax.data.music import NOTES
from zf_jax.extras import needs
from zf_jax.runs.metrics import read_metrics

with needs("plots"):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

Panels = dict[str, list[np.ndarray]]  # sequences without padding, by title


def show(axes: Any, values: np.ndarray, data: DataSet, title: str = "", length: int | None = None) -> None:
    """Draw one sequence, ``[T]`` or ``[T, D]`` without padding, as an image, a text, a piano roll, or lines over time.

    Args:
      axes: matplotlib axes.
      values: the sequence.
      data: the data set, which determines the kind of plot.
      title: the title of the axes.
      length: the width of the axes in steps; T by default.
    """
    length = length or len(values)
    axes.set(xticks=[], yticks=[])
    if data.image_shape is not None:
        pixels = np.full(data.image_shape[0] * data.image_shape[1], 0.5)
        pixels[: values.size] = np.ravel(values)  # one value or one row per step
        axes.imshow(pixels.reshape(data.image_shape), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    elif data.vocabulary is not None:
        text = textwrap.fill(data.detokenise(values), 24)
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=7, parse_math=False)  # $ is a dollar
    elif data.normalisation is not None:
        sound = data.sample_rate is not None
        axes.plot(_lines(values, sound), linewidth=0.4)
        axes.set(xlim=(0, length * (data.observation.size if sound else 1)), ylim=(-5, 5))
    else:
        axes.imshow(np.atleast_2d(values.T), aspect="auto", cmap="gray_r", origin="lower", interpolation="nearest")
        axes.set(xlim=(-0.5, length - 0.5))
    axes.set_title(title, fontsize=8, parse_math=False)


def draw_rows(panels: Panels, data: DataSet, path: Path, columns: int = 8) -> np.ndarray:
    """Draw one row per panel and one column per sequence, write ``path``, and return the image as ``save`` does."""
    columns = min(columns, *(len(values) for values in panels.values()))
    figure = Figure(figsize=(1.3 * columns + 0.6, 1.3 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), columns, squeeze=False)
    longest = [max(len(values[column]) for values in panels.values()) for column in range(columns)]
    for row, (title, values) in zip(grid, panels.items(), strict=True):
        for axes, value, length in zip(row, values[:columns], longest, strict=True):
            show(axes, value, data, length=length)
        row[0].set_ylabel(textwrap.fill(title, 14), fontsize=7)
    return save(figure, path)


def draw_grids(panels: Panels, data: DataSet, path: Path, side: int = 4) -> np.ndarray:
    """Draw one square grid of sequences per panel, write ``path``, and return the image as ``save`` does."""
    side = max(1, min(side, *(int(len(values) ** 0.5) for values in panels.values())))
    figure = Figure(figsize=(1.1 * side * len(panels) + 0.3, 1.1 * side + 0.4), layout="constrained")
    for part, (title, values) in zip(figure.subfigures(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        part.suptitle(title, fontsize=10, parse_math=False)
        for axes, value in zip(part.subplots(side, side, squeeze=False).ravel(), values, strict=False):
            show(axes, value, data)
    return save(figure, path)


def draw_curves(workdir: Path, folder: Path | None = None) -> Path:
    """Plot ELBO and KL over training, from ``metrics.jsonl``, as ``curves.png`` in ``folder``, else ``samples``."""
    folder = workdir / "samples" if folder is None else folder
    lines = read_metrics(workdir)
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("elbo_nats_per_sequence", "kl_nats_per_sequence"), strict=True):
        for split, style in (("train", {"alpha": 0.5}), ("valid", {"marker": "o", "markersize": 3})):
            found = [line for line in lines if line["split"] == split and line.get(name) is not None]
            if found:
                axes.plot([line["step"] for line in found], [line[name] for line in found], label=split, **style)
        axes.set(xlabel="update", ylabel="nats per sequence", title="ELBO" if name.startswith("elbo") else "KL")
        axes.grid(alpha=0.3)
        axes.legend()
    folder.mkdir(exist_ok=True)
    save(figure, folder / "curves.png")
    return folder / "curves.png"


def write_wav(sequences: list[np.ndarray], data: DataSet, path: Path) -> Path:
    """Write sequences of frames as a 16-bit WAV file in raw units, each followed by 0.1 seconds of silence."""
    with needs("plots"):
        import soundfile

    assert data.normalisation is not None
    assert data.sample_rate is not None
    pieces = []
    for values in sequences:
        raw = np.ravel(values) * data.normalisation["std"] + data.normalisation["mean"]
        pieces += [np.clip(np.rint(raw), -32768, 32767).astype(np.int16), np.zeros(data.sample_rate // 10, np.int16)]
    soundfile.write(path, np.concatenate(pieces), data.sample_rate, subtype="PCM_16")
    return path


def draw_spectrograms(sequences: list[np.ndarray], data: DataSet, path: Path, titles: list[str]) -> None:
    """Draw the waveform of each sequence of frames, and below the spectrogram in dB up to half the sample rate."""
    assert data.sample_rate is not None
    figure = Figure(figsize=(2.6 * len(sequences), 3.6), layout="constrained")
    grid = figure.subplots(2, len(sequences), squeeze=False, sharex="col")
    for (wave, spectrum), values, title in zip(grid.T, sequences, titles, strict=True):
        samples = np.ravel(values)
        wave.plot(np.arange(len(samples)) / data.sample_rate, samples, linewidth=0.4)
        wave.set(ylim=(-5, 5), title=title)
        spectrum.specgram(samples, NFFT=256, noverlap=192, Fs=data.sample_rate, vmin=-120, vmax=-20)
        spectrum.set(xlabel="seconds")
    grid[1, 0].set_ylabel("Hz")
    save(figure, path)


class Fan(NamedTuple):
    """One forecast: ``given`` ``[S]`` or ``[S, D]``, the ``truth`` after it, NaN where nothing came, and its quantiles.

    ``quantiles`` are ``[Q, k]`` or ``[Q, k, D]``, ascending, the median in the middle.
    """

    title: str
    given: np.ndarray
    truth: np.ndarray
    quantiles: np.ndarray


def draw_fans(fans: Sequence[Fan], data: Any, path: Path) -> None:
    """Draw forecasts as fans: the median within bands between quantiles, before it what was given, beside it the truth.

    Sound is drawn as one line of samples; of other frames the first three dimensions are drawn, one below the other.
    """
    sound = data.sample_rate is not None
    lines = [
        Fan(
            fan.title,
            _lines(fan.given, sound),
            _lines(fan.truth, sound),
            np.stack([_lines(values, sound) for values in fan.quantiles]),
        )
        for fan in fans
    ]
    dimensions = min(3, lines[0].given.shape[1])
    figure = Figure(figsize=(4.0 * len(lines), 1.9 * dimensions + 0.5), layout="constrained")
    grid = figure.subplots(dimensions, len(lines), squeeze=False, sharex="col")
    for place, (column, fan) in enumerate(zip(grid.T, lines, strict=True)):
        before = np.arange(len(fan.given))
        after = len(fan.given) + np.arange(fan.quantiles.shape[1])
        for dimension, axes in enumerate(column):
            values = fan.quantiles[:, :, dimension]
            for low, high in zip(values, values[::-1][: len(values) // 2], strict=False):
                axes.fill_between(after, low, high, color="C0", alpha=0.25, linewidth=0)
            axes.plot(after, values[len(values) // 2], color="C0", linewidth=1.0, label="forecast")
            axes.plot(before, fan.given[:, dimension], color="0.5", linewidth=0.8, label="given")
            if np.isfinite(fan.truth).any():
                axes.plot(after, fan.truth[:, dimension], color="black", linewidth=0.8, label="what came")
            axes.grid(alpha=0.3)
            if data.columns is not None and place == 0:
                axes.set_ylabel(data.columns[dimension], fontsize=8, parse_math=False)
        column[0].set_title(fan.title, fontsize=8, parse_math=False)
        column[-1].set_xlabel("sample" if sound else data.units)
    grid[0, 0].legend(fontsize=7)
    save(figure, path)


def _lines(values: np.ndarray, sound: bool) -> np.ndarray:
    """A sequence as lines, ``[T, lines]``."""
    values = np.asarray(values, np.float64)
    return values.reshape(-1, 1) if sound or values.ndim == 1 else values


def is_music(data: DataSet) -> bool:
    """Whether sequences are piano rolls: binary frames of the notes of a piano, that are not rows of an image."""
    binary = data.normalisation is None and data.vocabulary is None and data.image_shape is None
    return binary and data.observation.kind == "frames" and data.observation.size == NOTES


def save(figure: Figure, path: Path) -> np.ndarray:
    """Write a figure to ``path``, and return the image, ``[rows, columns, 3]`` uint8."""
    figure.savefig(path, dpi=120)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
