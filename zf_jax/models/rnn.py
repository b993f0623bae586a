"""The same LSTM without latents (RNN-Gauss of Table 1, and its siblings by emission): exact log-likelihood.

h_t = LSTM(e(u_t), h_{t-1}),    p(y_t | past) = emission(f_o(h_t))

With several layers each reads the states of the one below, and the emission those of the last.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from zf_jax.distributions import Gaussian
from zf_jax.emissions import init_emission
from zf_jax.models.base import Ends, Features, RecurrentModel, Sites
from zf_jax.nn.layers import embed, init_embedding, linear, split_keys
from zf_jax.nn.precision import matmul
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_gates
from zf_jax.typing import Array, Params


@dataclasses.dataclass(frozen=True)
class RNN(RecurrentModel):
    """The plain recurrent network; every term but the emission's is 0, so that the ELBO is the exact log-likelihood.

    Attributes:
      num_layers: LSTMs on top of each other, each of H.
    """

    num_layers: int = 1

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        keys = split_keys(key, "embedding", "forward", "emission")
        # The first layer splits the key that those above fold, and split(key)[1] is fold_in(key, 1): hence from 101 on.
        above = {
            f"forward_{layer}": init_lstm(jax.random.fold_in(keys["forward"], 100 + layer), self.rnn_dim, self.rnn_dim)
            for layer in range(1, self.num_layers)
        }
        return {
            "embedding": init_embedding(keys["embedding"], self.observation, self.embed_dim),
            "forward": init_lstm(keys["forward"], self.embed_dim, self.rnn_dim),
            **above,
            "emission": init_emission(keys["emission"], self.emission, self.rnn_dim, self.emission_layers),
        }

    def inputs(self, params: Params, inputs: Array, is_data: Array, context: Array | None = None) -> Array:
        """Return what e(u_t) contributes to the gates, biases included: ``[..., 4H]``."""
        return linear(params["forward"]["input"], embed(params["embedding"], inputs, context))

    def initial_ends(self, params: Params, like: Array) -> Ends:
        """Return no state: ``encode`` has no recurrence."""
        return Ends()

    def initial_carry(self, params: Params, like: Array) -> LSTMState | tuple[LSTMState, ...]:
        """Return h_0 = c_0 = 0, of each layer where there are several."""
        zeros = super().initial_carry(params, like)
        return zeros if self.num_layers == 1 else (zeros,) * self.num_layers

    def step(self, params: Params, carry: Any, features: Features, noise: Array) -> tuple[Any, Sites]:
        """Update the state of each layer, from the first up; the latent is empty, ``[..., 0]``."""
        carries = (carry,) if self.num_layers == 1 else carry
        recurrent = params["forward"]["recurrent"]["kernel"]
        state = lstm_gates(carries[0], features.inputs + matmul(carries[0].hidden, recurrent))
        states = [state]
        for layer, carry in enumerate(carries[1:], start=1):
            below, lstm = state.hidden, params[f"forward_{layer}"]
            gates = linear(lstm["input"], below) + matmul(carry.hidden, lstm["recurrent"]["kernel"])
            state = lstm_gates(carry, gates)
            states.append(state)
        return states[0] if self.num_layers == 1 else tuple(states), Sites(noise, Gaussian(noise, noise), state.hidden)

    def prior(self, params: Params, features: Features, sites: Sites) -> Gaussian:
        """Return a Gaussian of no dimensions."""
        return sites.proposal

    def readout(self, params: Params, features: Features, sites: Sites) -> Array:
        """Return h_t, all that the emission reads."""
        return sites.state
