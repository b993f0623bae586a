"""Report log-likelihoods in nats, bits and perplexity."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from zf_jax.data import DataSet
from zf_jax.data.description import DataDescription
from zf_jax.density import Density
from zf_jax.evaluation.statistics import Totals, with_stderr
from zf_jax.models.base import Model


class Units(NamedTuple):
    """Conversion from nats in the model's units to the units of reports.

    Attributes:
      element: the name of one step: "pixel", "frame", "word".
      perplexity: whether to report perplexity, as for words.
      frame_size: D of a real-valued frame, 0 for discrete data.
      std: the training standard deviation that real data were divided by, in raw units, or that of each dimension; None
        for discrete likelihoods, which do not change with the unit.
      integers: whether the raw data are integers, so that bits per sample are defined.
      quantisation_step: one integer step in the model's units; None if the data are not integers, or not known to be.
    """

    element: str = "step"
    perplexity: bool = False
    frame_size: int = 0
    std: float | tuple[float, ...] | None = None
    integers: bool = False
    quantisation_step: float | None = None

    def under(self, is_density: bool) -> Units:
        """Return the units for a density, or for probabilities, which do not change with the unit of the data."""
        return self if is_density else self._replace(std=None, quantisation_step=None)


def units_of(data: DataSet | DataDescription, model: Model | Density | None = None) -> Units:
    """Return how log-likelihoods of these data compare: those of ``model``, or of any density if there is none."""
    continuous = data.normalisation is not None
    std = None if data.normalisation is None else data.normalisation["std"]
    found = Units(
        element=data.units,
        perplexity=data.vocabulary is not None,
        frame_size=data.observation.size if continuous else 0,
        std=tuple(std) if isinstance(std, list) else std,
        integers=data.quantisation_step is not None,
        quantisation_step=data.quantisation_step,
    )
    return found if model is None else found.under(model.emission.is_density)


def summarise(totals: Totals, units: Units = Units()) -> dict[str, Any]:
    """Average over sequences and convert to all units that apply; standard errors are ``<name>_stderr``.

    ``nats_per_sequence`` is the mean bound, higher is better.  ``perplexity`` is exp(minus the total bound / total
    words) over the corpus (rule A13).  ``raw_nats_per_sequence`` undoes the normalisation: minus log std, that of its
    dimension, for every observed number.  ``bits_per_sample`` is minus the raw log-likelihood in bits per integer
    sample; unless the emission is discretised, both are of a density (rule A11).  If elements may be missing,
    ``nats_per_step`` and ``perplexity`` are per step of which something was observed, ``nats_per_sample`` and
    ``bits_per_sample`` per observed number; the KL, which every step has, per step.

    Standard errors are over the draw of sequences, and include the noise of the bound, which is independent between
    sequences: see ``ratio_of_sums``.  For one sequence standard errors are None.
    """
    bound, steps = totals.bound.astype(np.float64), totals.lengths.astype(np.float64)
    scored = steps if totals.observed_steps is None else totals.observed_steps.astype(np.float64)
    result: dict[str, Any] = {
        "num_sequences": len(bound),
        f"num_{units.element}s": int(totals.lengths.sum()),
        **with_stderr("nats_per_sequence", bound),
        **with_stderr("nats_per_step", bound, scored),
        **with_stderr("kl_nats_per_sequence", totals.kl),
        **with_stderr("kl_nats_per_step", totals.kl, steps),
    }
    if totals.observed_steps is not None and totals.observed_elements is not None:
        result[f"num_observed_{units.element}s"] = int(totals.observed_steps.sum())
        result["num_observed_elements"] = int(totals.observed_elements.sum())
    if totals.num_resampled is not None:
        result |= with_stderr("resampled_steps_per_sequence", totals.num_resampled)
    if units.perplexity:
        perplexity, error = math.exp(min(-result["nats_per_step"], 700.0)), result["nats_per_step_stderr"]
        # The derivative of exp is exp.
        result |= {"perplexity": perplexity, "perplexity_stderr": None if error is None else perplexity * error}
    if units.frame_size:
        samples = totals.samples(units.frame_size).astype(np.float64)
        raw = bound - totals.log_volume(units.frame_size, units.std or 1.0)
        result |= with_stderr("raw_nats_per_sequence", raw) | with_stderr("nats_per_sample", bound, samples)
        if totals.small_scale_share is not None:
            result |= with_stderr("share_of_scales_below_one_step", totals.small_scale_share * steps, steps)
        if units.integers:
            result |= with_stderr("bits_per_sample", -raw / math.log(2.0), samples)
    return result
