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
    """

    bound: np.ndarray
    kl: np.ndarray
    lengths: np.ndarray
    small_scales: np.ndarray | None = None


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


def summarise(totals: Totals, units: Units = Units()) -> dict[str, Any]:
    """Averages over sequences with standard errors, and the same figure in the other units.

    ``nats_per_sequence`` is the mean bound, higher is better; ``perplexity`` is exp(minus the total bound / total
    words) over the corpus (rule A13); ``raw_nats_per_sequence`` undoes the normalisation, and ``bits_per_sample`` is
    its negative in bits for each integer sample; of a density unless the emission is discretised (rule A11).
    """
    bound = totals.bound.astype(np.float64)
    kl = totals.kl.astype(np.float64)
    count, steps = len(bound), int(totals.lengths.sum())
    result: dict[str, Any] = {
        "num_sequences": count,
        f"num_{units.element}s": steps,
        "nats_per_sequence": float(bound.mean()),
        "nats_per_sequence_stderr": float(bound.std(ddof=1) / math.sqrt(count)) if count > 1 else None,
        "nats_per_step": float(bound.sum() / steps),
        "kl_nats_per_sequence": float(kl.mean()),
        "kl_nats_per_step": float(kl.sum() / steps),
    }
    if units.perplexity:
        result["perplexity"] = float(np.exp(min(-bound.sum() / steps, 700.0)))
    if units.frame_size:
        samples = steps * units.frame_size
        raw = bound.sum() - samples * math.log(units.std or 1.0)
        result["raw_nats_per_sequence"] = float(raw / count)
        result["nats_per_sample"] = float(bound.sum() / samples)
        if totals.small_scales is not None:
            result["share_of_scales_below_one_step"] = float(np.average(totals.small_scales, weights=totals.lengths))
        if units.integers:
            result["bits_per_sample"] = float(-raw / samples / math.log(2.0))
    return result
