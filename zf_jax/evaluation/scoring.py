"""Evaluate a bound on every sequence of a split.

``evaluate`` is the whole in one call; ``make_eval_step`` and ``evaluate_split`` are its parts, for a caller who scores
many parameters with one compiled bound.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from zf_jax.bounds.importance import log_mean_exp
from zf_jax.bounds.noise import required_key, seed_key, sequence_keys
from zf_jax.bounds.particle import particle_bound
from zf_jax.checks import CheckedStep, check_batch, check_counts
from zf_jax.compiled import made_once
from zf_jax.data.pipeline import eval_batches
from zf_jax.densities.stepwise import of
from zf_jax.density import Density, needs_steps
from zf_jax.emissions import member
from zf_jax.evaluation.statistics import Totals, count_observed
from zf_jax.evaluation.units import Units, summarise
from zf_jax.models.base import Model
from zf_jax.protocols import Bound, Source
from zf_jax.shapes import check_params
from zf_jax.sharding import by_row, check_batch_size, data_mesh, global_batch, replicated, rows_for, to_host
from zf_jax.typing import Array, Batch, Params, clean

BOUNDS = ("elbo", "iwae", "particle")


@made_once
def make_eval_step(
    model: Model | Density,
    mesh: Mesh,
    bound: str | Bound = "elbo",
    num_samples: int = 1,
    chunk_size: int | None = None,
    quantisation_step: float | None = None,
) -> Callable[[Params, Batch, Array, Array], dict[str, Array]]:
    """Compile a bound: ``(params, batch, key, indices [B]) -> {name: [B]}``, nats per sequence, not averaged.

    Args:
      bound: ``"elbo"`` (one sample), ``"iwae"`` or ``"particle"``; or a function of the caller's own, a
        ``zf_jax.protocols.Bound``, which has its number of samples itself.
      num_samples: K, samples of the IWAE bound or particles.
      chunk_size: the number of samples per sequence in memory at once; None is all.
      quantisation_step: the step of integer data under a density.  If given, ``small_scale_share`` is returned too: the
        share of the emission's scales below one step, which shows how far the density is spikes on the grid (rule A11).

    The result holds ``bound`` and ``kl`` and, if elements may be missing, ``observed_steps`` and
    ``observed_by_dimension`` ``[B, D]``.  For every bound ``kl`` is the KL of the one-sample ELBO, since the IWAE and
    particle bounds have no KL.  The particle bound adds ``num_resampled``, the number of steps with resampling.

    The noise of a sequence depends only on ``key`` and the sequence's index, so that results do not depend on the
    batch size, the order of the sequences or the padding (rule A8).
    """
    if not callable(bound) and bound not in BOUNDS:
        raise ValueError(f"unknown bound {bound!r}; choose one of {', '.join(BOUNDS)}, or give a function")
    check_counts(num_samples=num_samples, chunk_size=chunk_size)
    stepwise: Any = needs_steps(model, "the particle bound") if bound == "particle" else None
    density = of(model, quantisation_step=quantisation_step)
    everywhere, rows = replicated(mesh), by_row(mesh)

    def eval_step(params, batch, key, indices):
        check_params(model, params)
        keys = sequence_keys(key, indices)
        result = density.elbo(params, batch, keys)
        if callable(bound):
            result["bound"] = bound(model, params, batch, keys)
            if jnp.shape(result["bound"]) != indices.shape:
                raise ValueError(f"a bound is one number a sequence, [B], not {list(jnp.shape(result['bound']))}")
        elif bound == "particle":
            # All particles of a sequence meet, so that it is sequences that go one after another.
            at_once = max(1, (chunk_size or num_samples) * indices.shape[0] // num_samples)
            found = particle_bound(stepwise, params, batch, keys, num_particles=num_samples, chunk_size=at_once)
            result |= found._asdict()
        elif bound == "iwae":
            result["bound"] = log_mean_exp(density.log_weights(params, batch, keys, num_samples, chunk_size))
        if model.observation.missing:
            seen = clean(batch)
            result |= count_observed(seen.targets, seen.mask)
        return result

    compiled = jax.jit(eval_step, in_shardings=(everywhere, rows, everywhere, rows), out_shardings=rows)
    return CheckedStep(compiled, functools.partial(check_batch, model))


def evaluate(
    model: Model | Density,
    params: Params,
    source: Source,
    *,
    bound: str | Bound = "elbo",
    num_samples: int = 25,
    chunk_size: int | None = None,
    batch_size: int | None = None,
    units: Units = Units(),
    key: Array | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> dict[str, Any]:
    """Evaluate a bound on every sequence of a split and summarise in all units that apply: see ``summarise``.

    Args:
      params: the parameters; of a density, as its ``prepare`` returns them.
      source: a split of a data set, such as ``data.split("test")``.
      bound: ``"elbo"``, ``"iwae"``, ``"particle"`` or a function: see ``make_eval_step``.
      num_samples: K, samples of the IWAE bound or particles; the ELBO has one, and a model without latents needs one.
      chunk_size: the number of samples per sequence in memory at once; None is all.
      batch_size: sequences at once, over all devices; None is 64, or the next multiple of the number of devices.
      units: how the numbers are reported, ``units_of(data)`` for a data set.
      key: a PRNG key; None is that of seed 0.  The result depends neither on ``batch_size`` nor on the devices.
      mesh: the devices; None is all devices of all processes.
      progress: a wrapper of the iterator over batches, such as ``tqdm.tqdm``.

    Returns:
      ``bound``, ``num_samples``, ``exact`` (whether the bound is the log-likelihood, as without latents), ``kind`` (see
      ``Density.kind``), ``density`` (whether log-likelihoods are log-densities), ``levels`` of an emission over an
      integer grid, and the figures of ``summarise``.

    Raises:
      TypeError: ``source`` is no split.
      ValueError: an unknown bound, or a number of samples, a chunk or a batch size that makes no sense.
    """
    if not (hasattr(source, "lengths") and hasattr(source, "__getitem__")):
        made = "data.split('test') of a data set; zf_jax.data.from_arrays makes a data set of arrays"
        raise TypeError(f"source must be one split, such as {made}, not {type(source).__name__}")
    check_counts(num_samples=num_samples, chunk_size=chunk_size)
    if key is not None and required_key(key).ndim:
        raise ValueError("key must be one PRNG key: those of the sequences are folded from it")
    mesh = data_mesh() if mesh is None else mesh
    batch_size = rows_for(64, mesh) if batch_size is None else batch_size
    check_batch_size(batch_size, mesh)
    kind = of(model).kind
    num_samples = 1 if kind == "exact" or bound == "elbo" else num_samples
    units = units.under(model.emission.is_density)
    chunk_size = None if num_samples == 1 else chunk_size  # so that it is the step that a training validates with
    step = make_eval_step(model, mesh, bound, num_samples, chunk_size, units.quantisation_step)
    batches = eval_batches(
        source, batch_size=batch_size, process_index=jax.process_index(), process_count=jax.process_count()
    )
    totals = evaluate_split(step, params, progress(batches), seed_key(0) if key is None else key, mesh)
    levels = member(model.emission, "levels")
    return {
        "bound": getattr(bound, "__name__", type(bound).__name__) if callable(bound) else bound,
        **({} if callable(bound) else {"num_samples": num_samples}),
        "exact": kind == "exact",
        "kind": kind,
        "density": model.emission.is_density,
        # A probability is that of an integer of so many; of fewer than the data's own, the data were rounded to them.
        **({} if levels is None else {"levels": levels}),
        **summarise(totals, units),
    }


def evaluate_split(
    eval_step: Callable[[Params, Batch, Array, Array], dict[str, Array]],
    params: Params,
    batches: Iterable[tuple[np.ndarray, Batch]],
    key: Array,
    mesh: Mesh,
) -> Totals:
    """Run a compiled bound once over every sequence; rows of index -1 fill a batch and are left out (rule A8)."""
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
