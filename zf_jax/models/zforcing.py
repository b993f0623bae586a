"""Z-Forcing: Goyal, Sordoni, Cote, Ke and Bengio, "Z-Forcing: Training Stochastic Recurrent Networks", NIPS 2017.

b_t = LSTM_b(e(y_t), b_{t+1}),  b_{T+1} = 0              backward recurrence over the targets    eq. (6)
p(z_t | past) = N(z_t; f_p(h_{t-1}))                      prior                                   eq. (5)
q(z_t | x)    = N(z_t; f_q(h_{t-1}, b_t))                 approximate posterior                   eq. (7)
h_t = LSTM_f([e(u_t), W_z z_t], h_{t-1})                  forward recurrence                      eq. (4)
p(y_t | past, z_{1:t}) = emission(f_o(h_t))               z_t reaches the output only through h_t
p(b_t | z_t)  = N(b_t; f_a(z_t))                          auxiliary head                          eq. (8)
p(u_t | b_t)  = emission(f_r(b_t))                        reverse prediction                      eq. (10)
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.distributions import Bounds, Gaussian, check_bounds, gaussian_log_prob, gaussian_sample
from zf_jax.emissions import build_emission, emission_log_prob, init_emission
from zf_jax.models.base import Features, Model, Sites, observed, step_terms
from zf_jax.nn.layers import (
    embed,
    embed_into,
    gaussian_from_hidden,
    gaussian_head,
    init_embedding,
    init_gaussian_head,
    init_linear,
    linear,
    linear_part,
    split_keys,
)
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_backward_states, lstm_gates, zero_lstm_state
from zf_jax.typing import Array, Batch, Observation, Params, StepTerms, clean


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes and options of Z-Forcing.

    Attributes:
      observation: what one element of a sequence is.
      emission: the head of p(y_t | .) and of the reverse prediction, by name or built.
      rnn_dim: H, of the forward and of the backward LSTM.
      latent_dim: Z.
      mlp_dim: width of W_z and of the hidden layer of f_p, f_q and f_a.
      embed_dim: E.
      emission_layers: widths of hidden layers in f_o and f_r; none makes them linear.
      prior_input, posterior_input: give f_p, f_q the input e(u_t) too (rule A4).
      aux_input: what f_a reads (rule A2).
      latent_log_std_bounds, emission_log_std_bounds, aux_log_std_bounds: smooth bounds of the scales (rule A5).
    """

    observation: Observation
    emission: Any = "bernoulli"
    rnn_dim: int = 1024
    latent_dim: int = 256
    mlp_dim: int = 512
    embed_dim: int = 512
    emission_layers: tuple[int, ...] = ()
    prior_input: bool = False
    posterior_input: bool = False
    aux_input: Literal["latent", "hidden_and_latent"] = "latent"
    latent_log_std_bounds: Bounds = (-7.0, 5.0)
    emission_log_std_bounds: Bounds = (-7.0, 5.0)
    aux_log_std_bounds: Bounds = (-5.0, 5.0)

    def __post_init__(self):
        for name in ("rnn_dim", "latent_dim", "mlp_dim", "embed_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if any(width < 1 for width in self.emission_layers):
            raise ValueError(f"emission_layers must be at least 1 each, not {self.emission_layers}")
        for bounds in (self.latent_log_std_bounds, self.emission_log_std_bounds, self.aux_log_std_bounds):
            check_bounds(bounds)
        if self.aux_input not in ("latent", "hidden_and_latent"):
            raise ValueError(f"aux_input must be 'latent' or 'hidden_and_latent', not {self.aux_input!r}")


class States(NamedTuple):
    """h_{t-1}, which the prior reads, and h_t, which the emission reads: each ``[..., H]``."""

    previous: Array
    hidden: Array


class InputFeatures(NamedTuple):
    """e(u_t) as it enters the forward gates ``[..., 4H]`` and the prior's hidden layer ``[..., M]``, with biases."""

    gates: Array
    prior: Array


def init(config: Config, emission: Any, key: Array) -> Params:
    """Draw the parameters; their names are the symbols of the equations above, spelt out."""
    keys = split_keys(
        key,
        *("embedding", "backward", "latent_embedding", "forward", "prior"),
        *("posterior", "auxiliary", "emission", "reverse"),
    )
    h, z, m, e = config.rnn_dim, config.latent_dim, config.mlp_dim, config.embed_dim
    aux_inputs = z if config.aux_input == "latent" else h + z
    return {
        "embedding": init_embedding(keys["embedding"], config.observation, e),
        "backward": init_lstm(keys["backward"], e, h),
        "latent_embedding": init_linear(keys["latent_embedding"], z, m),
        "forward": init_lstm(keys["forward"], e + m, h),
        "prior": init_gaussian_head(keys["prior"], h + e * config.prior_input, m, z),
        "posterior": init_gaussian_head(keys["posterior"], 2 * h + e * config.posterior_input, m, z),
        "auxiliary": init_gaussian_head(keys["auxiliary"], aux_inputs, m, h),
        "emission": init_emission(keys["emission"], emission, h, config.emission_layers),
        "reverse": init_emission(keys["reverse"], emission, h, config.emission_layers),
    }


def input_features(config: Config, params: Params, inputs: Array) -> InputFeatures:
    """What e(u_t) contributes to the step and to the prior, for all steps in one matmul."""
    layer = params["forward"]["input"]
    gates = embed_into(params["embedding"], inputs, lambda e: linear_part(layer, e, 0) + layer["bias"])
    hidden = jnp.broadcast_to(params["prior"]["hidden"]["bias"], (*gates.shape[:-1], config.mlp_dim))
    if config.prior_input:
        embedded = embed(params["embedding"], inputs)
        hidden = hidden + linear_part(params["prior"]["hidden"], embedded, config.rnn_dim)
    return InputFeatures(gates, hidden)


def posterior_features(config: Config, params: Params, backward_states: Array, inputs: Array) -> Array:
    """What b_t, and e(u_t) where configured, contributes to f_q's hidden layer: ``[..., M]``."""
    layer = params["posterior"]["hidden"]
    hidden = linear_part(layer, backward_states, config.rnn_dim) + layer["bias"]
    if config.posterior_input:
        hidden = hidden + linear_part(layer, embed(params["embedding"], inputs), 2 * config.rnn_dim)
    return hidden


def encode(config: Config, params: Params, batch: Batch) -> Features:
    """Embeddings, the backward recurrence, and their projections into gates and heads."""
    batch = clean(batch)
    gates = embed_into(params["embedding"], batch.targets, partial(linear, params["backward"]["input"]))
    backward_states = lstm_backward_states(params["backward"], gates, batch.mask)  # eq. (6)
    return Features(
        observed=observed(batch),
        inputs=input_features(config, params, batch.inputs),
        posterior=posterior_features(config, params, backward_states, batch.inputs),
        extra=backward_states,
    )


def detach_posterior(config: Config, params: Params, features: Features) -> Features:
    """The same features with no gradient into b_{1:T}: f_q's own kernel and the inputs keep theirs (rule A1)."""
    stopped = jax.lax.stop_gradient(features.extra)
    posterior = posterior_features(config, params, stopped, features.observed.inputs)
    return features._replace(posterior=posterior, extra=stopped)


def prior(config: Config, params: Params, features: Features, sites: Sites) -> Gaussian:
    """p(z_t | past) = N(z_t; f_p(h_{t-1})): eq. (5)."""
    hidden = linear_part(params["prior"]["hidden"], sites.state.previous, 0) + features.inputs.prior
    return gaussian_from_hidden(params["prior"], hidden, config.latent_log_std_bounds)


def step(config: Config, params: Params, carry: LSTMState, features: Features, noise: Array) -> tuple[LSTMState, Sites]:
    """Draw z_t from the posterior, or from the prior where there is none, and update the forward state."""
    head, contribution = "posterior", features.posterior
    if features.posterior is None:
        head, contribution = "prior", features.inputs.prior
    hidden = linear_part(params[head]["hidden"], carry.hidden, 0) + contribution
    proposal = gaussian_from_hidden(params[head], hidden, config.latent_log_std_bounds)  # eq. (7), or (5)
    latent = gaussian_sample(proposal, noise)
    # W_z is linear: its product with the gates' kernel depends on the parameters alone, and leaves the scan.
    forward, w_z = params["forward"], params["latent_embedding"]
    latent_gates = {name: linear_part(forward["input"], w_z[name], config.embed_dim) for name in ("kernel", "bias")}
    gates = features.inputs.gates + carry.hidden @ forward["recurrent"]["kernel"] + linear(latent_gates, latent)
    state = lstm_gates(carry, gates)  # eq. (4)
    return state, Sites(latent, proposal, States(previous=carry.hidden, hidden=state.hidden))


def readout(config: Config, params: Params, features: Features, sites: Sites) -> Array:
    """The emission reads h_t alone."""
    return sites.state.hidden


def score(config: Config, emission: Any, params: Params, features: Features, sites: Sites) -> StepTerms:
    """Every log-probability and divergence, of one step or of a whole trajectory, in a few large matmuls."""
    seen = features.observed
    aux_log_prob = reverse_log_prob = None
    if features.extra is not None:
        target = jax.lax.stop_gradient(features.extra)  # rule A1: b_t is a target, never moved by this term
        aux_input = sites.latent
        if config.aux_input == "hidden_and_latent":
            aux_input = jnp.concatenate([sites.state.previous, sites.latent], axis=-1)
        raw = gaussian_head(params["auxiliary"], aux_input, config.aux_log_std_bounds)
        auxiliary = Gaussian(jnp.tanh(raw.mean), raw.log_std)  # rule A3: LSTM states lie in (-1, 1)
        aux_log_prob = jnp.sum(gaussian_log_prob(auxiliary, target), axis=-1)  # eq. (8)
        # A start token is not one of the emission's classes; a safe one takes its place, and its term is dropped.
        data = seen.input_mask > 0
        is_data = data.reshape(data.shape + (1,) * (seen.inputs.ndim - data.ndim))
        inputs = jnp.where(is_data, seen.inputs, jnp.zeros_like(seen.inputs))
        reverse_log_prob = emission_log_prob(params["reverse"], emission, features.extra, inputs)
        reverse_log_prob = jnp.where(data, reverse_log_prob, 0.0)  # eq. (10), rule A6
    return step_terms(
        mask=seen.mask,
        sites=sites,
        prior=prior(config, params, features, sites),
        emission_log_prob=emission_log_prob(params["emission"], emission, sites.state.hidden, seen.targets),
        aux_log_prob=aux_log_prob,
        reverse_log_prob=reverse_log_prob,
    )


def initial_carry(config: Config, params: Params, like: Array) -> LSTMState:
    """h_0 = c_0 = 0 for each row of ``like`` ``[B, ...]``."""
    kernel = params["forward"]["recurrent"]["kernel"]
    return zero_lstm_state(like[..., :1].astype(kernel.dtype), config.rnn_dim)


def observe(config: Config, params: Params, memory: tuple, inputs: Array, is_data: Array) -> tuple[tuple, Features]:
    """Features of one input u_t, ``[B]`` tokens or ``[B, D]`` frames, with no posterior: for generation."""
    return memory, Features(None, input_features(config, params, inputs), None, None)


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
        detach_posterior=partial(detach_posterior, config),
    )
