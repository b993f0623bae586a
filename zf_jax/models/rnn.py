"""The same LSTM without latents (RNN-Gauss of Table 1, and its siblings by emission): exact log-likelihood.

h_t = LSTM(e(u_t), h_{t-1}),    p(y_t | past) = emission(f_o(h_t))
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from zf_jax.distributions import Bounds, Gaussian, check_bounds
from zf_jax.emissions import build_emission, emission_log_prob, init_emission
from zf_jax.models.base import Features, Model, Sites, observed, step_terms
from zf_jax.nn.layers import embed, init_embedding, linear, split_keys
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_gates, zero_lstm_state
from zf_jax.typing import Array, Batch, Observation, Params, StepTerms, clean


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the plain recurrent network.

    Attributes:
      observation: what one element of a sequence is.
      emission: the head of p(y_t | past).
      rnn_dim: H.
      embed_dim: E.
      emission_layers: widths of hidden layers in f_o; none makes it linear.
      emission_log_std_bounds: smooth bounds of the scales (rule A5).
    """

    observation: Observation
    emission: Any = "bernoulli"
    rnn_dim: int = 1024
    embed_dim: int = 512
    emission_layers: tuple[int, ...] = ()
    emission_log_std_bounds: Bounds = (-7.0, 5.0)

    def __post_init__(self):
        for name in ("rnn_dim", "embed_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if any(width < 1 for width in self.emission_layers):
            raise ValueError(f"emission_layers must be at least 1 each, not {self.emission_layers}")
        check_bounds(self.emission_log_std_bounds)


def init(config: Config, emission: Any, key: Array) -> Params:
    """Draw the parameters."""
    keys = split_keys(key, "embedding", "forward", "emission")
    return {
        "embedding": init_embedding(keys["embedding"], config.observation, config.embed_dim),
        "forward": init_lstm(keys["forward"], config.embed_dim, config.rnn_dim),
        "emission": init_emission(keys["emission"], emission, config.rnn_dim, config.emission_layers),
    }


def encode(config: Config, params: Params, batch: Batch) -> Features:
    """Embed the inputs and project them into the gates; there is no posterior."""
    batch = clean(batch)
    gates = linear(params["forward"]["input"], embed(params["embedding"], batch.inputs))
    return Features(observed=observed(batch), inputs=gates, posterior=None, extra=None)


def step(config: Config, params: Params, carry: LSTMState, features: Features, noise: Array) -> tuple[LSTMState, Sites]:
    """Update the state; the latent is empty, ``[..., 0]``."""
    state = lstm_gates(carry, features.inputs + carry.hidden @ params["forward"]["recurrent"]["kernel"])
    return state, Sites(noise, Gaussian(noise, noise), state.hidden)


def prior(config: Config, params: Params, features: Features, sites: Sites) -> Gaussian:
    """A Gaussian of no dimensions."""
    return sites.proposal


def readout(config: Config, params: Params, features: Features, sites: Sites) -> Array:
    """The emission reads h_t."""
    return sites.state


def score(config: Config, emission: Any, params: Params, features: Features, sites: Sites) -> StepTerms:
    """The emission's log-probabilities; every other term is 0, so that the ELBO is the exact log-likelihood."""
    return step_terms(
        mask=features.observed.mask,
        sites=sites,
        prior=sites.proposal,
        emission_log_prob=emission_log_prob(params["emission"], emission, sites.state, features.observed.targets),
    )


def initial_carry(config: Config, params: Params, like: Array) -> LSTMState:
    """h_0 = c_0 = 0 for each row of ``like`` ``[B, ...]``."""
    return zero_lstm_state(like[..., :1].astype(params["forward"]["recurrent"]["kernel"].dtype), config.rnn_dim)


def observe(config: Config, params: Params, memory: tuple, inputs: Array, is_data: Array) -> tuple[tuple, Features]:
    """Features of one input u_t."""
    return memory, Features(None, linear(params["forward"]["input"], embed(params["embedding"], inputs)), None, None)


def build(config: Config) -> Model:
    """Bind the functions of this file to a config."""
    emission = build_emission(config.emission, config.observation, log_std_bounds=config.emission_log_std_bounds)
    return Model(
        config=config,
        emission=emission,
        latent_dim=0,
        init=partial(init, config, emission),
        encode=partial(encode, config),
        initial_carry=partial(initial_carry, config),
        step=partial(step, config),
        score=partial(score, config, emission),
        readout=partial(readout, config),
        prior=partial(prior, config),
        initial_memory=lambda params, like: (),
        observe=partial(observe, config),
        detach_posterior=lambda params, features: features,
    )
