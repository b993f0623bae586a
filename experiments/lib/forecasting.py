"""A run and the beginnings of sequences in, draws of what follows and their scores out."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.lib.cli import UserError, finite, progress, warn, write_json
from experiments.lib.context import context_of_steps
from experiments.lib.sequence_scoring import opened_run, sequences
from zf_jax import plotting
from zf_jax.bounds.noise import seed_key
from zf_jax.data import pad, subsample
from zf_jax.data.sources import names_of
from zf_jax.density import Density
from zf_jax.evaluation.crps import covered, crps
from zf_jax.evaluation.forecast import forecast
from zf_jax.evaluation.seasonal import drawn_from_given, seasonal_naive
from zf_jax.evaluation.units import summarise
from zf_jax.memory import physical_memory
from zf_jax.protocols import Example, Source
from zf_jax.runs.open import Run
from zf_jax.typing import is_observed

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_ROWS = 16  # sequences at once


class Forecasts(NamedTuple):
    """What was drawn after each beginning, and what came, in the data's own unit.

    Attributes:
      places: index of each sequence in the source.
      names: of the sequences; None where the data keep none.
      given: the beginnings, one array ``[S_i]`` or ``[S_i, D]`` each.
      draws: ``[B, N, k]`` or ``[B, N, k, D]``.
      truth: ``[B, k]`` or ``[B, k, D]``; behind a sequence's end NaN, or -1 for tokens without an order.
    """

    places: np.ndarray
    names: list[str] | None
    given: list[np.ndarray]
    draws: np.ndarray
    truth: np.ndarray


def forecast_run(
    workdir: str,
    *,
    prefix: int | float,
    steps: int,
    split: str | None = None,
    data_dir: str | None = None,
    num_sequences: int = 64,
    num_samples: int = 100,
    num_particles: int = 100,
    season: int = 0,
    seed: int = 0,
    checkpoint: str = "best",
    out: str | None = None,
    report: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Forecast sequences of a split, write what was drawn into ``workdir/forecast``, and return the scores.

    A folder that cannot be written costs a warning.

    Args:
      prefix: steps given of each sequence, or their share if below 1.
      steps: to forecast.
      season: steps of a season, to hold the seasonal naive forecast of the same numbers beside the model's; 0 does not.
      out: the folder to write into in place of ``workdir/forecast``.
      report: called with the scores before anything is written.

    Raises:
      UserError, RunError, DataError: as for ``sequence_scoring.score``; no sequence is longer than the prefix.
    """
    run = opened_run(workdir, checkpoint, data_dir)
    if isinstance(run.model, Density):
        raise UserError(f"{run.config['model']['name']} is a density of whole items, which has no steps to forecast")
    if season and run.data.normalisation is None:
        raise UserError(f"--season={season} needs data of real numbers: leave it out")
    source = subsample(sequences(run, split, data_dir), num_sequences)
    found = draw(run, source, prefix, steps, num_samples, num_particles, seed)
    bound = run.score(source, seed=seed)
    result: dict[str, Any] = {
        "split": split or ("test" if data_dir is None else "all"),
        "prefix": prefix,
        "steps": found.truth.shape[1],
        "num_sequences": len(found.places),
        "too_short": len(source) - len(found.places),
        "num_samples": num_samples,
        "num_particles": num_particles,
        "elbo_nats_per_step": summarise(bound.totals)["nats_per_step"],
        **(scores(found, run.data.columns) if _is_ordered(run) else token_scores(found)),
        **(beside_given(found, seed, run.data.columns) if run.data.normalisation is not None else {}),
        **(beside_season(found, season, seed, run.data.columns) if season else {}),
        "model": run.config["model"]["name"],
        "data": run.data.name,
        "step": run.step,
        "seed": seed,
    }
    result = finite(result)
    report(result)
    folder = run.path / "forecast" if out is None else Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{result['split']}.json", result)
        _write(run, found, folder / result["split"])
    except OSError as error:
        warn(f"{error.filename or folder} cannot be written: {error.strerror or error}; --out chooses another folder")
    return result


def draw(
    run: Any, source: Source, prefix: int | float, steps: int, num_samples: int, num_particles: int, seed: int
) -> Forecasts:
    """Draw what follows the beginning of every sequence that is longer than it."""
    lengths = np.asarray(source.lengths)
    given = np.full(len(lengths), prefix) if prefix >= 1 else np.maximum(1, (prefix * lengths).astype(int))
    given = given.astype(int)
    places = np.flatnonzero(lengths > given)
    if not places.size:
        raise UserError(f"--prefix={prefix} leaves nothing to forecast: the longest sequence has {lengths.max()} steps")
    longest = int(given[places].max())
    most = int((lengths - given).max())
    if steps > most:
        warn(f"--steps={steps}: at most {most} steps follow a prefix in these data, and are forecast")
    steps = min(steps, most)
    size = run.data.observation.size if run.data.observation.kind == "frames" else 1
    needed, there = 8 * len(places) * num_samples * steps * size, physical_memory()
    if needed > there:
        raise UserError(
            f"--num_samples={num_samples} draws of {steps} steps of {len(places)} sequences take {needed:,} bytes, and "
            f"the memory has {there:,}: forecast fewer"
        )
    missing, number = (np.nan, float) if _is_ordered(run) else (-1, int)
    key, draws, truths, begun = seed_key(seed), [], [], []
    for first in progress(range(0, len(places), _ROWS)):
        rows = places[first : first + _ROWS]
        examples = [source[int(row)] for row in rows]
        cut = [_cut(example, int(given[row])) for example, row in zip(examples, rows, strict=True)]
        filled = [*cut, *[cut[0]] * (_ROWS - len(cut))]  # one compiled shape
        context = context_of_steps(examples, given[rows].tolist(), steps)  # of the future, which is given
        keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(np.resize(rows, _ROWS).astype(np.uint32))
        drawn = forecast(
            run.model,
            run.params,
            pad(filled, longest),
            keys,
            context=None if context is None else np.resize(context, (_ROWS, *context.shape[1:])),
            length=steps,
            num_samples=num_samples,
            num_particles=num_particles,
            chunk_size=1,
        )
        draws.append(run.data.to_own_unit(jax.device_get(drawn)[: len(rows)]))
        for example, row in zip(examples, rows, strict=True):
            targets = example.targets[given[row] : given[row] + steps]
            came = run.data.to_own_unit(targets)
            truth = np.full((steps, *came.shape[1:]), missing, number)
            truth[: len(came)] = np.where(is_observed(targets), came, missing)
            truths.append(truth)
            begun.append(run.data.to_own_unit(example.targets[: given[row]]))
    names = names_of(source)
    return Forecasts(
        places, None if names is None else [names[p] for p in places], begun, np.concatenate(draws), np.stack(truths)
    )


def scores(found: Forecasts, columns: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the CRPS and the coverage, of all numbers that came, and the CRPS by step ahead and by named column."""
    draws = np.moveaxis(found.draws, 1, 0).astype(np.float64)
    truth, came = found.truth, np.isfinite(found.truth)
    each = np.where(came, crps(draws, np.where(came, truth, 0.0)), np.nan)
    axes = (0, *range(2, each.ndim))
    result: dict[str, Any] = {
        "crps": float(np.nanmean(each)),
        "crps_by_step": [float(x) for x in _nanmean(each, axes)],
    }
    if columns is not None:
        by_column = _nanmean(each, tuple(range(each.ndim - 1)))
        result["crps_by_column"] = dict(zip(columns, by_column.tolist(), strict=True))
    if np.isin(truth[came], (0, 1)).all():
        return result  # of two values the central interval nearly always holds both
    for level in (0.5, 0.9):
        inside = np.where(came, covered(draws, np.where(came, truth, 0.0), level), np.nan)
        result[f"coverage_{level:.0%}".replace("%", "")] = float(np.nanmean(inside))
    return result


def beside_given(found: Forecasts, seed: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the scores of draws from the numbers of each beginning, and the model's CRPS of the same numbers."""
    _, number, steps, *_ = found.draws.shape
    rows = enumerate(found.given)
    drawn = [drawn_from_given(row, steps=steps, num_samples=number, seed=seed + place) for place, row in rows]
    return {"drawn_from_given": _compared(found, np.stack(drawn), columns)}


def beside_season(
    found: Forecasts, season: int, seed: int, columns: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the scores of the seasonal naive forecast, and the model's CRPS of the same numbers.

    Raises:
      UserError: the beginnings are too short for a season.
    """
    _, number, steps, *_ = found.draws.shape
    rows = enumerate(found.given)
    naive = [
        seasonal_naive(row, steps=steps, season=season, num_samples=number, seed=seed + place) for place, row in rows
    ]
    if np.isnan(np.stack(naive)).all():
        longest = max(map(len, found.given))
        raise UserError(f"--season={season} has no change over a season in beginnings of {longest} steps: give more")
    return {"seasonal_naive": {"season": season} | _compared(found, np.stack(naive), columns)}


def _compared(found: Forecasts, other: np.ndarray, columns: Sequence[str] | None) -> dict[str, Any]:
    """The scores of other draws, where there are some, and the model's CRPS of the same numbers."""
    truth = np.where(np.isfinite(other).all(axis=1), found.truth, np.nan)
    if not np.isfinite(truth).any():
        return {"num_compared": 0}
    figures = scores(found._replace(draws=other, truth=truth), columns)
    figures.pop("crps_by_step")
    of_model = scores(found._replace(truth=truth))["crps"]
    return {"num_compared": int(np.isfinite(truth).sum()), "crps_of_model": of_model} | figures


def token_scores(found: Forecasts) -> dict[str, Any]:
    """Return the share of draws that are the token that came, of all and by step ahead."""
    came = found.truth >= 0
    right = np.where(came, np.mean(found.draws == found.truth[:, None], axis=1), np.nan)
    return {
        "share_of_draws_right": float(np.nanmean(right)),
        "share_of_draws_right_by_step": [float(x) for x in _nanmean(right, (0,))],
    }


def _nanmean(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    number = np.isfinite(values).sum(axis=axes)
    return np.where(number > 0, np.nansum(values, axis=axes) / np.maximum(number, 1), np.nan)


def _is_ordered(run: Run) -> bool:
    return run.data.observation.kind == "frames" or run.data.observation.size == 2


def _cut(example: Example, length: int) -> Example:
    context = None if example.context is None else example.context[:length]
    return Example(example.inputs[:length], example.targets[:length], example.input_mask[:length], context)


def _write(run: Run, found: Forecasts, path: Path) -> None:
    arrays: dict[str, Any] = {
        "index": found.places,
        "given": np.array([len(begun) for begun in found.given]),
        "truth": found.truth,
    }
    if found.names is not None:
        arrays["names"] = np.array(found.names)
    if not _is_ordered(run):
        np.savez(path.with_suffix(".npz"), **arrays, draws=found.draws)
        if run.data.vocabulary is not None:
            lines = []
            for place, begun, drawn in zip(found.places, found.given, found.draws, strict=True):
                lines.append(f"{place} given: {run.data.detokenise(begun)}")
                lines += [f"{place} then: {run.data.detokenise(row)}" for row in drawn[:3]]
            path.with_suffix(".txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    mean, quantiles = found.draws.mean(axis=1), np.quantile(found.draws, QUANTILES, axis=1)
    np.savez(path.with_suffix(".npz"), **arrays, mean=mean, quantiles=quantiles, levels=np.array(QUANTILES))
    with open(path.with_suffix(".csv"), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "name", "ahead", "dimension", "mean", *(f"q{q:g}" for q in QUANTILES), "truth"])
        for row, step, *rest in np.ndindex(mean.shape):
            at = (row, step, *rest)
            truth = found.truth[at]
            writer.writerow(
                [
                    found.places[row],
                    "" if found.names is None else found.names[row],
                    step + 1,
                    0 if not rest else rest[0] if run.data.columns is None else run.data.columns[rest[0]],
                    mean[at],
                    *quantiles[(slice(None), *at)],
                    "" if np.isnan(truth) else truth,
                ]
            )
    titles = found.names or [str(place) for place in found.places]
    fans = [
        plotting.Fan(titles[row], found.given[row], found.truth[row], quantiles[:, row]) for row in range(len(mean))
    ]
    plotting.draw_fans(fans[:4], run.data, path.with_suffix(".png"))
