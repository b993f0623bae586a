"""Figures of every sequence of a split, and their means with standard errors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np


class Totals(NamedTuple):
    """Per-sequence figures of a whole split, in the order of the split.

    Attributes:
      bound: ``[N]`` nats.
      kl: ``[N]`` nats.
      lengths: ``[N]`` steps.
      small_scales: ``[N]``, the share of a density's scales below one quantisation step, where that was asked for.
      num_resampled: ``[N]``, the steps at which a particle filter resampled, where there was one.
    """

    bound: np.ndarray
    kl: np.ndarray
    lengths: np.ndarray
    small_scales: np.ndarray | None = None
    num_resampled: np.ndarray | None = None


def ratio_of_sums(values: np.ndarray, weights: np.ndarray | None = None) -> tuple[Any, Any]:
    """sum_i values_i / sum_i weights_i over N sequences and its standard error, ``[...]`` each, of values ``[N, ...]``.

    Sequences are drawn, not steps: of a figure per step both sums vary with the draw.  The error is the delta method's,
    the standard deviation of values_i - ratio * weights_i over sqrt(N) and the mean weight; with the weights ``[N]``
    left out they are 1, and it is the mean's s / sqrt(N).  It is NaN over one sequence.
    """
    values = np.asarray(values, np.float64)
    count = len(values)
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    weights = weights.reshape((count,) + (1,) * (values.ndim - 1))
    ratio = values.sum(axis=0) / weights.sum(axis=0)
    if count < 2:
        return ratio, np.full_like(ratio, np.nan)
    return ratio, (values - ratio * weights).std(axis=0, ddof=1) / math.sqrt(count) / weights.mean(axis=0)


def with_stderr(name: str, values: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float | None]:
    """``ratio_of_sums`` of ``[N]`` by name: ``{name: ..., name_stderr: ...}``, the error None over one sequence."""
    ratio, error = ratio_of_sums(values, weights)
    return {name: float(ratio), f"{name}_stderr": float(error) if len(values) > 1 else None}
