"""What is trained: the ELBO with its KL weighed, the auxiliary cost and the reverse prediction beside it.

    objective(x) = sum_t E_q[ log p(y_t | .) + alpha log p(sg(b_t) | z_t) ] + beta log p(u_t | b_t)
                   - kl_temperature KL_t

The augmented objective is no bound of log p(x); the metrics report the pure ELBO beside it (rule A9).
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import jax.numpy as jnp

from zf_jax.bounds import draw_noise
from zf_jax.models.base import Model, unroll
from zf_jax.typing import Array, Batch, Params, StepTerms


@dataclasses.dataclass(frozen=True)
class Objective:
    """Settings of the objective that do not change during training.

    Attributes:
      aux_gradient: where the auxiliary gradient stops (rule A1).  ``"target"``: it is kept from the target b_t alone
        and still reaches the backward network through z.  ``"backward"``: none of it reaches the backward network.
    """

    aux_gradient: Literal["target", "backward"] = "target"

    def __post_init__(self):
        if self.aux_gradient not in ("target", "backward"):
            raise ValueError(f"aux_gradient must be 'target' or 'backward', not {self.aux_gradient!r}")


class Weights(NamedTuple):
    """The weights of the terms at one update, scalars."""

    kl_temperature: Array | float = 1.0
    aux_weight: Array | float = 0.0  # alpha
    reverse_weight: Array | float = 0.0  # beta


def sequence_mean(values: Array, batch: Batch) -> Array:
    """Mean of ``[B]`` over the real sequences, those of at least one step (rule A8)."""
    real = batch.lengths > 0
    return jnp.sum(jnp.where(real, values, 0.0)) / jnp.maximum(jnp.sum(real), 1)


def objective_terms(
    model: Model, params: Params, batch: Batch, noise: Array, settings: Objective = Objective()
) -> StepTerms:
    """The terms as training needs them: values as everywhere, gradients routed by rule A1."""
    features = model.encode(params, batch)
    terms = model.score(params, features, unroll(model, params, features, noise)[1])
    if settings.aux_gradient == "backward":
        # h_{t-1} carries earlier z, and with it b: stopping b_t where f_q reads it at step t is not enough.
        # A second trajectory of equal values, blind to b as a function of the parameters, carries the auxiliary term.
        detached = model.detach_posterior(params, features)
        blind = model.score(params, detached, unroll(model, params, detached, noise)[1])
        terms = terms._replace(aux_log_prob=blind.aux_log_prob)
    return terms


def objective(terms: StepTerms, weights: Weights) -> Array:
    """The objective of each sequence, to be maximised: ``[B]``, nats."""
    return jnp.sum(
        terms.emission_log_prob
        + weights.aux_weight * terms.aux_log_prob
        + weights.reverse_weight * terms.reverse_log_prob
        - weights.kl_temperature * terms.kl,
        axis=1,
    )


def loss_and_metrics(
    model: Model,
    params: Params,
    batch: Batch,
    key: Array | None = None,
    weights: Weights = Weights(),
    settings: Objective = Objective(),
    *,
    noise: Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Minus the objective, mean over real sequences, and the metrics of the batch, scalars in nats.

    Args:
      key: a PRNG key; not read where ``noise`` ``[B, T, Z]`` is given.
    """
    if noise is None:
        if key is None:
            raise ValueError("give a PRNG key, or the noise itself")
        noise = draw_noise(key, batch, model.latent_dim)
    terms = objective_terms(model, params, batch, noise, settings)
    loss = -sequence_mean(objective(terms, weights), batch)
    sums = {name: sequence_mean(jnp.sum(value, axis=1), batch) for name, value in terms._asdict().items()}
    metrics = {
        "loss": loss,
        "elbo_nats_per_sequence": sums["emission_log_prob"] - sums["kl"],
        "emission_nats_per_sequence": sums["emission_log_prob"],
        "kl_nats_per_sequence": sums["kl"],
        "aux_nats_per_sequence": sums["aux_log_prob"],
        "reverse_nats_per_sequence": sums["reverse_log_prob"],
    }
    return loss, metrics
