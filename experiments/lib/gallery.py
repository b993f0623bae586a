"""Draw samples, reconstructions and completions next to real sequences."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lib.context import context_of_steps
from experiments.lib.experiment import Experiment, prepared
from experiments.lib.midi import write_midi
from zf_jax import generation, plotting
from zf_jax.bounds.noise import seed_key
from zf_jax.data import pad
from zf_jax.data.description import DataDescription
from zf_jax.density import Density
from zf_jax.typing import Batch, Params

_COMPLETIONS = 3


def loudest(sequences: list[np.ndarray]) -> int:
    """Return the index of the sequence of the largest mean square: a spectrogram of silence shows nothing."""
    return int(np.argmax([np.mean(np.square(values)) for values in sequences]))


class Gallery:
    """Draw the same validation sequences next to samples of a model; the test split is not read."""

    def __init__(
        self,
        experiment: Experiment,
        count: int = 16,
        length: int = 0,
        temperature: float | None = None,
        greedy: bool = False,
    ):
        """Choose ``count`` validation sequences whose lengths are nearest to the median.

        Args:
          experiment: the model and the data.
          count: the number of sequences and of samples.
          length: steps per sample; 0 for the length of the longest chosen sequence.
          temperature: as for ``generation.sample``, for samples and completions.
          greedy: as for ``generation.sample``, for samples and completions.
        """
        self.data, self.experiment = experiment.data, experiment
        name = "valid_chunks" if "valid_chunks" in self.data.splits else "valid"
        source = self.data.split(name)
        lengths = np.asarray(source.lengths)[:1000]
        near = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")[:count]
        examples = [source[int(index)] for index in np.sort(near)]
        self.lengths = [len(example.targets) for example in examples]
        self.real = jax.tree.map(jnp.asarray, pad(examples, max(self.lengths)))
        longest = max(self.lengths)
        how = {"temperature": temperature, "greedy": greedy}
        self.given = max(min(self.lengths) // 2, 1)
        model, real, given = experiment.model, self.real, self.given
        # Under the srnn protocol a model is not trained on a start frame, so samples begin from real first frames.
        first = real.inputs[jnp.arange(count) % len(examples), 0] if self.data.protocol == "srnn" else None
        half = Batch(
            *(leaf[:, :given] for leaf in real[:4]),
            lengths=jnp.full_like(real.lengths, given),
            context=None if real.context is None else real.context[:, :given],
        )
        # Samples are drawn with the context of the real sequences beside which they are shown.
        beside = [examples[index % len(examples)] for index in range(count)]
        of_samples = context_of_steps(beside, [0] * count, length or longest)
        of_rest = context_of_steps(examples, [given] * len(examples), max(longest - given, 1))

        # Not one jax.jit: each function is compiled once for all galleries of a model, and the completions share one.
        def generate(params, key):
            keys = jax.random.split(key, 2 + _COMPLETIONS)
            completed = [
                generation.continue_prefix(
                    model, params, half, k, length=max(longest - given, 1), context=of_rest, **how
                )
                for k in keys[2:]
            ]
            return (
                generation.sample(
                    model,
                    params,
                    keys[0],
                    num_samples=count,
                    length=length or longest,
                    first=first,
                    context=of_samples,
                    **how,
                ),
                generation.reconstruct(model, params, real, keys[1]),
                completed,
            )

        @jax.jit
        def generate_whole(params, key):
            keys, completed = jax.random.split(key), []
            if model.completes:
                again = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * _COMPLETIONS), half)
                drawn = generation.continue_prefix(model, params, again, keys[1], length=longest - given, **how)
                each = [jnp.split(leaf, _COMPLETIONS) for leaf in drawn[:3]]
                completed = [generation.Generated(*leaves) for leaves in zip(*each, strict=True)]
            drawn = generation.sample(model, params, keys[0], num_samples=count, length=length or longest, **how)
            return drawn, None, completed

        self._generate = generate_whole if isinstance(model, Density) else generate

    def draw(self, params: Params, folder: Path, seed: int) -> dict[str, np.ndarray]:
        """Write pictures, samples.npz, and text, sound or MIDI into ``folder``; return pictures ``[H, W, 3]``."""
        params = prepared(self.experiment, params)
        samples, reconstructed, completed = jax.device_get(self._generate(params, seed_key(seed)))
        folder.mkdir(exist_ok=True)
        raw = DataDescription.of(self.data).to_own_unit
        arrays: dict[str, Any] = {"samples": raw(samples.values), "real": raw(self.real.targets)}
        if reconstructed is not None:
            arrays["reconstructions"] = raw(reconstructed.values)
        if completed:
            arrays["completions"] = np.stack([raw(one.values) for one in completed])
        np.savez(folder / "samples.npz", lengths=np.asarray(self.lengths), given=np.asarray(self.given), **arrays)
        real = self._cut(np.asarray(self.real.targets))
        drawn = self._cut_samples(samples.values)
        rows = {}
        if reconstructed is not None:
            mean = reconstructed.values if self.data.vocabulary is not None else reconstructed.mean
            rows["reconstructions"] = {"real": real, "reconstructed": self._cut(mean)}
        if completed:
            rows["completions"] = {
                "real": real,
                "given": [values[: self.given] for values in real],
                **{f"completed, draw {i + 1}": self._cut(one.values) for i, one in enumerate(completed)},
            }
        grids = {f"real {self.data.name}": real, "samples": drawn}
        images = {"samples": plotting.draw_grids(grids, self.data, folder / "samples.png")}
        for name, panels in rows.items():
            images[name] = plotting.draw_rows(panels, self.data, folder / f"{name}.png")
        if self.data.vocabulary is not None:
            for name, panels in {"samples": grids, **rows}.items():
                text = [
                    f"{title}: {self.data.detokenise(values)}"
                    for row in itertools.zip_longest(*panels.values())  # there may be more samples than real ones
                    for title, values in zip(panels, row, strict=True)
                    if values is not None
                ]
                (folder / f"{name}.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
        if self.data.sample_rate is not None:
            plotting.write_wav(drawn, self.data, folder / "samples.wav")
            plotting.write_wav(rows["reconstructions"]["reconstructed"], self.data, folder / "reconstructions.wav")
            completed_first = rows["completions"]["completed, draw 1"]
            plotting.write_wav(completed_first, self.data, folder / "completions.wav")
            loud = loudest([values[: self.given] for values in real])
            shown = {
                "real": real[loud],
                "reconstructed": rows["reconstructions"]["reconstructed"][loud],
                "first half real, rest drawn": completed_first[loud],
                "sampled": drawn[0],
            }
            plotting.draw_spectrograms([*shown.values()], self.data, folder / "spectrograms.png", [*shown])
        if plotting.is_music(self.data):
            write_midi(drawn[:4], folder / "samples.mid")
            write_midi(rows["completions"]["completed, draw 1"][:4], folder / "completions.mid")
        return images

    def _cut(self, values: np.ndarray) -> list[np.ndarray]:
        return [row[:length] for row, length in zip(values, self.lengths, strict=True)]

    def _cut_samples(self, values: np.ndarray) -> list[np.ndarray]:
        """Cut text at the first end of sentence, and images at the last pixel; other samples are not cut."""
        if self.data.vocabulary is None:
            return [row[: max(self.lengths)] for row in values] if self.data.image_shape is not None else list(values)
        end = self.data.vocabulary.index("<eos>")
        ends = [np.flatnonzero(row == end) for row in values]
        return [row[: at[0] + 1] if len(at) else row for row, at in zip(values, ends, strict=True)]
