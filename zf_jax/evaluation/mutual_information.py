"""Estimate the mutual information between sequences and their latents, over a few sequences."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zf_jax.bounds.importance import log_mean_exp
from zf_jax.bounds.noise import draw_noise, required_key
from zf_jax.checks import checked
from zf_jax.density import needs_steps
from zf_jax.distributions import gaussian_log_prob
from zf_jax.models.base import Model, replay, unroll
from zf_jax.typing import Array, Batch, Params


class Information(NamedTuple):
    """Information that latents carry on which of N sequences they were drawn for.

    Attributes:
      nats: one estimate per sequence, ``[N]``.
      num_steps: the number of steps compared, which is the length of the shortest sequence, ``[]``.
    """

    nats: Array
    num_steps: Array


def long_enough_indices(lengths: np.ndarray, number: int) -> np.ndarray:
    """Return the indices of at most ``number`` sequences no shorter than the median, evenly spaced, ascending.

    ``mutual_information`` compares only the steps that all given sequences have, so that one very short sequence would
    leave almost no steps to compare.  For an even number of sequences the median is the lower of the middle two, so
    that of two or more sequences at least two are long enough.
    """
    lengths = np.asarray(lengths)
    median = np.sort(lengths)[(len(lengths) - 1) // 2]
    places = np.flatnonzero(lengths >= median)
    return places[np.unique(np.linspace(0, len(places) - 1, num=min(number, len(places))).astype(int))]


@checked()
def mutual_information(model: Model, params: Params, batch: Batch, key: Array) -> Information:
    """Return log q(z | x_i) - log (1/N) sum_j q(z | x_j) with z drawn from q(z | x_i), for N sequences: ``[N]``, nats.

    The average over sequences estimates the information that whole latent trajectories carry on which of the N
    sequences they were drawn for: a lower bound on I(x; z), at most log N.  If the prior sees the past, latents drawn
    from the prior carry information too, so that the estimate can be above 0 where the KL is 0: report both.

    Args:
      batch: N non-empty sequences, chosen by ``long_enough_indices``.  The trajectories are cut to the shortest, so
        that all have one length; the sequences that they are conditioned on are not cut.
    """
    needs_steps(model, "mutual_information")
    noise = draw_noise(required_key(key), batch, model.latent_dim)
    features = model.encode(params, batch)
    latents = unroll(model, params, features, noise)[1].latent
    shared = jnp.min(features.observed.mask, axis=0)  # [T]

    def under_all(own):
        """Return log q(z | x_j) - log q(z | x_i) of the trajectory drawn for i, ``[T, Z]``, for every j: ``[N]``."""
        latent, i = own
        everywhere = jnp.broadcast_to(latent, latents.shape)
        proposal = replay(model, params, features, everywhere).proposal
        per_step = jnp.sum(gaussian_log_prob(proposal, everywhere), axis=-1)
        # Differences of steps are summed: a difference of sums over T Z terms has lost the digits that matter.
        return jnp.sum(jnp.where(shared > 0, per_step - per_step[i], 0.0), axis=1)

    log_ratios = jax.lax.map(under_all, (latents, jnp.arange(latents.shape[0])))  # [N drawn from, N given]
    return Information(-log_mean_exp(log_ratios.T), jnp.sum(shared > 0))
