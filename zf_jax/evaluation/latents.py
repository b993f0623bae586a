"""Measure what the latents of a model do: KL by step and dimension, active units, ablations, small scales.

All measures are of posterior samples with the real past as input (teacher forcing), and hold for any model.
``inspect`` measures one batch and can be compiled; ``summarise_latents`` adds up batches on the host, and reports the
estimate of ``mutual_information`` beside them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zf_jax.bounds.noise import draw_noise, required_key
from zf_jax.checks import checked
from zf_jax.density import needs_steps
from zf_jax.distributions import gaussian_kl
from zf_jax.emissions import emission_values, member
from zf_jax.evaluation.mutual_information import Information
from zf_jax.evaluation.statistics import ratio_of_sums, with_stderr
from zf_jax.models.base import Features, Model, Sites, replay, unroll
from zf_jax.shapes import check_inputs
from zf_jax.typing import Array, Batch, Params

ACTIVE_VARIANCE = 0.01  # of the posterior's mean over data: Burda, Grosse and Salakhutdinov, 2016, section 5.1


class Ablations(NamedTuple):
    """log p(y | z) of each sequence by the source of z, each ``[B]``, nats."""

    posterior: Array
    prior: Array
    # Latents of another sequence; past its end, latents from the prior.  A row alone in its batch keeps its own
    # (``summarise_latents`` drops the row).
    shuffled: Array
    zero: Array


class Inspection(NamedTuple):
    """Statistics of one batch: sums over real rows, ``[T, ...]``, or values per row, 0 in an empty row.

    Attributes:
      count: number of sequences that reach each step, ``[T]``.
      kl: sum of KL( q(z_t) || p(z_t) ) at each step and dimension, ``[T, Z]``, nats.
      kl_squared: sum of the squared KL, ``[T, Z]``.
      step_kl_squared: sum of the squared KL of a step over all dimensions, ``[T]``.
      row_kl: KL of each row, summed over steps, ``[B, Z]``, nats.
      mean: sum of the posterior mean, ``[T, Z]``.
      mean_squared: sum of the squared posterior mean, ``[T, Z]``.
      ablations: log p(y | z) of each row.
      small_scale_share: share of the emission's scales below the quantisation step, summed over the steps of each row,
        ``[B]``; None without a quantisation step, or if the emission is no density or names no scales.
      lengths: steps of each row, ``[B]``.
    """

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    kl: Array
    kl_squared: Array
    step_kl_squared: Array
    row_kl: Array
    mean: Array
    mean_squared: Array
    ablations: Ablations
    small_scale_share: Array | None
    lengths: Array


@checked()
def inspect(
    model: Model, params: Params, batch: Batch, key: Array, quantisation_step: float | None = None
) -> Inspection:
    """Measure the latents of one batch.

    Args:
      key: a PRNG key, or one key per sequence, ``[B]``.
      quantisation_step: one integer step in the units of the targets; None if the data are not integers.
    """
    needs_steps(model, "inspect")
    check_inputs(model, params, batch, key)
    noise = draw_noise(required_key(key), batch, model.latent_dim)
    features = model.encode(params, batch)
    mask = features.observed.mask[..., None]
    sites = unroll(model, params, features, noise)[1]
    prior = model.prior(params, features, sites)

    kl = jnp.where(mask > 0, gaussian_kl(sites.proposal, prior), 0.0)

    def total(x):
        return jnp.sum(jnp.where(mask > 0, x, 0.0), axis=0)

    small = None
    if quantisation_step is not None and model.emission.is_density:
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        share = member(model.emission, "small_scale_share")(values, quantisation_step, features.observed.targets)
        small = None if share is None else jnp.sum(jnp.where(mask[..., 0] > 0, share, 0.0), axis=1)
    return Inspection(
        count=jnp.sum(mask[..., 0], axis=0),
        kl=jnp.sum(kl, axis=0),
        kl_squared=jnp.sum(jnp.square(kl), axis=0),
        step_kl_squared=jnp.sum(jnp.square(jnp.sum(kl, axis=2)), axis=0),
        row_kl=jnp.sum(kl, axis=1),
        mean=total(sites.proposal.mean),
        mean_squared=total(jnp.square(sites.proposal.mean)),
        ablations=ablate(model, params, features, sites, noise),
        small_scale_share=small,
        lengths=batch.lengths,
    )


def ablate(model: Model, params: Params, features: Features, sites: Sites, noise: Array) -> Ablations:
    """Compute log p(y | z) for z from the posterior, from the prior, from another sequence, and for z = 0.

    Args:
      sites: sites of the posterior trajectory.
      noise: standard normal noise for the draws from the prior, ``[B, T, Z]``.
    """
    blind = features._replace(posterior=None)
    from_prior = unroll(model, params, blind, noise)[1]
    mask = features.observed.mask
    # Real rows hand their latents on to the next real row, in a ring; the order of rows is no order of the data.
    # Sorted stably by emptiness, real rows come first.
    order = jnp.argsort(mask[:, 0] <= 0, stable=True)
    num_real = jnp.maximum(jnp.sum(mask[:, 0] > 0), 1)
    places = jnp.argsort(order)
    donors = order[jnp.where(places < num_real, (places + 1) % num_real, places)]
    donated = (mask[donors] > 0)[..., None]
    shuffled = jnp.where(donated, sites.latent[donors], from_prior.latent)

    def emission(sites):
        return jnp.sum(model.score(params, features, sites).emission_log_prob, axis=1)

    return Ablations(
        posterior=emission(sites),
        prior=emission(from_prior),
        shuffled=emission(replay(model, params, blind, shuffled)),
        zero=emission(replay(model, params, blind, jnp.zeros_like(shuffled))),
    )


def summarise_latents(inspections: Iterable[Inspection], information: Information | None = None) -> dict[str, Any]:
    """Add up batches: scalars, lists ``kl_nats_per_step`` [T] and ``kl_nats_per_step_and_dimension`` [T][Z].

    Every mean over sequences has a standard error: ``<name>_stderr``, a list for a list, or ``stderr`` beside ``mean``;
    None for one sequence.  ``active_units`` and ``posterior_mean_variance`` are no means over sequences and have none.
    The KL of a step is the mean over the sequences that reach the step.
    A unit is active if the variance of its posterior mean over sequences, at each step and averaged over steps, is
    above 0.01; variation between steps does not count.  For one sequence ``active_units`` is None.
    ``shuffled`` leaves out sequences that are alone in their batch; the mean is over ``num_sequences_shuffled``
    sequences, or None with a reason in ``why``.

    Args:
      information: the result of ``mutual_information``; None leaves the estimate out.
    """
    parts = [jax.tree.map(lambda x: np.asarray(x, np.float64), part) for part in inspections]
    lengths = _rows(parts, "lengths")
    real = lengths > 0
    result: dict[str, Any] = {
        "num_sequences": int(real.sum()),
        "num_steps": int(lengths.sum()),
    }
    if parts[0].small_scale_share is not None:
        result |= with_stderr("small_scale_share", _rows(parts, "small_scale_share")[real], lengths[real])
    row_kl = _rows(parts, "row_kl")[real]
    if row_kl.shape[1] == 0:
        return result
    per_dimension, per_dimension_error = ratio_of_sums(row_kl, lengths[real])
    result |= {
        "latent_dim": row_kl.shape[1],
        **with_stderr("kl_nats_per_sequence", row_kl.sum(axis=1)),
        "kl_nats_per_dimension": per_dimension.tolist(),
        "kl_nats_per_dimension_stderr": _listed(per_dimension_error),
        **_by_step(parts),
        **_ablated(parts),
    }
    if information is not None:
        nats = np.asarray(information.nats, np.float64)
        result["mutual_information_nats"] = _mean(nats)
        result["mutual_information_ceiling_nats"] = float(np.log(len(nats)))
        result["mutual_information_num_sequences"] = len(nats)
        result["mutual_information_num_steps"] = int(information.num_steps)
    return result


def _by_step(parts: list[Inspection]) -> dict[str, Any]:
    """Compute the results per step: KL profiles, and variances over the sequences at a step."""
    steps = max(len(part.count) for part in parts)

    def added(name):
        values = [getattr(part, name) for part in parts]
        return np.sum([np.pad(v, [(0, steps - len(v))] + [(0, 0)] * (v.ndim - 1)) for v in values], axis=0)

    used = added("count") > 0
    count, kl, kl_squared = (added(name)[used] for name in ("count", "kl", "kl_squared"))
    n = count[:, None]
    several = count > 1
    variance = _variance(added("mean")[used], added("mean_squared")[used], n)[several]
    weight = count[several] / max(count[several].sum(), 1.0)
    variance = np.sum(weight[:, None] * variance, axis=0)
    step_variance = _variance(kl.sum(axis=1), added("step_kl_squared")[used], count)
    return {
        "active_units": int(np.sum(variance > ACTIVE_VARIANCE)) if several.any() else None,
        "posterior_mean_variance": variance.tolist(),
        "kl_nats_per_step": (kl.sum(axis=1) / count).tolist(),
        "kl_nats_per_step_stderr": _listed(np.sqrt(step_variance / count)),
        "kl_nats_per_step_and_dimension": (kl / n).tolist(),
        "kl_nats_per_step_and_dimension_stderr": _listed(np.sqrt(_variance(kl, kl_squared, n) / n)),
        "sequences_per_step": count.tolist(),
    }


def _ablated(parts: list[Inspection]) -> dict[str, Any]:
    """Compute log p(y | z) by the source of z, and the loss against the posterior, over the rows that have both."""
    real = _rows(parts, "lengths") > 0
    accompanied = np.concatenate([np.full(len(part.lengths), np.sum(part.lengths > 0) > 1) for part in parts])
    rows = {name: real & accompanied if name == "shuffled" else real for name in Ablations._fields}
    emission = {name: np.concatenate([getattr(part.ablations, name) for part in parts]) for name in Ablations._fields}
    return {
        "num_sequences_shuffled": int(rows["shuffled"].sum()),
        "emission_nats_per_sequence": {name: _mean(values[rows[name]]) for name, values in emission.items()},
        "emission_loss_nats_per_sequence": {
            name: _mean((emission["posterior"] - emission[name])[rows[name]]) for name in ("prior", "shuffled", "zero")
        },
    }


def _rows(parts: list[Inspection], name: str) -> np.ndarray:
    return np.concatenate([getattr(part, name) for part in parts])


def _variance(total: np.ndarray, squared: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the unbiased variance from sum and sum of squares: NaN for one value, clipped at 0 against rounding."""
    of_mean = np.maximum(squared / count - (total / count) ** 2, 0.0)
    return of_mean * np.where(count > 1, count / np.maximum(count - 1.0, 1.0), np.nan)


def _listed(errors: np.ndarray) -> list[Any]:
    """Convert to nested lists, with None for NaN, which JSON does not have."""
    listed = errors.astype(object)
    listed[np.isnan(errors)] = None
    return listed.tolist()


def _mean(values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"mean": None, "stderr": None, "why": "every sequence was alone in its batch, with none to swap with"}
    found = with_stderr("mean", values)
    return {"mean": found["mean"], "stderr": found["mean_stderr"]}
