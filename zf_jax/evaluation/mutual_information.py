"""The mutual information between a sequence and its latents, among a few sequences."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zf_jax.bounds.importance import log_mean_exp
from zf_jax.bounds.noise import draw_noise
from zf_jax.distributions import gaussian_log_prob
from zf_jax.models.base import Model, replay, unroll
from zf_jax.typing import Array, Batch, Params


class Information(NamedTuple):
    """What the latents say of which of N sequences they belong to.

    Attributes:
      nats: of each sequence, ``[N]``.
      num_steps: over how many first steps, those that every one of the sequences has, ``[]``.
    """

    nats: Array
    num_steps: Array


def places_long_enough(lengths: np.ndarray, number: int) -> np.ndarray:
    """Places of at most ``number`` sequences, evenly spaced among those no shorter than the median; in their order.

    ``mutual_information`` can only compare the steps that all of its sequences have: a single very short one among
    them would leave it next to nothing to compare, whatever the latents of the others know.  Of an even count the
    median is the lower of the two in the middle, so that two sequences are long enough wherever there are two.
    """
    lengths = np.asarray(lengths)
    median = np.sort(lengths)[(len(lengths) - 1) // 2]
    places = np.flatnonzero(lengths >= median)
    return places[np.unique(np.linspace(0, len(places) - 1, num=min(number, len(places))).astype(int))]


def mutual_information(model: Model, params: Params, batch: Batch, key: Array) -> Information:
    """log q(z | x_i) - log (1/N) sum_j q(z | x_j), z drawn from q(z | x_i), of each of N sequences: ``[N]``, nats.

    Their average estimates the information that whole latent trajectories carry on which of these N sequences they
    belong to: a lower bound on I(x; z), and never more than log N.  Where the prior sees the past, so do latents that
    were drawn from it, and some information remains though the KL be 0: read it beside the KL.

    Args:
      batch: N sequences, none of them empty.  Trajectories are cut to the shortest so that all are as long, the
        sequences that they are given are not: choose them with ``places_long_enough``.
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
    return Information(jnp.diagonal(log_q) - log_mean_exp(log_q.T), jnp.sum(shared > 0))
