"""What one looks at rather than reads: real data beside samples, reconstructions, completions, training curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from zf_jax import generation
from zf_jax.data import DataSet, pad
from zf_jax.metrics import read_metrics
from zf_jax.typing import Batch


def draw_generated(experiment: Any, params: Any, folder: Path, *, seed: int, count: int = 16) -> dict[str, np.ndarray]:
    """Draw samples, reconstructions and completions into ``folder``: by name, ``[rows, columns, 3]`` uint8.

    ``count`` sequences of the validation split are shown beside as many samples; the test split is not looked at.
    """
    if jax.process_count() > 1:
        return {}  # drawing is a program of one process; experiments.sample draws from the checkpoint afterwards
    model, data = experiment.model, experiment.data
    source = data.split("valid")
    examples = [source[i] for i in range(min(count, len(source)))]
    real = jax.tree.map(jnp.asarray, pad(examples, max(len(e.targets) for e in examples)))
    length = real.targets.shape[1]
    keys = jax.random.split(jax.random.fold_in(jax.random.key(experiment.config.seed), seed), 3)

    given = max(length // 2, 1)

    @jax.jit
    def generate(params):
        half = Batch(*(leaf[:, :given] for leaf in real[:4]), lengths=jnp.full_like(real.lengths, given))
        return (
            generation.sample(model, params, keys[0], num_samples=count, length=length),
            generation.reconstruct(model, params, real, keys[1]),
            [
                generation.continue_prefix(model, params, half, k, length=length - given)
                for k in jax.random.split(keys[2], 3)
            ],
        )

    samples, reconstructed, completed = jax.device_get(generate(params))
    folder.mkdir(parents=True, exist_ok=True)
    targets = np.asarray(real.targets)
    panels = {
        "samples": {f"real {data.name}": targets, "samples": samples.values},
        "reconstructions": {"real": targets, "reconstructed (mean)": reconstructed.mean},
        "completions": {
            "real": targets,
            "first half given": _half_hidden(targets),
            **{f"completed, draw {i + 1}": one.values for i, one in enumerate(completed)},
        },
    }
    return {name: _save(_draw(panel, data, name), folder / f"{name}.png") for name, panel in panels.items()}


def draw_curves(workdir: Path) -> None:
    """Plot ELBO and KL over training, from ``metrics.jsonl``, into ``samples/curves.png``."""
    lines = read_metrics(workdir)
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("elbo_nats_per_sequence", "kl_nats_per_sequence"), strict=True):
        for split, style in (("train", {"alpha": 0.5}), ("valid", {"marker": "o", "markersize": 3})):
            found = [line for line in lines if line["split"] == split and line.get(name) is not None]
            points = [(line["step"], line[name]) for line in found]
            if points:
                axes.plot(*zip(*points, strict=True), label=split, **style)
        axes.set(xlabel="update", ylabel="nats per sequence", title="ELBO" if name.startswith("elbo") else "KL")
        axes.grid(alpha=0.3)
        axes.legend()
    (workdir / "samples").mkdir(exist_ok=True)
    _save(figure, workdir / "samples" / "curves.png")


def _half_hidden(targets: np.ndarray) -> np.ndarray:
    hidden = targets.astype(float)
    hidden[:, max(targets.shape[1] // 2, 1) :] = 0.5 if targets.ndim == 2 else 0.0
    return hidden


def _draw(panels: dict[str, np.ndarray], data: DataSet, name: str) -> Figure:
    """One row of pictures a panel; samples as square grids side by side."""
    if data.image_shape is not None and name == "samples":
        figure = Figure(figsize=(4 * len(panels), 4.3), layout="constrained")
        for axes, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
            side = max(int(len(values) ** 0.5), 1)
            tiles = [
                np.concatenate([_image(v, data) for v in values[r * side : (r + 1) * side]], 1) for r in range(side)
            ]
            _show(axes, np.concatenate(tiles, 0), title)
        return figure
    rows = list(panels.items())
    shown = min(8, min(len(values) for values in panels.values()))
    figure = Figure(figsize=(1.2 * shown + 1, 1.25 * len(rows) + 0.2), layout="constrained")
    grid = figure.subplots(len(rows), shown, squeeze=False)
    for axes_row, (title, values) in zip(grid, rows, strict=True):
        for axes, value in zip(axes_row, values[:shown], strict=True):
            if data.image_shape is not None:
                _show(axes, _image(value, data))
            elif value.ndim == 2 and data.normalisation is not None:
                axes.plot(value.ravel(), linewidth=0.4)
            else:
                axes.imshow(
                    np.atleast_2d(value).T, aspect="auto", cmap="gray_r", origin="lower", interpolation="nearest"
                )
            axes.set(xticks=[], yticks=[])
        axes_row[0].set_ylabel(title.replace(", ", ",\n").replace(" (", "\n("), fontsize=7)
    return figure


def _image(value: np.ndarray, data: DataSet) -> np.ndarray:
    assert data.image_shape is not None
    return np.pad(np.asarray(value, float).reshape(data.image_shape), 1, constant_values=0.3)


def _show(axes: Any, image: np.ndarray, title: str = "") -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[], title=title)


def _save(figure: Figure, path: Path) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    figure.savefig(path, dpi=120)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
