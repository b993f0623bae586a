"""Interpolate between the latents of two sequences, and write decoded points as JSON, a picture, sound or MIDI."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib.cli import UserError, warn
from experiments.lib.midi import write_midi
from experiments.lib.run_folder import RestoredRun, restore
from zf_jax import generation, plotting
from zf_jax.bounds.noise import seed_key
from zf_jax.data import pad
from zf_jax.density import Density


def interpolate(
    workdir: str,
    *,
    split: str = "valid",
    ends: tuple[int, int] | None = None,
    num_points: int = 11,
    seed: int = 0,
    checkpoint: str = "best",
    data_dir: str | None = None,
    out: str | None = None,
    report: Callable[[dict[str, Any]], None] = lambda result: None,
    run: RestoredRun | None = None,
) -> dict[str, Any]:
    """Interpolate between two sequences of a split, write ``workdir/interpolation``, and return the JSON's content.

    If the folder cannot be written, a warning is printed.

    Args:
      workdir: the folder of the run.
      split: the split of the two sequences.
      ends: the indices of the two sequences; None for two sequences of about median length that differ most.
      num_points: the number of points, with both ends.
      seed: the seed of the sampled decoding.
      checkpoint: ``best`` or ``latest``.
      data_dir: the folder of the data, if moved since training.
      out: the folder to write into instead of ``workdir/interpolation``.
      report: a function called with the result before writing.
      run: the run at its best checkpoint, if the caller has restored it already.

    Raises:
      UserError: the folder holds no run, the split has no such sequence, or the model has no latents.
    """
    run = restore(workdir, checkpoint, data_dir, run)
    model, data = run.experiment.model, run.experiment.data
    if model.latent_dim == 0 or isinstance(model, Density):
        raise UserError(f"{run.experiment.config.model.name} has no latents of steps to interpolate between")
    if model.observation.context_size:
        raise UserError(f"{data.name} has a context, and between two sequences there is none to decode with")
    if num_points < 2:
        raise UserError(f"--num_points must be at least 2, not {num_points}")
    source = data.split(split)
    first, last = _two_that_differ(source) if ends is None else ends
    for end in (first, last):
        if not 0 <= end < len(source):
            raise UserError(f"--ends must be between 0 and {len(source) - 1}, the sequences of {split}, not {end}")
    examples = [source[first], source[last]]
    lengths = [len(example.targets) for example in examples]
    batch = jax.tree.map(jnp.asarray, pad(examples, max(lengths)))
    weights = np.linspace(0.0, 1.0, num_points)
    opening = batch.inputs[0, 0] if data.protocol == "srnn" else None
    decoded = {
        name: jax.device_get(generation.interpolate(model, run.state.params, batch, weights, key, first=opening).values)
        for name, key in (("greedy", None), ("sampled", seed_key(seed)))
    }
    steps = [round((1 - w) * lengths[0] + w * lengths[1]) for w in weights]
    panels = {name: _cut(values, steps, data) for name, values in decoded.items()}
    real = [np.asarray(example.targets) for example in examples]
    result = {
        "split": split,
        "ends": [int(first), int(last)],
        "lengths": lengths,
        "weights": weights.tolist(),
        "joined": "past the end of the shorter sequence, the shorter sequence's latents are the prior's means",
        "step": int(run.state.step),
        "seed": seed,
    }
    if data.vocabulary is not None:
        text = {name: [data.detokenise(values) for values in found] for name, found in panels.items()}
        result |= {"real": [data.detokenise(values) for values in real], **text}
    elif data.normalisation is None:
        result |= {
            name: [np.asarray(values).astype(int).tolist() for values in found] for name, found in panels.items()
        }
    report(result)
    rows = {name: [real[0], *found, real[1]] for name, found in panels.items()}
    try:
        _write(result, rows, data, run.path / "interpolation" if out is None else Path(out))
    except OSError as error:
        warn(f"{error.filename or run.path} cannot be written: {error.strerror or error}; --out chooses another folder")
    return result


def _write(result: dict[str, Any], rows: dict[str, Any], data: Any, folder: Path) -> None:
    """Write the JSON, a picture, and sound or MIDI into a folder, and print the folder's name."""
    split = result["split"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    plotting.draw_rows(rows, data, folder / f"{split}.png", columns=len(result["weights"]) + 2)
    for name, found in rows.items():
        if data.sample_rate is not None:
            plotting.write_wav(found, data, folder / f"{split}_{name}.wav")
        if plotting.is_music(data):
            write_midi(found, folder / f"{split}_{name}.mid")
    print(f"{folder} holds the interpolation between {split} {result['ends']}")


def _two_that_differ(source: Any) -> tuple[int, int]:
    """Return the indices of a sequence of median length, and of the most different among 20 of similar length.

    Only the first hundred sequences are read.
    """
    lengths = np.asarray(source.lengths)[:100]
    near = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")[:20]
    one = np.asarray(source[int(near[0])].targets)

    def difference(index: int) -> float:
        other = np.asarray(source[int(index)].targets)
        steps = min(len(one), len(other))
        differs = one[:steps] != other[:steps] if other.ndim == 1 else np.abs(one[:steps] - other[:steps])
        return float(np.mean(differs))

    return int(near[0]), int(max(near, key=difference))


def _cut(values: np.ndarray, steps: list[int], data: Any) -> list[np.ndarray]:
    """Cut text at the first end of sentence, and other sequences at the interpolated length."""
    if data.vocabulary is None:
        return [row[:length] for row, length in zip(values, steps, strict=True)]
    end = data.vocabulary.index("<eos>")
    return [row[: np.flatnonzero(row == end)[0] + 1] if end in row else row for row in values]
