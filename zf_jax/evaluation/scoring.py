"""Evaluate a bound on every sequence of a split."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from zf_jax.bounds.importance import log_mean_exp
from zf_jax.bounds.particle import particle_bound
from zf_jax.checks import CheckedStep, check_batch
from zf_jax.densities.stepwise import of
from zf_jax.density import Density, needs_steps
from zf_jax.evaluation.statistics import Totals, count_observed
from zf_jax.models.base import Model
from zf_jax.sharding import by_row, global_batch, replicated, to_host
from zf_jax.typing import Array, Batch, Params, clean

BOUNDS = ("elbo", "iwae", "particle")


def make_eval_step(
    model: Model | Density,
    mesh: Mesh,
    bound: str = "elbo",
    num_samples: int = 1,
    chunk_size: int | None = None,
    quantisation_step: float | None = None,
) -> Callable[[Params, Batch, Array, Array], dict[str, Array]]:
    """Compile a bound: ``(params, batch, key, indices [B]) -> {name: [B]}``, nats per sequence, not averaged.

    Args:
      bound: ``"elbo"`` (one sample), ``"iwae"`` or ``"particle"``.
      num_samples: K, samples of the IWAE bound or particles.
      chunk_size: the number of samples per sequence in memory at once; None is all.
      quantisation_step: the step of integer data under a density.  If given, ``small_scales`` is returned too: the
        share of the emission's scales below one step, which shows how far the density is spikes on the grid (rule A11).

    The result holds ``bound`` and ``kl`` and, if elements may be missing, ``observed_steps`` and ``observed_elements``.
     For every bound ``kl`` is the KL of the one-sample ELBO, since the IWAE and
    particle bounds have no KL.  The particle bound adds ``num_resampled``, the number of steps with resampling.

    The noise of a sequence depends only on ``key`` and the sequence's index, so that results do not depend on the
    batch size, the order of the sequences or the padding (rule A8).
    """
    if bound not in BOUNDS:
        raise ValueError(f"unknown bound {bound!r}; choose one of {', '.join(BOUNDS)}")
    stepwise: Any = needs_steps(model, "the particle bound") if bound == "particle" else None
    density = of(model, quantisation_step=quantisation_step)
    everywhere, rows = replicated(mesh), by_row(mesh)

    def eval_step(params, batch, key, indices):
        keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(indices)
        result = density.elbo(params, batch, keys)
        if bound == "particle":
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
