"""Z-Forcing: Goyal, Sordoni, Cote, Ke and Bengio, "Z-Forcing: Training Stochastic Recurrent Networks", NIPS 2017.

b_t = LSTM_b(e(y_t), b_{t+1}),  b_{T+1} = 0              backward recurrence over the targets    eq. (6)
p(z_t | past) = N(z_t; f_p(h_{t-1}))                      prior                                   eq. (5)
q(z_t | x)    = N(z_t; f_q(h_{t-1}, b_t))                 approximate posterior                   eq. (7)
h_t = LSTM_f([e(u_t), W_z z_t], h_{t-1})                  forward recurrence                      eq. (4)
p(y_t | past, z_{1:t}) = emission(f_o(h_t))               z_t reaches the output only through h_t
p(b_t | z_t)  = N(b_t; f_a(z_t))                          auxiliary head                          eq. (8)
p(u_t | b_t)  = emission(f_r(b_t))                        reverse prediction                      eq. (10)

If a context c is given, e(u_t) and e(y_t) are of the element and of c_t, and f_p reads c_t beside h_{t-1}.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.distributions import Bounds, Gaussian, gaussian_log_prob, gaussian_sample
from zf_jax.emissions import emission_log_prob, init_emission
from zf_jax.models.base import Ends, Features, LatentModel, Sites, observed
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
from zf_jax.nn.precision import matmul
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_backward_states, lstm_gates
from zf_jax.typing import Array, Batch, Params, StepTerms, clean


class States(NamedTuple):
    """h_{t-1}, which the prior reads, and h_t, which the emission reads: each ``[..., H]``."""

    previous: Array
    hidden: Array


class InputFeatures(NamedTuple):
    """e(u_t) as it enters the forward gates ``[..., 4H]`` and the prior's hidden layer ``[..., M]``, with biases."""

    gates: Array
    prior: Array


@dataclasses.dataclass(frozen=True)
class ZForcing(LatentModel):
    """Z-Forcing; ``rnn_dim`` is the size of both LSTMs, and the emission also serves the reverse prediction.

    Attributes:
      prior_input, posterior_input: give f_p, f_q the input e(u_t) too (rule A4).
      aux_input: what f_a reads (rule A2).
      aux_log_std_bounds: smooth bounds of the auxiliary head's scales (rule A5).
    """

    prior_input: bool = False
    posterior_input: bool = False
    aux_input: Literal["latent", "hidden_and_latent"] = "latent"
    aux_log_std_bounds: Bounds = (-5.0, 5.0)

    has_auxiliary = True

    def __post_init__(self):
        super().__post_init__()
        if self.aux_input not in ("latent", "hidden_and_latent"):
            raise ValueError(f"aux_input must be 'latent' or 'hidden_and_latent', not {self.aux_input!r}")

    def init(self, key: Array) -> Params:
        """Draw the parameters; their names are the symbols of the equations above, spelt out."""
        keys = split_keys(
            key,
            *("embedding", "backward", "latent_embedding", "forward", "prior"),
            *("posterior", "auxiliary", "emission", "reverse"),
        )
        h, z, m, e = self.rnn_dim, self.latent_dim, self.mlp_dim, self.embed_dim
        aux_inputs = z if self.aux_input == "latent" else h + z
        return {
            "embedding": init_embedding(keys["embedding"], self.observation, e),
            "backward": init_lstm(keys["backward"], e, h),
            "latent_embedding": init_linear(keys["latent_embedding"], z, m),
            "forward": init_lstm(keys["forward"], e + m, h),
            "prior": init_gaussian_head(keys["prior"], h + e * self.prior_input + self.observation.context_size, m, z),
            "posterior": init_gaussian_head(keys["posterior"], 2 * h + e * self.posterior_input, m, z),
            "auxiliary": init_gaussian_head(keys["auxiliary"], aux_inputs, m, h),
            "emission": init_emission(keys["emission"], self.emission, h, self.emission_layers),
            "reverse": init_emission(keys["reverse"], self.emission, h, self.emission_layers),
        }

    def inputs(self, params: Params, inputs: Array, is_data: Array, context: Array | None = None) -> InputFeatures:
        """Return what e(u_t) contributes to the step and to the prior, for all steps in one matmul."""
        layer = params["forward"]["input"]
        gates = embed_into(params["embedding"], inputs, lambda e: linear_part(layer, e, 0) + layer["bias"], context)
        hidden = jnp.broadcast_to(params["prior"]["hidden"]["bias"], (*gates.shape[:-1], self.mlp_dim))
        if self.prior_input:
            embedded = embed(params["embedding"], inputs, context)
            hidden = hidden + linear_part(params["prior"]["hidden"], embedded, self.rnn_dim)
        if context is not None:  # h_{t-1} has read c_{t-1} at the latest
            start = self.rnn_dim + self.embed_dim * self.prior_input
            hidden = hidden + linear_part(params["prior"]["hidden"], context.astype(hidden.dtype), start)
        return InputFeatures(gates, hidden)

    def posterior_features(self, params: Params, backward_states: Array, seen: Any) -> Array:
        """Return what b_t, and e(u_t) where configured, contributes to f_q's hidden layer: ``[..., M]``."""
        layer = params["posterior"]["hidden"]
        hidden = linear_part(layer, backward_states, self.rnn_dim) + layer["bias"]
        if self.posterior_input:
            embedded = embed(params["embedding"], seen.inputs, seen.context)
            hidden = hidden + linear_part(layer, embedded, 2 * self.rnn_dim)
        return hidden

    def encode(self, params: Params, batch: Batch) -> Features:
        """Compute embeddings, the backward recurrence, and their projections into gates and heads."""
        return self.encode_piece(params, batch, self.initial_ends(params, batch.mask))[0]

    def initial_ends(self, params: Params, like: Array) -> Ends:
        """Return b_{T+1} = 0."""
        return Ends(after=self.initial_carry(params, like))

    def encode_piece(self, params: Params, batch: Batch, ends: Ends) -> tuple[Features, Ends]:
        """Encode a piece of the steps, given b of the step behind."""
        batch = clean(batch)
        into = partial(linear, params["backward"]["input"])
        gates = embed_into(params["embedding"], batch.targets, into, batch.context)
        first, backward_states = lstm_backward_states(params["backward"], gates, batch.mask, ends.after)  # eq. (6)
        features = Features(
            observed=observed(batch),
            inputs=self.inputs(params, batch.inputs, batch.input_mask, batch.context),
            posterior=self.posterior_features(params, backward_states, batch),
            extra=backward_states,
        )
        return features, Ends(after=first)

    def detach_posterior(self, params: Params, features: Features) -> Features:
        """Return equal features with no gradient into b_{1:T}; f_q's kernel and the inputs keep theirs (rule A1)."""
        stopped = jax.lax.stop_gradient(features.extra)
        posterior = self.posterior_features(params, stopped, features.observed)
        return features._replace(posterior=posterior, extra=stopped)

    def prior(self, params: Params, features: Features, sites: Sites) -> Gaussian:
        """Return p(z_t | past) = N(z_t; f_p(h_{t-1})): eq. (5)."""
        hidden = linear_part(params["prior"]["hidden"], sites.state.previous, 0) + features.inputs.prior
        return gaussian_from_hidden(params["prior"], hidden, self.latent_log_std_bounds)

    def step(self, params: Params, carry: LSTMState, features: Features, noise: Array) -> tuple[LSTMState, Sites]:
        """Draw z_t from the posterior, or from the prior where there is none, and update the forward state."""
        head, contribution = "posterior", features.posterior
        if features.posterior is None:
            head, contribution = "prior", features.inputs.prior
        hidden = linear_part(params[head]["hidden"], carry.hidden, 0) + contribution
        proposal = gaussian_from_hidden(params[head], hidden, self.latent_log_std_bounds)  # eq. (7), or (5)
        latent = gaussian_sample(proposal, noise)
        # W_z is linear: its product with the gates' kernel depends on the parameters alone, and leaves the scan.
        forward, w_z = params["forward"], params["latent_embedding"]
        latent_gates = {name: linear_part(forward["input"], w_z[name], self.embed_dim) for name in ("kernel", "bias")}
        from_state = matmul(carry.hidden, forward["recurrent"]["kernel"])
        gates = features.inputs.gates + from_state + linear(latent_gates, latent)
        state = lstm_gates(carry, gates)  # eq. (4)
        return state, Sites(latent, proposal, States(previous=carry.hidden, hidden=state.hidden))

    def readout(self, params: Params, features: Features, sites: Sites) -> Array:
        """Return h_t, all that the emission reads."""
        return sites.state.hidden

    def score(self, params: Params, features: Features, sites: Sites) -> StepTerms:
        """Add the auxiliary and the reverse term, where there are backward states, to what every model has."""
        terms = super().score(params, features, sites)
        if features.extra is None:
            return terms
        seen = features.observed
        target = jax.lax.stop_gradient(features.extra)  # rule A1: b_t is a target, never moved by this term
        aux_input = sites.latent
        if self.aux_input == "hidden_and_latent":
            aux_input = jnp.concatenate([sites.state.previous, sites.latent], axis=-1)
        raw = gaussian_head(params["auxiliary"], aux_input, self.aux_log_std_bounds)
        auxiliary = Gaussian(jnp.tanh(raw.mean), raw.log_std)  # rule A3: LSTM states lie in (-1, 1)
        aux_log_prob = jnp.sum(gaussian_log_prob(auxiliary, target), axis=-1)  # eq. (8)
        # A start token is not one of the emission's classes; a safe one takes its place, and its term is dropped.
        data = seen.input_mask > 0
        is_data = data.reshape(data.shape + (1,) * (seen.inputs.ndim - data.ndim))
        inputs = jnp.where(is_data, seen.inputs, jnp.zeros_like(seen.inputs))
        reverse_log_prob = emission_log_prob(params["reverse"], self.emission, features.extra, inputs)
        return terms._replace(
            aux_log_prob=jnp.where(seen.mask > 0, aux_log_prob, 0.0),
            reverse_log_prob=jnp.where(data & (seen.mask > 0), reverse_log_prob, 0.0),  # eq. (10), rule A6
        )
