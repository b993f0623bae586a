"""SRNN, smooth and with a residual posterior: Fraccaro, Sonderby, Paquet and Winther, "Sequential Neural Models with
Stochastic Layers", 2016.

    d_t = GRU(e(u_t), d_{t-1})                                deterministic layer: z does not enter it
    a_t = GRU_b([d_t, e(y_t)], a_{t+1}),  a_{T+1} = 0         backward recurrence over states and targets
    p(z_t | past) = N(z_t; f_p(d_t, z_{t-1}))                 prior, Markov in z
    q(z_t | x) = N(z_t; mean of p + f_q(a_t, z_{t-1}), ...)   approximate posterior, the mean a residual to the prior's
    p(y_t | past, z_t) = emission(f_o(d_t, z_t))              z_t reaches the output directly

Against Z-Forcing: the latents have a recurrence of their own, and the deterministic states can be computed for all
steps before the first z is drawn.  f_o has a hidden layer of mlp_dim, as d_t and z_t would otherwise only add up.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from zf_jax.distributions import Bounds, Gaussian, check_bounds, gaussian_sample
from zf_jax.emissions import build_emission, emission_log_prob, init_emission
from zf_jax.models.base import Features, Model, Sites, observed, step_terms
from zf_jax.nn.layers import (
    embed,
    gaussian_from_hidden,
    init_embedding,
    init_gaussian_head,
    linear,
    linear_part,
    split_keys,
)
from zf_jax.nn.recurrence import gru_gates, gru_states, init_gru, zero_lstm_state
from zf_jax.typing import Array, Batch, Observation, Params, StepTerms, clean


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of SRNN.

    Attributes:
      observation: what one element of a sequence is.
      emission: the head of p(y_t | .), by name or built.
      rnn_dim: H, of the forward and of the backward GRU.
      latent_dim: Z.
      mlp_dim: width of the hidden layer of f_p, f_q and f_o.
      embed_dim: E.
      emission_layers: widths of further hidden layers in f_o.
      latent_log_std_bounds, emission_log_std_bounds: smooth bounds of the scales (rule A5).
    """

    observation: Observation
    emission: Any = "bernoulli"
    rnn_dim: int = 1024
    latent_dim: int = 256
    mlp_dim: int = 512
    embed_dim: int = 512
    emission_layers: tuple[int, ...] = ()
    latent_log_std_bounds: Bounds = (-7.0, 5.0)
    emission_log_std_bounds: Bounds = (-7.0, 5.0)

    def __post_init__(self):
        for name in ("rnn_dim", "latent_dim", "mlp_dim", "embed_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if any(width < 1 for width in self.emission_layers):
            raise ValueError(f"emission_layers must be at least 1 each, not {self.emission_layers}")
        for bounds in (self.latent_log_std_bounds, self.emission_log_std_bounds):
            check_bounds(bounds)


class InputFeatures(NamedTuple):
    """d_t ``[..., H]``, and what it contributes to the prior's hidden layer ``[..., M]``, biases included."""

    hidden: Array
    prior: Array


def init(config: Config, emission: Any, key: Array) -> Params:
    """Draw the parameters."""
    keys = split_keys(key, "embedding", "forward", "backward", "prior", "posterior", "emission")
    h, z, m, e = config.rnn_dim, config.latent_dim, config.mlp_dim, config.embed_dim
    return {
        "embedding": init_embedding(keys["embedding"], config.observation, e),
        "forward": init_gru(keys["forward"], e, h),
        "backward": init_gru(keys["backward"], h + e, h),
        "prior": init_gaussian_head(keys["prior"], h + z, m, z),
        "posterior": init_gaussian_head(keys["posterior"], h + z, m, z),
        "emission": init_emission(keys["emission"], emission, h + z, (m, *config.emission_layers)),
    }


def input_features(params: Params, hidden: Array) -> InputFeatures:
    """What d_t ``[..., H]`` contributes to a step."""
    layer = params["prior"]["hidden"]
    return InputFeatures(hidden, linear_part(layer, hidden, 0) + layer["bias"])


def encode(config: Config, params: Params, batch: Batch) -> Features:
    """Both recurrences, and their projections into the heads' hidden layers."""
    batch = clean(batch)
    forward_gates = linear(params["forward"]["input"], embed(params["embedding"], batch.inputs))
    hidden = gru_states(params["forward"], forward_gates, batch.mask)
    seen = jnp.concatenate([hidden, embed(params["embedding"], batch.targets)], axis=-1)
    backward_gates = linear(params["backward"]["input"], seen)
    backward_states = gru_states(params["backward"], backward_gates, batch.mask, reverse=True)
    layer = params["posterior"]["hidden"]
    return Features(
        observed=observed(batch),
        inputs=input_features(params, hidden),
        posterior=linear_part(layer, backward_states, 0) + layer["bias"],
        extra=None,
    )


def prior_given(config: Config, params: Params, inputs: InputFeatures, previous: Array) -> Gaussian:
    """p(z_t | past) = N(f_p(d_t, z_{t-1})), ``previous`` being z_{t-1}."""
    hidden = inputs.prior + linear_part(params["prior"]["hidden"], previous, config.rnn_dim)
    return gaussian_from_hidden(params["prior"], hidden, config.latent_log_std_bounds)


def prior(config: Config, params: Params, features: Features, sites: Sites) -> Gaussian:
    """The prior along a trajectory."""
    return prior_given(config, params, features.inputs, sites.state)


def step(config: Config, params: Params, carry: Array, features: Features, noise: Array) -> tuple[Array, Sites]:
    """Draw z_t from the posterior, or from the prior where there is none; z_{t-1} is all the carry."""
    proposal = prior_given(config, params, features.inputs, carry)
    if features.posterior is not None:
        hidden = features.posterior + linear_part(params["posterior"]["hidden"], carry, config.rnn_dim)
        residual = gaussian_from_hidden(params["posterior"], hidden, config.latent_log_std_bounds)
        proposal = Gaussian(proposal.mean + residual.mean, residual.log_std)
    latent = gaussian_sample(proposal, noise)
    return latent, Sites(latent, proposal, carry)


def readout(config: Config, params: Params, features: Features, sites: Sites) -> Array:
    """The emission reads [d_t, z_t]."""
    return jnp.concatenate([features.inputs.hidden, sites.latent], axis=-1)


def score(config: Config, emission: Any, params: Params, features: Features, sites: Sites) -> StepTerms:
    """Every log-probability and divergence, of one step or of a whole trajectory."""
    hidden = readout(config, params, features, sites)
    return step_terms(
        mask=features.observed.mask,
        sites=sites,
        prior=prior(config, params, features, sites),
        emission_log_prob=emission_log_prob(params["emission"], emission, hidden, features.observed.targets),
    )


def initial_carry(config: Config, params: Params, like: Array) -> Array:
    """z_0 = 0 for each row of ``like`` ``[B, ...]``."""
    return zero_lstm_state(like[..., :1].astype(params["prior"]["mean"]["kernel"].dtype), config.latent_dim).hidden


def initial_memory(config: Config, params: Params, like: Array) -> Array:
    """d_0 = 0 for each row of ``like`` ``[B, ...]``."""
    return zero_lstm_state(like[..., :1].astype(params["prior"]["mean"]["kernel"].dtype), config.rnn_dim).hidden


def observe(config: Config, params: Params, memory: Array, inputs: Array, is_data: Array) -> tuple[Array, Features]:
    """d_t from d_{t-1} and one input u_t, with no posterior: for generation."""
    gates = linear(params["forward"]["input"], embed(params["embedding"], inputs))
    hidden = gru_gates(memory, gates, memory @ params["forward"]["recurrent"]["kernel"])
    return hidden, Features(None, input_features(params, hidden), None, None)


def build(config: Config) -> Model:
    """Bind the functions of this file to a config."""
    emission = build_emission(config.emission, config.observation, log_std_bounds=config.emission_log_std_bounds)
    return Model(
        config=config,
        emission=emission,
        latent_dim=config.latent_dim,
        init=partial(init, config, emission),
        encode=partial(encode, config),
        initial_carry=partial(initial_carry, config),
        step=partial(step, config),
        score=partial(score, config, emission),
        readout=partial(readout, config),
        prior=partial(prior, config),
        initial_memory=partial(initial_memory, config),
        observe=partial(observe, config),
        detach_posterior=lambda params, features: features,  # no auxiliary term whose gradient could be routed
    )
