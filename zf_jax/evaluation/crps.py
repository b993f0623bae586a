"""How well draws of a forecast fit what came: the CRPS, and how often intervals cover it."""

from __future__ import annotations

import numpy as np


def crps(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of each number, in its own unit; lower is better.

        E|X - y| - E|X - X'| / 2,   X and X' independent draws

    The second mean is over pairs of different draws, so that the score's mean does not depend on their number.

    Args:
      draws: ``[N, ...]``, N at least 2.
      truth: ``[...]``.

    Source: Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007; Ferro, "Fair scores
    for ensemble forecasts", 2014.
    """
    draws, number = np.sort(np.asarray(draws, np.float64), axis=0), len(draws)
    if number < 2:
        raise ValueError(f"the CRPS needs at least 2 draws, not {number}")
    # Of sorted draws, number i (from 0) is the larger one in i pairs and the smaller one in N - 1 - i.
    ranks = (2 * np.arange(number) - number + 1).reshape(-1, *[1] * np.ndim(truth))
    apart = 2 * np.sum(ranks * draws, axis=0) / (number * (number - 1))
    return np.mean(np.abs(draws - truth), axis=0) - apart / 2


def covered(draws: np.ndarray, truth: np.ndarray, level: float) -> np.ndarray:
    """Return whether each number lies in the central interval of its draws, ``[...]``.

    Args:
      draws: ``[N, ...]``.
      truth: ``[...]``.
      level: the share of the draws between the interval's ends, 0.9 for those from the 5th to the 95th percentile.
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return (low <= truth) & (truth <= high)
