"""Draw what follows beginnings of sequences, or their ends, a fixed number of sequences at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.lib.cli import UserError, progress, warn
from experiments.lib.context import context_of_steps
from experiments.lib.forecast_files import is_ordered
from experiments.lib.forecast_scores import Forecasts
from zf_jax.bounds.noise import seed_key
from zf_jax.data import pad
from zf_jax.data.sources import names_of, places_of
from zf_jax.evaluation.forecast import forecast
from zf_jax.memory import physical_memory
from zf_jax.protocols import Example, Source
from zf_jax.typing import is_observed

_ROWS = 16  # sequences at once


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
    most = int((lengths - given).max())
    if steps > most:
        warn(f"--steps={steps}: at most {most} steps follow a prefix in these data, and are forecast")
    steps = min(steps, most)

    def context_of(examples: list[Example], rows: np.ndarray) -> np.ndarray | None:
        return context_of_steps(examples, given[rows].tolist(), steps)  # of the future, which is given

    return _drawn(run, source, places, given, context_of, steps, num_samples, num_particles, seed)


def draw_past_end(
    run: Any,
    source: Source,
    steps: int,
    num_samples: int,
    num_particles: int,
    seed: int,
    context: np.ndarray | None = None,
) -> Forecasts:
    """Draw what follows the last step of every sequence; nothing came that the draws could be held against.

    Args:
      context: what the model reads beside the steps to come, ``[B, steps, C]``, where it reads a context.
    """
    lengths = np.asarray(source.lengths)

    def context_of(examples: list[Example], rows: np.ndarray) -> np.ndarray | None:
        return None if context is None else context[rows]

    return _drawn(run, source, np.arange(len(lengths)), lengths, context_of, steps, num_samples, num_particles, seed)


def _drawn(
    run: Any,
    source: Source,
    places: np.ndarray,
    given: np.ndarray,
    context_of: Callable[[list[Example], np.ndarray], np.ndarray | None],
    steps: int,
    num_samples: int,
    num_particles: int,
    seed: int,
) -> Forecasts:
    """Draw ``steps`` steps after the first ``given`` ones of the sequences at some places."""
    longest = int(given[places].max())
    size = run.data.observation.size if run.data.observation.kind == "frames" else 1
    needed, there = 8 * len(places) * num_samples * steps * size, physical_memory()
    if needed > there:
        raise UserError(
            f"--num_samples={num_samples} draws of {steps} steps of {len(places)} sequences take {needed:,} bytes, and "
            f"the memory has {there:,}: forecast fewer"
        )
    missing, number = (np.nan, float) if is_ordered(run.data) else (-1, int)
    key, draws, truths, begun = seed_key(seed), [], [], []
    for first in progress(range(0, len(places), _ROWS)):
        rows = places[first : first + _ROWS]
        examples = [source[int(row)] for row in rows]
        cut = [_cut(example, int(given[row])) for example, row in zip(examples, rows, strict=True)]
        filled = [*cut, *[cut[0]] * (_ROWS - len(cut))]  # one compiled shape
        context = context_of(examples, rows)
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
    names = None if names is None else [names[place] for place in places]
    return Forecasts(places_of(source)[places], names, begun, np.concatenate(draws), np.stack(truths))


def _cut(example: Example, length: int) -> Example:
    context = None if example.context is None else example.context[:length]
    return Example(example.inputs[:length], example.targets[:length], example.input_mask[:length], context)
