"""STORN: Bayer and Osendorfer, "Learning Stochastic Recurrent Networks", 2014.

    r_t = LSTM_q(e(y_t), r_{t-1})                             forward recurrence of the posterior
    p(z_t) = N(z_t; 0, I)                                     prior, blind to the past
    q(z_t | y_{1:t}) = N(z_t; f_q(r_t))                       approximate posterior
    h_t = LSTM([e(u_t), W_z z_t], h_{t-1})                    forward recurrence
    p(y_t | past, z_{1:t}) = emission(f_o(h_t))               z_t reaches the output only through h_t

Against Z-Forcing: the prior does not know h_{t-1}; the posterior does not either, and sees the past and present only.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax.numpy as jnp

from zf_jax.distributions import Bounds, Gaussian, check_bounds, gaussian_sample
from zf_jax.emissions import build_emission, emission_log_prob, init_emission
from zf_jax.models.base import Features, Model, Sites, observed, step_terms
from zf_jax.nn.layers import (
    embed,
    gaussian_head,
    init_embedding,
    init_gaussian_head,
    init_linear,
    linear,
    linear_part,
    split_keys,
)
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_forward, lstm_gates, zero_lstm_state
from zf_jax.typing import Array, Batch, Observation, Params, StepTerms, clean


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of STORN.

    Attributes:
      observation: what one element of a sequence is.
      emission: the head of p(y_t | .), by name or built.
      rnn_dim: H, of both LSTMs.
      latent_dim: Z.
      mlp_dim: width of W_z and of the hidden layer of f_q.
      embed_dim: E.
      emission_layers: widths of hidden layers in f_o; none makes it linear.
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


def init(config: Config, emission: Any, key: Array) -> Params:
    """Draw the parameters."""
    keys = split_keys(key, "embedding", "recognition", "latent_embedding", "forward", "posterior", "emission")
    h, z, m, e = config.rnn_dim, config.latent_dim, config.mlp_dim, config.embed_dim
    return {
        "embedding": init_embedding(keys["embedding"], config.observation, e),
        "recognition": init_lstm(keys["recognition"], e, h),
        "latent_embedding": init_linear(keys["latent_embedding"], z, m),
        "forward": init_lstm(keys["forward"], e + m, h),
        "posterior": init_gaussian_head(keys["posterior"], h, m, z),
        "emission": init_emission(keys["emission"], emission, h, config.emission_layers),
    }


def input_gates(params: Params, inputs: Array) -> Array:
    """What e(u_t) contributes to the forward gates, biases included: ``[..., 4H]``."""
    layer = params["forward"]["input"]
    return linear_part(layer, embed(params["embedding"], inputs), 0) + layer["bias"]


def encode(config: Config, params: Params, batch: Batch) -> Features:
    """Embeddings, and the whole posterior: it depends on data alone."""
    batch = clean(batch)
    recognition = lstm_forward(params["recognition"], embed(params["embedding"], batch.targets))
    posterior = gaussian_head(params["posterior"], recognition, config.latent_log_std_bounds)
    return Features(observed=observed(batch), inputs=input_gates(params, batch.inputs), posterior=posterior, extra=None)


def prior(config: Config, params: Params, features: Features, sites: Sites) -> Gaussian:
    """p(z_t) = N(0, I)."""
    return Gaussian(jnp.zeros_like(sites.latent), jnp.zeros_like(sites.latent))


def step(config: Config, params: Params, carry: LSTMState, features: Features, noise: Array) -> tuple[LSTMState, Sites]:
    """Draw z_t from the posterior, or from the prior where there is none, and update the forward state."""
    standard = Gaussian(jnp.zeros_like(noise), jnp.zeros_like(noise))
    proposal = standard if features.posterior is None else features.posterior
    latent = gaussian_sample(proposal, noise)
    gates = (
        features.inputs
        + linear_part(params["forward"]["input"], linear(params["latent_embedding"], latent), config.embed_dim)
        + carry.hidden @ params["forward"]["recurrent"]["kernel"]
    )
    state = lstm_gates(carry, gates)
    return state, Sites(latent, proposal, state.hidden)


def readout(config: Config, params: Params, features: Features, sites: Sites) -> Array:
    """The emission reads h_t alone."""
    return sites.state


def score(config: Config, emission: Any, params: Params, features: Features, sites: Sites) -> StepTerms:
    """Every log-probability and divergence, of one step or of a whole trajectory."""
    hidden = readout(config, params, features, sites)
    return step_terms(
        mask=features.observed.mask,
        sites=sites,
        prior=prior(config, params, features, sites),
        emission_log_prob=emission_log_prob(params["emission"], emission, hidden, features.observed.targets),
    )


def initial_carry(config: Config, params: Params, like: Array) -> LSTMState:
    """h_0 = c_0 = 0 for each row of ``like`` ``[B, ...]``."""
    return zero_lstm_state(like[..., :1].astype(params["forward"]["recurrent"]["kernel"].dtype), config.rnn_dim)


def observe(config: Config, params: Params, memory: tuple, inputs: Array, is_data: Array) -> tuple[tuple, Features]:
    """Features of one input u_t, with no posterior: for generation."""
    return memory, Features(None, input_gates(params, inputs), None, None)


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
        initial_memory=lambda params, like: (),
        observe=partial(observe, config),
        detach_posterior=lambda params, features: features,  # no auxiliary term whose gradient could be routed
    )
