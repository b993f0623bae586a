"""Per-sequence results of a split, and means with standard errors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from zf_jax.typing import is_observed


class Totals(NamedTuple):
    """Per-sequence results of a whole split, in the order of the split.

    Attributes:
      bound: ``[N]`` nats.
      kl: ``[N]`` nats.
      lengths: ``[N]`` steps.
      small_scale_share: ``[N]``, the share of a density's scales below one quantisation step; None if not computed.
      num_resampled: ``[N]``, the number of steps with resampling; None for bounds other than the particle bound.
      observed_steps: ``[N]``, steps of which something was observed; None if nothing can be missing.
      observed_by_dimension: ``[N, D]``, how many numbers of each dimension were observed, or tokens with D = 1; None if
        nothing can be missing.
    """

    bound: np.ndarray
    kl: np.ndarray
    lengths: np.ndarray
    small_scale_share: np.ndarray | None = None
    num_resampled: np.ndarray | None = None
    observed_steps: np.ndarray | None = None
    observed_by_dimension: np.ndarray | None = None

    @property
    def observed_elements(self) -> np.ndarray | None:
        """Tokens or numbers of each sequence that were observed, ``[N]``; None if nothing can be missing."""
        return None if self.observed_by_dimension is None else self.observed_by_dimension.sum(axis=1)

    def samples(self, frame_size: int) -> np.ndarray:
        """Return the number of observed numbers of each sequence of frames, ``[N]``."""
        return self.lengths * frame_size if self.observed_elements is None else self.observed_elements

    def log_volume(self, frame_size: int, std: float | tuple[float, ...]) -> np.ndarray:
        """Return the sum of log std over the observed numbers of each sequence, ``[N]``; ``std`` of all or of each."""
        if isinstance(std, tuple):
            ones = self.lengths[:, None] * np.ones(frame_size, np.int64)
            return (ones if self.observed_by_dimension is None else self.observed_by_dimension) @ np.log(std)
        return self.samples(frame_size).astype(np.float64) * math.log(std)


def count_observed(targets: Any, mask: Any) -> dict[str, Any]:
    """Return how many steps of each row have an observed element ``[B]``, and how many elements of each dimension."""
    present = is_observed(targets).reshape(*mask.shape, -1) & (mask > 0)[..., None]
    return {"observed_steps": present.any(axis=2).sum(axis=1), "observed_by_dimension": present.sum(axis=1)}


def ratio_of_sums(values: np.ndarray, weights: np.ndarray | None = None) -> tuple[Any, Any]:
    """Return sum_i values_i / sum_i weights_i over N sequences, and the standard error: ``[...]`` each.

    The sampling unit is the sequence, so that in a mean per step both sums are random.  The standard error is by the
    delta method: the standard deviation of values_i - ratio * weights_i, divided by sqrt(N) and the mean weight.
    Without weights the standard error is s / sqrt(N).  For one sequence the standard error is NaN.

    Args:
      values: ``[N, ...]``.
      weights: ``[N]``; 1 by default.
    """
    values = np.asarray(values, np.float64)
    count = len(values)
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    weights = weights.reshape((count,) + (1,) * (values.ndim - 1))
    total = weights.sum(axis=0)
    if not np.all(total > 0):  # nothing was observed: no mean
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing
    ratio = values.sum(axis=0) / total
    if count < 2:
        return ratio, np.full_like(ratio, np.nan)
    return ratio, (values - ratio * weights).std(axis=0, ddof=1) / math.sqrt(count) / weights.mean(axis=0)


def with_stderr(name: str, values: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float | None]:
    """Return ``ratio_of_sums`` as ``{name: ..., name_stderr: ...}``, with stderr None for one sequence."""
    ratio, error = ratio_of_sums(values, weights)
    return {name: float(ratio), f"{name}_stderr": float(error) if len(values) > 1 else None}
