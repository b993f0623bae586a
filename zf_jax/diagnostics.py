"""What the latents of a model do: KL by step and dimension, active units, mutual information, ablations, scales.

All are about posterior samples with the real past as input (teacher forcing), and none depends on the model's kind.
``inspect`` looks at one batch and is meant to be compiled; ``summarise`` adds up batches on the host.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zf_jax.bounds import draw_noise, log_mean_exp
from zf_jax.distributions import gaussian_kl, gaussian_log_prob
from zf_jax.emissions import emission_values
from zf_jax.models.base import Features, Model, Sites, replay, unroll
from zf_jax.typing import Array, Batch, Params

ACTIVE_VARIANCE = 0.01  # of the posterior's mean over data: Burda, Grosse and Salakhutdinov, 2016, section 5.1


class Ablations(NamedTuple):
    """log p(y | z) of each sequence by where its z comes from, each ``[B]``, nats."""

    posterior: Array
    prior: Array
    shuffled: Array  # another sequence's posterior, step by step; the prior's behind that sequence's end
    zero: Array


class Inspection(NamedTuple):
    """What one batch adds to the figures; sums over its real rows.

    Attributes:
      count: how many sequences reach each step, ``[T]``.
      kl: sum of KL( q(z_t) || p(z_t) ) of each step and dimension, ``[T, Z]``, nats.
      mean: sum of the posterior's mean, ``[T, Z]``.
      mean_squared: sum of its square, ``[T, Z]``.
      ablations: of each row, 0 in an empty one.
      small_scales: sum over steps of the share of the emission's scales under the quantisation step, ``[]``; None
        where there is no step, or the emission is no density.
      lengths: ``[B]``.
    """

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    kl: Array
    mean: Array
    mean_squared: Array
    ablations: Ablations
    small_scales: Array | None
    lengths: Array


def inspect(
    model: Model, params: Params, batch: Batch, key: Array, quantisation_step: float | None = None
) -> Inspection:
    """Look at one batch.

    Args:
      key: a PRNG key, or one a sequence ``[B]``.
      quantisation_step: one integer step in the units of the targets; None where the data have none.
    """
    noise = draw_noise(key, batch, model.latent_dim)
    features = model.encode(params, batch)
    mask = features.observed.mask[..., None]
    sites = unroll(model, params, features, noise)[1]
    prior = model.prior(params, features, sites)

    def total(x):
        return jnp.sum(jnp.where(mask > 0, x, 0.0), axis=0)

    small = None
    if quantisation_step is not None and model.emission.is_density:
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        share = model.emission.share_of_scales_below(values, quantisation_step)
        small = jnp.sum(jnp.where(mask[..., 0] > 0, share, 0.0))
    return Inspection(
        count=jnp.sum(mask[..., 0], axis=0),
        kl=total(gaussian_kl(sites.proposal, prior)),
        mean=total(sites.proposal.mean),
        mean_squared=total(jnp.square(sites.proposal.mean)),
        ablations=ablate(model, params, features, sites, noise),
        small_scales=small,
        lengths=batch.lengths,
    )


def ablate(model: Model, params: Params, features: Features, sites: Sites, noise: Array) -> Ablations:
    """What the emission loses where z is drawn from the prior, belongs to another sequence, or is 0.

    Args:
      sites: of the posterior's trajectory.
      noise: what draws z from the prior, ``[B, T, Z]``.
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


def mutual_information(model: Model, params: Params, batch: Batch, key: Array) -> Array:
    """log q(z | x_i) - log (1/N) sum_j q(z | x_j), z drawn from q(z | x_i), of each of N sequences: ``[N]``, nats.

    Their average estimates the information that whole latent trajectories carry on which of these N sequences they
    belong to: a lower bound on I(x; z), and never more than log N.  Where the prior sees the past, so do latents that
    were drawn from it, and some information remains though the KL be 0: read it beside the KL.

    Args:
      batch: N sequences, none of them empty, cut to the shortest so that all trajectories are as long.
    """
    noise = draw_noise(key, batch, model.latent_dim)
    features = model.encode(params, batch)
    latents = unroll(model, params, features, noise)[1].latent
    shared = jnp.min(features.observed.mask, axis=0)  # [T]

    def under_all(latent):
        """log q(z | x_j) of one trajectory ``[T, Z]`` for every j: ``[N]``."""
        everywhere = jnp.broadcast_to(latent, latents.shape)
        proposal = replay(model, params, features, everywhere).proposal
        per_step = jnp.sum(gaussian_log_prob(proposal, everywhere), axis=-1)
        return jnp.sum(jnp.where(shared > 0, per_step, 0.0), axis=1)

    log_q = jax.lax.map(under_all, latents)  # [N drawn from, N given]
    return jnp.diagonal(log_q) - log_mean_exp(log_q.T)


def summarise(inspections: Iterable[Inspection], information: Any = None) -> dict[str, Any]:
    """Add up batches: scalars, lists ``kl_nats_per_step`` [T] and ``kl_nats_per_step_and_dimension`` [T][Z].

    Every mean over sequences comes with its standard error.  A step's KL is the mean over the sequences that reach it.
    A unit is active where its posterior mean varies over the data: the variance over sequences at each step, averaged
    over steps, is above 0.01; what depends on the step alone does not count.

    Args:
      information: of ``mutual_information``, ``[N]``; None leaves it out.
    """
    parts = [jax.tree.map(lambda x: np.asarray(x, np.float64), part) for part in inspections]
    steps = max(len(part.count) for part in parts)

    def added(name):
        values = [getattr(part, name) for part in parts]
        return np.sum([np.pad(v, [(0, steps - len(v))] + [(0, 0)] * (v.ndim - 1)) for v in values], axis=0)

    count, kl, mean, squared = (added(name) for name in ("count", "kl", "mean", "mean_squared"))
    used = count > 0
    count, kl, mean, squared = (x[used] for x in (count, kl, mean, squared))
    lengths = np.concatenate([part.lengths for part in parts])
    real = lengths > 0
    emission = {name: np.concatenate([getattr(p.ablations, name) for p in parts])[real] for name in Ablations._fields}
    result: dict[str, Any] = {
        "num_sequences": int(real.sum()),
        "num_steps": int(lengths.sum()),
    }
    if parts[0].small_scales is not None:
        result["small_scale_share"] = float(sum(part.small_scales for part in parts) / lengths.sum())
    if kl.shape[1] == 0:
        return result
    per_step = kl / count[:, None]
    several = count > 1
    variance = (squared / count[:, None] - (mean / count[:, None]) ** 2)[several]
    weight = count[several] / max(count[several].sum(), 1.0)
    # Of a sample of n: n / (n - 1) times the mean square.
    variance = np.sum(weight[:, None] * variance * (count[several] / (count[several] - 1.0))[:, None], axis=0)
    result |= {
        "latent_dim": kl.shape[1],
        "active_units": int(np.sum(variance > ACTIVE_VARIANCE)),
        "posterior_mean_variance": variance.tolist(),
        "kl_nats_per_sequence": float(kl.sum() / real.sum()),
        "kl_nats_per_step": per_step.sum(axis=1).tolist(),
        "kl_nats_per_dimension": (kl.sum(axis=0) / count.sum()).tolist(),
        "kl_nats_per_step_and_dimension": per_step.tolist(),
        "sequences_per_step": count.tolist(),
        "emission_nats_per_sequence": {name: _mean(values) for name, values in emission.items()},
        "emission_loss_nats_per_sequence": {
            name: _mean(emission["posterior"] - emission[name]) for name in ("prior", "shuffled", "zero")
        },
    }
    if information is not None:
        information = np.asarray(information, np.float64)
        result["mutual_information_nats"] = _mean(information)
        result["mutual_information_ceiling_nats"] = float(np.log(len(information)))
    return result


def _mean(values: np.ndarray) -> dict[str, float | None]:
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
    return {"mean": float(values.mean()), "stderr": error}
