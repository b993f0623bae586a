"""Scores of forecasts against what came, and of other forecasts of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.lib.cli import UserError
from zf_jax.evaluation.crps import covered, crps
from zf_jax.evaluation.seasonal import drawn_from_given, seasonal_naive


class Forecasts(NamedTuple):
    """What was drawn after each beginning, and what came, in the data's own unit.

    Attributes:
      places: index of each sequence in the split.
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


def scores(found: Forecasts, columns: Sequence[str] | None = None, *, binary: bool = False) -> dict[str, Any]:
    """Return the CRPS and the coverage: the means over all numbers that came, and by step ahead and dimension.

    Args:
      columns: what the dimensions of a frame are called; None gives no means by dimension.
      binary: whether the data have two values, of which the central interval nearly always holds both: no coverage.
    """
    draws = np.moveaxis(found.draws, 1, 0).astype(np.float64)
    truth, came = found.truth, np.isfinite(found.truth)
    each = np.where(came, crps(draws, np.where(came, truth, 0.0)), np.nan)
    result: dict[str, Any] = {
        "crps": float(np.nanmean(each)),
        "crps_by_step": _nanmean(each, (0, *range(2, each.ndim))).tolist(),
    }
    result |= _by_column("crps", each, columns)
    for level in () if binary else (50, 90):
        inside = np.where(came, covered(draws, np.where(came, truth, 0.0), level / 100), np.nan)
        result[f"coverage_{level}"] = float(np.nanmean(inside))
        result |= _by_column(f"coverage_{level}", inside, columns)
    return result


def _by_column(name: str, each: np.ndarray, columns: Sequence[str] | None) -> dict[str, dict[str, float]]:
    """Return the mean of each dimension of ``[B, k, D]`` by its name; nothing without names."""
    if columns is None or each.ndim < 3:
        return {}
    return {f"{name}_by_column": dict(zip(columns, _nanmean(each, (0, 1)).tolist(), strict=True))}


def beside_given(found: Forecasts, seed: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the scores of draws from the numbers of each beginning, and the model's CRPS of the same numbers."""
    _, number, steps, *_ = found.draws.shape
    rows = enumerate(found.given)
    drawn = [drawn_from_given(row, steps=steps, num_samples=number, seed=seed + place) for place, row in rows]
    return {"drawn_from_given": _compared(found, np.stack(drawn), columns)}


def beside_season(
    found: Forecasts, season: int, seed: int, columns: Sequence[str] | None = None, *, binary: bool = False
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
    return {"seasonal_naive": {"season": season} | _compared(found, np.stack(naive), columns, binary)}


def _compared(
    found: Forecasts, other: np.ndarray, columns: Sequence[str] | None, binary: bool = False
) -> dict[str, Any]:
    """The scores of other draws, where there are some, and the model's CRPS of the same numbers."""
    truth = np.where(np.isfinite(other).all(axis=1), found.truth, np.nan)
    if not np.isfinite(truth).any():
        return {"num_compared": 0}
    figures = scores(found._replace(draws=other, truth=truth), columns, binary=binary)
    figures.pop("crps_by_step")
    of_model = scores(found._replace(truth=truth), binary=binary)["crps"]
    return {"num_compared": int(np.isfinite(truth).sum()), "crps_of_model": of_model} | figures


def token_scores(found: Forecasts) -> dict[str, Any]:
    """Return the share of draws that are the token that came, of all and by step ahead."""
    came = found.truth >= 0
    right = np.where(came, np.mean(found.draws == found.truth[:, None], axis=1), np.nan)
    return {
        "share_of_draws_right": float(np.nanmean(right)),
        "share_of_draws_right_by_step": _nanmean(right, (0,)).tolist(),
    }


def _nanmean(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return means over axes, NaN where all values are NaN, without numpy's warning of that."""
    number = np.isfinite(values).sum(axis=axes)
    return np.where(number > 0, np.nansum(values, axis=axes) / np.maximum(number, 1), np.nan)
