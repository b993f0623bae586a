"""The same LSTM without latents (RNN-Gauss of Table 1, and its siblings by emission): exact log-likelihood.

h_t = LSTM(e(u_t), h_{t-1}),    p(y_t | past) = emission(f_o(h_t))
"""

from __future__ import annotations

import dataclasses

from zf_jax.distributions import Gaussian
from zf_jax.emissions import init_emission
from zf_jax.models.base import Features, RecurrentModel, Sites
from zf_jax.nn.layers import embed, init_embedding, linear, split_keys
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_gates
from zf_jax.typing import Array, Params


@dataclasses.dataclass(frozen=True)
class RNN(RecurrentModel):
    """The plain recurrent network; every term but the emission's is 0, so that the ELBO is the exact log-likelihood."""

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        keys = split_keys(key, "embedding", "forward", "emission")
        return {
            "embedding": init_embedding(keys["embedding"], self.observation, self.embed_dim),
            "forward": init_lstm(keys["forward"], self.embed_dim, self.rnn_dim),
            "emission": init_emission(keys["emission"], self.emission, self.rnn_dim, self.emission_layers),
        }

    def inputs(self, params: Params, inputs: Array, is_data: Array) -> Array:
        """Return what e(u_t) contributes to the gates, biases included: ``[..., 4H]``."""
        return linear(params["forward"]["input"], embed(params["embedding"], inputs))

    def step(self, params: Params, carry: LSTMState, features: Features, noise: Array) -> tuple[LSTMState, Sites]:
        """Update the state; the latent is empty, ``[..., 0]``."""
        state = lstm_gates(carry, features.inputs + carry.hidden @ params["forward"]["recurrent"]["kernel"])
        return state, Sites(noise, Gaussian(noise, noise), state.hidden)

    def prior(self, params: Params, features: Features, sites: Sites) -> Gaussian:
        """Return a Gaussian of no dimensions."""
        return sites.proposal

    def readout(self, params: Params, features: Features, sites: Sites) -> Array:
        """Return h_t, all that the emission reads."""
        return sites.state
