"""What a model is: three pure functions, encode -> step -> score, and what everything else is written against.

A bound, an objective, an evaluator, a sampler, a diagnostic is handed a ``Model`` and never knows which one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from zf_jax.distributions import Gaussian, gaussian_kl, gaussian_log_prob
from zf_jax.nn.recurrence import scan_time
from zf_jax.typing import Array, ArrayLike, Batch, StepTerms


class Observed(NamedTuple):
    """The part of a batch that has a time axis, with zeros behind the mask; see ``Batch``."""

    inputs: ArrayLike
    targets: ArrayLike
    mask: ArrayLike
    input_mask: ArrayLike


class Features(NamedTuple):
    """All that depends on data alone; every leaf is ``[B, T, ...]``, so that it can be cut into steps.

    Attributes:
      observed: the data that the score is about.
      inputs: what a step and the prior read of the inputs u_{1:t}.
      posterior: what the posterior reads of the targets; None makes the same step draw from the prior.
      extra: what only the score reads (the backward states of Z-Forcing).
    """

    observed: Any
    inputs: Any
    posterior: Any
    extra: Any


class Sites(NamedTuple):
    """What a step leaves behind: the draw, where it came from, and the states the score needs.

    Attributes:
      latent: z_t, ``[..., Z]``.
      proposal: the Gaussian z_t was drawn from: the posterior, or the prior in generation.
      state: the model's own; each leaf ``[..., H]``.
    """

    latent: Array
    proposal: Gaussian
    state: Any


class Model(NamedTuple):
    """A model as pure functions of its parameters, closed over a frozen config.

    Attributes:
      config: the model's frozen dataclass.
      emission: the emission head of p(y_t | .).
      latent_dim: Z; 0 for a model without latents.
      init: ``(key) -> params``.
      encode: ``(params, batch) -> Features``: all that depends on data alone.
      initial_carry: ``(params, like [B, ...]) -> carry``: the recurrent state before the first step.
      step: ``(params, carry, features_t, noise_t [B, Z]) -> (carry, Sites)``: only what must be sequential.
      score: ``(params, features, sites) -> StepTerms``: all that can wait, for one step or a whole trajectory.
      readout: ``(params, features, sites) -> [..., H]``: what the emission head reads.
      prior: ``(params, features, sites) -> Gaussian``: p(z_t | past) along a trajectory.
      initial_memory: ``(params, like [B, ...]) -> memory`` of ``observe``.
      observe: ``(params, memory, inputs_t, is_data_t [B]) -> (memory, features_t)``: encode for one input at a time,
        without a posterior; what generation uses.  ``is_data_t`` is the input mask: 0 on a start token.
      detach_posterior: ``(params, features) -> features``: the same values, but the inference network receives no
        gradient (rule A1, mode "backward").
    """

    config: Any
    emission: Any
    latent_dim: int
    init: Callable
    encode: Callable
    initial_carry: Callable
    step: Callable
    score: Callable
    readout: Callable
    prior: Callable
    initial_memory: Callable
    observe: Callable
    detach_posterior: Callable


def observed(batch: Batch) -> Observed:
    """Drop what has no time axis."""
    return Observed(batch.inputs, batch.targets, batch.mask, batch.input_mask)


def unroll(model: Model, params: Any, features: Features, noise: Array, carry: Any = None) -> tuple[Any, Sites]:
    """Run the step over time.

    Args:
      noise: standard normal, ``[B, T, Z]``.
      carry: the state to start from; the initial one by default.

    Returns:
      The last carry, and the sites of every step, each leaf ``[B, T, ...]``.
    """
    if carry is None:
        carry = model.initial_carry(params, features.observed.mask)
    sequential = Features(observed=None, inputs=features.inputs, posterior=features.posterior, extra=None)
    shape = (*features.observed.mask.shape, model.latent_dim)
    if noise.shape != shape:
        raise ValueError(f"noise must have the shape [B, T, Z] = {shape}, not {noise.shape}")
    # Noise that a caller hands in may be anything behind the mask; NaN there would reach the gradients.
    noise = jnp.where(features.observed.mask[..., None] > 0, noise, jnp.zeros_like(noise))

    def step(carry, xs):
        features_t, noise_t = xs
        return model.step(params, carry, features_t, noise_t)

    return scan_time(step, carry, (sequential, noise))


def replay(model: Model, params: Any, features: Features, latents: Array) -> Sites:
    """The sites of the trajectory whose latents are given, ``[B, T, Z]``: each step's noise is what makes it draw them.

    Gradients reach the latents and the parameters apart: the draw's own dependence on the proposal cancels.
    """
    sequential = Features(observed=None, inputs=features.inputs, posterior=features.posterior, extra=None)

    def step(carry, xs):
        features_t, latent = xs
        proposal = model.step(params, carry, features_t, jnp.zeros_like(latent))[1].proposal
        return model.step(params, carry, features_t, (latent - proposal.mean) * jnp.exp(-proposal.log_std))

    carry = model.initial_carry(params, features.observed.mask)
    return scan_time(step, carry, (sequential, latents))[1]._replace(latent=latents)


def step_terms(
    mask: Array,
    sites: Sites,
    prior: Gaussian,
    emission_log_prob: Array,
    aux_log_prob: Array | None = None,
    reverse_log_prob: Array | None = None,
) -> StepTerms:
    """Assemble the terms that every latent model shares, summed over latent dimensions, 0 behind the mask."""
    zeros = jnp.zeros_like(emission_log_prob)
    terms = StepTerms(
        emission_log_prob=emission_log_prob,
        kl=jnp.sum(gaussian_kl(sites.proposal, prior), axis=-1),
        prior_log_prob=jnp.sum(gaussian_log_prob(prior, sites.latent), axis=-1),
        posterior_log_prob=jnp.sum(gaussian_log_prob(sites.proposal, sites.latent), axis=-1),
        aux_log_prob=zeros if aux_log_prob is None else aux_log_prob,
        reverse_log_prob=zeros if reverse_log_prob is None else reverse_log_prob,
    )
    return StepTerms(*(jnp.where(mask > 0, term, 0.0) for term in terms))
