"""Forecast a series by its own past: baselines that a model must clear."""

from __future__ import annotations

import numpy as np


def drawn_from_given(given: np.ndarray, *, steps: int, num_samples: int = 100, seed: int = 0) -> np.ndarray:
    """Draw what follows a series from the numbers of the series, each dimension from its own, whatever their order.

    Of changes over a season this is the seasonal naive forecast of what changes.

    Args:
      given: ``[S]`` or ``[S, D]``, NaN where a number was not observed.
      steps: k, how many to draw.
      num_samples: N.
      seed: of the draws.

    Returns:
      ``[N, k]`` or ``[N, k, D]``; NaN where no number of the dimension was observed.
    """
    if min(steps, num_samples) < 1:
        raise ValueError(f"steps and num_samples must be at least 1, not {steps} and {num_samples}")
    series = np.asarray(given, np.float64)
    rng = np.random.default_rng(seed)
    drawn = np.full((num_samples, steps, series[:1].size), np.nan)
    for dimension, column in enumerate(series.reshape(len(series), -1).T):
        seen = column[np.isfinite(column)]
        if seen.size:
            drawn[:, :, dimension] = rng.choice(seen, (num_samples, steps))
    return drawn.reshape(num_samples, steps, *series.shape[1:])


def seasonal_naive(given: np.ndarray, *, steps: int, season: int, num_samples: int = 100, seed: int = 0) -> np.ndarray:
    """Draw what follows a series: the number that stood there a season before, plus a change drawn from those seen.

        y_t = y_{t-m} + e_t,   m the season, e_t drawn from the y_s - y_{s-m} of the same dimension of ``given``

    Steps beyond a season add up as many changes as seasons passed; where the number a season before was not observed,
    the one of a season earlier is taken, likewise.

    Args:
      given: ``[S]`` or ``[S, D]``, NaN where a number was not observed.
      steps: k, how many to draw.
      season: m, in steps.
      num_samples: N.
      seed: of the draws.

    Returns:
      ``[N, k]`` or ``[N, k, D]``; NaN where ``given`` has no number in that place of the season, or no change.
    """
    if min(steps, season, num_samples) < 1:
        raise ValueError(f"steps, season and num_samples must be at least 1, not {steps}, {season}, {num_samples}")
    series = np.asarray(given, np.float64)
    columns = series.reshape(len(series), -1)
    changes = columns[season:] - columns[:-season]
    drawn = np.full((num_samples, steps, columns.shape[1]), np.nan)
    rng = np.random.default_rng(seed)
    for dimension, column in enumerate(columns.T):
        seen = changes[np.isfinite(changes[:, dimension]), dimension]
        if not seen.size:
            continue
        for step in range(steps):
            before = np.arange(len(column) + step, -1, -season)[1:]  # the places a season before, two, ...
            passed = next((k for k, at in enumerate(before, 1) if at < len(column) and np.isfinite(column[at])), 0)
            if passed:
                change = rng.choice(seen, (num_samples, passed)).sum(axis=1)
                drawn[:, step, dimension] = column[before[passed - 1]] + change
    return drawn.reshape(num_samples, steps, *series.shape[1:])
