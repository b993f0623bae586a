"""A split in, exact sums and counts out, in every unit that applies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from zf_jax.sharding import global_batch, to_host
from zf_jax.typing import Array, Batch, Params


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


class Units(NamedTuple):
    """What turns nats in the model's units into the units people compare.

    Attributes:
      element: what one step is called: "pixel", "frame", "word".
      perplexity: whether a step is a word.
      frame_size: D of a real-valued frame, 0 for discrete data.
      std: the training standard deviation that real data were divided by, in raw units; None for discrete
        likelihoods, which do not change with the unit.
      integers: whether the raw data are integers, so that bits per sample mean something.
    """

    element: str = "step"
    perplexity: bool = False
    frame_size: int = 0
    std: float | None = None
    integers: bool = False


def evaluate_split(
    eval_step: Callable[[Params, Batch, Array, Array], dict[str, Array]],
    params: Params,
    batches: Iterable[tuple[np.ndarray, Batch]],
    key: Array,
    mesh: Mesh,
) -> Totals:
    """Run a compiled bound over every sequence once; rows of length 0 only fill a batch and are left out (rule A8)."""
    found: dict[str, list[np.ndarray]] = {}
    for indices, batch in batches:
        # A filler's index is -1; any key will do for a row that is not counted.
        rows = global_batch((batch, np.maximum(indices, 0).astype(np.uint32), indices), mesh)
        result = eval_step(params, rows[0], key, rows[1])
        host = to_host({**result, "lengths": rows[0].lengths, "indices": rows[2]})
        for name, values in host.items():
            found.setdefault(name, []).append(np.asarray(values))
    joined = {name: np.concatenate(values) for name, values in found.items()}
    indices = joined.pop("indices")
    order = np.argsort(indices, kind="stable")[np.count_nonzero(indices < 0) :]
    return Totals(**{name: values[order] for name, values in joined.items()})


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


def figure(name: str, values: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float | None]:
    """``ratio_of_sums`` of ``[N]`` by name: ``{name: ..., name_stderr: ...}``, the error None over one sequence."""
    ratio, error = ratio_of_sums(values, weights)
    return {name: float(ratio), f"{name}_stderr": float(error) if len(values) > 1 else None}


def summarise(totals: Totals, units: Units = Units()) -> dict[str, Any]:
    """Averages over sequences, and the same figure in the other units; each with its standard error, ``<name>_stderr``.

    ``nats_per_sequence`` is the mean bound, higher is better; ``perplexity`` is exp(minus the total bound / total
    words) over the corpus (rule A13); ``raw_nats_per_sequence`` undoes the normalisation, and ``bits_per_sample`` is
    its negative in bits for each integer sample; of a density unless the emission is discretised (rule A11).

    The errors are over the draw of sequences, the noise of the bound's samples included, as every sequence has its
    own: see ``ratio_of_sums``.  They are None for a single sequence.
    """
    bound, steps = totals.bound.astype(np.float64), totals.lengths.astype(np.float64)
    result: dict[str, Any] = {
        "num_sequences": len(bound),
        f"num_{units.element}s": int(totals.lengths.sum()),
        **figure("nats_per_sequence", bound),
        **figure("nats_per_step", bound, steps),
        **figure("kl_nats_per_sequence", totals.kl),
        **figure("kl_nats_per_step", totals.kl, steps),
    }
    if totals.num_resampled is not None:
        result |= figure("resampled_steps_per_sequence", totals.num_resampled)
    if units.perplexity:
        perplexity, error = math.exp(min(-result["nats_per_step"], 700.0)), result["nats_per_step_stderr"]
        # The derivative of exp is exp.
        result |= {"perplexity": perplexity, "perplexity_stderr": None if error is None else perplexity * error}
    if units.frame_size:
        samples = steps * units.frame_size
        raw = bound - samples * math.log(units.std or 1.0)
        result |= figure("raw_nats_per_sequence", raw) | figure("nats_per_sample", bound, samples)
        if totals.small_scales is not None:
            result |= figure("share_of_scales_below_one_step", totals.small_scales * steps, steps)
        if units.integers:
            result |= figure("bits_per_sample", -raw / math.log(2.0), samples)
    return result
