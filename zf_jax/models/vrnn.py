"""VRNN: Chung, Kastner, Dinh, Goel, Courville, Bengio, "A Recurrent Latent Variable Model for Sequential Data", 2015.

    p(z_t | past) = N(z_t; f_p(h_{t-1}))                      prior; N(0, I) in VRNN-I
    q(z_t | past, y_t) = N(z_t; f_q(e(y_t), h_{t-1}))         approximate posterior, blind to the future
    p(y_t | past, z_t) = emission(f_o(z_t, h_{t-1}))          z_t reaches the output directly
    h_t = LSTM([e(y_t), W_z z_t], h_{t-1}),  h_0 = 0          recurrence, after the output

Against Z-Forcing: no backward recurrence, and the output hangs on z_t and h_{t-1} side by side.  f_o has a hidden
layer of mlp_dim, as z_t and h_{t-1} would otherwise only add up.

h_t reads y_t, so a step that began with it would need its own target.  Here the carry lags: step t begins by bringing
h_{t-1} up to date with u_t = y_{t-1} and z_{t-1}, where u_t is data; on a start token the state stays as it is.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.distributions import Bounds, Gaussian, check_bounds, gaussian_sample
from zf_jax.emissions import build_emission, emission_log_prob, init_emission
from zf_jax.models.base import Features, Model, Sites, observed, step_terms
from zf_jax.nn.layers import (
    embed,
    gaussian_from_hidden,
    gaussian_head,
    init_embedding,
    init_gaussian_head,
    init_linear,
    linear,
    linear_part,
    split_keys,
)
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_gates, zero_lstm_state
from zf_jax.typing import Array, Batch, Observation, Params, StepTerms, clean


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes and options of VRNN.

    Attributes:
      observation: what one element of a sequence is.
      emission: the head of p(y_t | .), by name or built.
      rnn_dim: H.
      latent_dim: Z.
      mlp_dim: width of W_z and of the hidden layer of f_p, f_q and f_o.
      embed_dim: E.
      emission_layers: widths of further hidden layers in f_o.
      prior: ``"learned"``, or ``"standard"`` for the independent N(0, I) of VRNN-I.
      latent_log_std_bounds, emission_log_std_bounds: smooth bounds of the scales (rule A5).
    """

    observation: Observation
    emission: Any = "bernoulli"
    rnn_dim: int = 1024
    latent_dim: int = 256
    mlp_dim: int = 512
    embed_dim: int = 512
    emission_layers: tuple[int, ...] = ()
    prior: Literal["learned", "standard"] = "learned"
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
        if self.prior not in ("learned", "standard"):
            raise ValueError(f"prior must be 'learned' or 'standard', not {self.prior!r}")


class Carry(NamedTuple):
    """What step t begins with: the state one element behind, and z_{t-1} ``[..., Z]``, which it has yet to read."""

    state: LSTMState
    latent: Array


class InputFeatures(NamedTuple):
    """e(u_t) as it enters the gates ``[..., 4H]``, biases included, and whether u_t is data ``[...]``."""

    gates: Array
    is_data: Array


def init(config: Config, emission: Any, key: Array) -> Params:
    """Draw the parameters."""
    keys = split_keys(key, "embedding", "latent_embedding", "forward", "prior", "posterior", "emission")
    h, z, m, e = config.rnn_dim, config.latent_dim, config.mlp_dim, config.embed_dim
    params = {
        "embedding": init_embedding(keys["embedding"], config.observation, e),
        "latent_embedding": init_linear(keys["latent_embedding"], z, m),
        "forward": init_lstm(keys["forward"], e + m, h),
        "posterior": init_gaussian_head(keys["posterior"], h + e, m, z),
        "emission": init_emission(keys["emission"], emission, z + h, (m, *config.emission_layers)),
    }
    if config.prior == "learned":
        params["prior"] = init_gaussian_head(keys["prior"], h, m, z)
    return params


def input_features(params: Params, inputs: Array, is_data: Array) -> InputFeatures:
    """What u_t contributes to the update of the state."""
    layer = params["forward"]["input"]
    return InputFeatures(linear_part(layer, embed(params["embedding"], inputs), 0) + layer["bias"], is_data)


def encode(config: Config, params: Params, batch: Batch) -> Features:
    """Embeddings, and their projections into gates and the posterior's hidden layer."""
    batch = clean(batch)
    layer = params["posterior"]["hidden"]
    return Features(
        observed=observed(batch),
        inputs=input_features(params, batch.inputs, batch.input_mask),
        posterior=linear_part(layer, embed(params["embedding"], batch.targets), config.rnn_dim) + layer["bias"],
        extra=None,
    )


def prior_given(config: Config, params: Params, hidden: Array) -> Gaussian:
    """p(z_t | past) = N(f_p(h_{t-1})), or N(0, I)."""
    if config.prior == "standard":
        zeros = jnp.zeros_like(hidden[..., :1]) * jnp.zeros((config.latent_dim,), hidden.dtype)
        return Gaussian(zeros, zeros)
    return gaussian_head(params["prior"], hidden, config.latent_log_std_bounds)


def prior(config: Config, params: Params, features: Features, sites: Sites) -> Gaussian:
    """The prior along a trajectory."""
    return prior_given(config, params, sites.state)


def step(config: Config, params: Params, carry: Carry, features: Features, noise: Array) -> tuple[Carry, Sites]:
    """Bring h_{t-1} up to date, then draw z_t from the posterior, or from the prior where there is none."""
    gates = (
        features.inputs.gates
        + linear_part(params["forward"]["input"], linear(params["latent_embedding"], carry.latent), config.embed_dim)
        + carry.state.hidden @ params["forward"]["recurrent"]["kernel"]
    )
    is_data = features.inputs.is_data[..., None] > 0
    state = jax.tree.map(lambda new, old: jnp.where(is_data, new, old), lstm_gates(carry.state, gates), carry.state)
    if features.posterior is None:
        proposal = prior_given(config, params, state.hidden)
    else:
        hidden = linear_part(params["posterior"]["hidden"], state.hidden, 0) + features.posterior
        proposal = gaussian_from_hidden(params["posterior"], hidden, config.latent_log_std_bounds)
    latent = gaussian_sample(proposal, noise)
    return Carry(state, latent), Sites(latent, proposal, state.hidden)


def readout(config: Config, params: Params, features: Features, sites: Sites) -> Array:
    """The emission reads [z_t, h_{t-1}]."""
    return jnp.concatenate([sites.latent, sites.state], axis=-1)


def score(config: Config, emission: Any, params: Params, features: Features, sites: Sites) -> StepTerms:
    """Every log-probability and divergence, of one step or of a whole trajectory."""
    hidden = readout(config, params, features, sites)
    return step_terms(
        mask=features.observed.mask,
        sites=sites,
        prior=prior(config, params, features, sites),
        emission_log_prob=emission_log_prob(params["emission"], emission, hidden, features.observed.targets),
    )


def initial_carry(config: Config, params: Params, like: Array) -> Carry:
    """h_0 = c_0 = 0 and z_0 = 0 for each row of ``like`` ``[B, ...]``."""
    like = like[..., :1].astype(params["forward"]["recurrent"]["kernel"].dtype)
    return Carry(zero_lstm_state(like, config.rnn_dim), zero_lstm_state(like, config.latent_dim).hidden)


def observe(config: Config, params: Params, memory: tuple, inputs: Array, is_data: Array) -> tuple[tuple, Features]:
    """Features of one input u_t, with no posterior: for generation."""
    return memory, Features(None, input_features(params, inputs, is_data), None, None)


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
