"""Write forecasts: arrays, a table, and a fan chart; of tokens without an order the draws."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lib.forecast_scores import Forecasts
from experiments.lib.output_files import replaced
from zf_jax import plotting
from zf_jax.data.description import DataDescription

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def is_ordered(data: DataDescription) -> bool:
    """Return whether the elements are numbers, two tokens being the numbers 0 and 1."""
    return data.observation.kind == "frames" or data.observation.size == 2


def write_forecasts(data: DataDescription, found: Forecasts, path: Path, *, scored: bool = True) -> None:
    """Write forecasts as ``path`` with the suffixes .npz, .csv and .png, or .npz and, of text, .txt.

    Args:
      scored: whether something came that they can be held against, which is then written too.
    """
    arrays: dict[str, Any] = {"index": found.places, "given": np.array([len(begun) for begun in found.given])}
    if scored:
        arrays["truth"] = found.truth
    if found.names is not None:
        arrays["names"] = np.array(found.names)
    if not is_ordered(data):
        with replaced(path.with_suffix(".npz")) as unfinished:
            np.savez(unfinished, **arrays, draws=found.draws)
        if data.vocabulary is not None:
            lines = []
            for place, begun, drawn in zip(found.places, found.given, found.draws, strict=True):
                lines.append(f"{place} given: {data.detokenise(begun)}")
                lines += [f"{place} then: {data.detokenise(row)}" for row in drawn[:3]]
            with replaced(path.with_suffix(".txt")) as unfinished:
                unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    mean, quantiles = found.draws.mean(axis=1), np.quantile(found.draws, QUANTILES, axis=1)
    with replaced(path.with_suffix(".npz")) as unfinished:
        np.savez(unfinished, **arrays, mean=mean, quantiles=quantiles, levels=np.array(QUANTILES))
    with (
        replaced(path.with_suffix(".csv")) as unfinished,
        open(unfinished, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        truth_column = ["truth"] if scored else []
        writer.writerow(["index", "name", "ahead", "dimension", "mean", *(f"q{q:g}" for q in QUANTILES), *truth_column])
        for row, step, *rest in np.ndindex(mean.shape):
            at = (row, step, *rest)
            came = ["" if np.isnan(found.truth[at]) else found.truth[at]] if scored else []
            writer.writerow(
                [
                    found.places[row],
                    "" if found.names is None else found.names[row],
                    step + 1,
                    0 if not rest else rest[0] if data.columns is None else data.columns[rest[0]],
                    mean[at],
                    *quantiles[(slice(None), *at)],
                    *came,
                ]
            )
    titles = found.names or [str(place) for place in found.places]
    fans = [
        plotting.Fan(titles[row], found.given[row], found.truth[row], quantiles[:, row]) for row in range(len(mean))
    ]
    with replaced(path.with_suffix(".png")) as unfinished:
        plotting.draw_fans(fans[:4], data, unfinished)
