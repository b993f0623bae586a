"""VRNN: Chung, Kastner, Dinh, Goel, Courville, Bengio, "A Recurrent Latent Variable Model for Sequential Data", 2015.

    p(z_t | past) = N(z_t; f_p(h_{t-1}))                      prior; N(0, I) in VRNN-I
    q(z_t | past, y_t) = N(z_t; f_q(e(y_t), h_{t-1}))         approximate posterior, blind to the future
    p(y_t | past, z_t) = emission(f_o(z_t, h_{t-1}))          z_t reaches the output directly
    h_t = LSTM([e(y_t), W_z z_t], h_{t-1}),  h_0 = 0          recurrence, after the output

Against Z-Forcing: no backward recurrence, and the output hangs on z_t and h_{t-1} side by side.  f_o has a hidden
layer of mlp_dim, as z_t and h_{t-1} would otherwise only add up.

h_t reads y_t, so a step that began with it would need its own target.  Here the carry lags: step t begins by bringing
h_{t-1} up to date with u_t = y_{t-1} and z_{t-1}, where u_t is data; on a start token the state stays as it is.  If a
context is given, that update reads c_t too, and takes place on a start token as well: c_1 is data.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.distributions import Gaussian, gaussian_sample
from zf_jax.emissions import init_emission
from zf_jax.models.base import Ends, Features, LatentModel, Sites
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
from zf_jax.nn.precision import matmul
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_gates, zeros_like_rows
from zf_jax.typing import Array, Batch, Params


class Carry(NamedTuple):
    """What step t begins with: the state one element behind, and z_{t-1} ``[..., Z]``, which it has yet to read."""

    state: LSTMState
    latent: Array


class InputFeatures(NamedTuple):
    """e(u_t) as it enters the gates ``[..., 4H]``, biases included, and whether u_t is data ``[...]``."""

    gates: Array
    is_data: Array


@dataclasses.dataclass(frozen=True)
class VRNN(LatentModel):
    """VRNN; ``emission_layers`` are further hidden layers of f_o."""

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        keys = split_keys(key, "embedding", "latent_embedding", "forward", "prior", "posterior", "emission")
        h, z, m, e = self.rnn_dim, self.latent_dim, self.mlp_dim, self.embed_dim
        return {
            "embedding": init_embedding(keys["embedding"], self.observation, e),
            "latent_embedding": init_linear(keys["latent_embedding"], z, m),
            "forward": init_lstm(keys["forward"], e + m, h),
            "posterior": init_gaussian_head(keys["posterior"], h + e, m, z),
            "emission": init_emission(keys["emission"], self.emission, z + h, (m, *self.emission_layers)),
            "prior": init_gaussian_head(keys["prior"], h, m, z),
        }

    def inputs(self, params: Params, inputs: Array, is_data: Array, context: Array | None = None) -> InputFeatures:
        """Return what u_t contributes to the update of the state."""
        layer = params["forward"]["input"]
        gates = linear_part(layer, embed(params["embedding"], inputs, context), 0) + layer["bias"]
        return InputFeatures(gates, is_data if context is None else jnp.ones_like(is_data))

    def posterior(self, params: Params, batch: Batch) -> Array:
        """Return what e(y_t) contributes to f_q's hidden layer: ``[B, T, M]``."""
        layer = params["posterior"]["hidden"]
        embedded = embed(params["embedding"], batch.targets, batch.context)
        return linear_part(layer, embedded, self.rnn_dim) + layer["bias"]

    def initial_ends(self, params: Params, like: Array) -> Ends:
        """Return no state: ``encode`` has no recurrence."""
        return Ends()

    def prior_given(self, params: Params, hidden: Array) -> Gaussian:
        """Return p(z_t | past) = N(f_p(h_{t-1})), ``hidden`` being h_{t-1}."""
        return gaussian_head(params["prior"], hidden, self.latent_log_std_bounds)

    def prior(self, params: Params, features: Features, sites: Sites) -> Gaussian:
        """Return the prior along a trajectory."""
        return self.prior_given(params, sites.state)

    def initial_carry(self, params: Params, like: Array) -> Carry:
        """Return h_0 = c_0 = 0 and z_0 = 0."""
        state = super().initial_carry(params, like)
        return Carry(state, zeros_like_rows(state.hidden, self.latent_dim))

    def step(self, params: Params, carry: Carry, features: Features, noise: Array) -> tuple[Carry, Sites]:
        """Bring h_{t-1} up to date, then draw z_t from the posterior, or from the prior where there is none."""
        latent_embedding = linear(params["latent_embedding"], carry.latent)
        gates = (
            features.inputs.gates
            + linear_part(params["forward"]["input"], latent_embedding, self.embed_dim)
            + matmul(carry.state.hidden, params["forward"]["recurrent"]["kernel"])
        )
        is_data = features.inputs.is_data[..., None] > 0
        state = jax.tree.map(lambda new, old: jnp.where(is_data, new, old), lstm_gates(carry.state, gates), carry.state)
        if features.posterior is None:
            proposal = self.prior_given(params, state.hidden)
        else:
            hidden = linear_part(params["posterior"]["hidden"], state.hidden, 0) + features.posterior
            proposal = gaussian_from_hidden(params["posterior"], hidden, self.latent_log_std_bounds)
        latent = gaussian_sample(proposal, noise)
        return Carry(state, latent), Sites(latent, proposal, state.hidden)

    def readout(self, params: Params, features: Features, sites: Sites) -> Array:
        """Return [z_t, h_{t-1}], which the emission reads."""
        return jnp.concatenate([sites.latent, sites.state], axis=-1)
