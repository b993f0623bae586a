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

import jax.numpy as jnp

from zf_jax.distributions import Gaussian, gaussian_sample
from zf_jax.emissions import init_emission
from zf_jax.models.base import Ends, Features, LatentModel, Sites, given, observed
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
from zf_jax.nn.precision import matmul
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_forward, lstm_gates
from zf_jax.typing import Array, Batch, Params, clean


@dataclasses.dataclass(frozen=True)
class STORN(LatentModel):
    """STORN; ``rnn_dim`` is the size of both LSTMs."""

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        keys = split_keys(key, "embedding", "recognition", "latent_embedding", "forward", "posterior", "emission")
        h, z, m, e = self.rnn_dim, self.latent_dim, self.mlp_dim, self.embed_dim
        return {
            "embedding": init_embedding(keys["embedding"], self.observation, e),
            "recognition": init_lstm(keys["recognition"], e, h),
            "latent_embedding": init_linear(keys["latent_embedding"], z, m),
            "forward": init_lstm(keys["forward"], e + m, h),
            "posterior": init_gaussian_head(keys["posterior"], h, m, z),
            "emission": init_emission(keys["emission"], self.emission, h, self.emission_layers),
        }

    def inputs(self, params: Params, inputs: Array, is_data: Array, context: Array | None = None) -> Array:
        """Return what e(u_t) contributes to the forward gates, biases included: ``[..., 4H]``."""
        layer = params["forward"]["input"]
        return linear_part(layer, embed(params["embedding"], inputs, context), 0) + layer["bias"]

    def recognise(self, params: Params, batch: Batch, state: LSTMState) -> tuple[LSTMState, Gaussian]:
        """Return the last r_t and q(z_t | y_{1:t}) of every step, ``state`` being r before the first."""
        embedded = embed(params["embedding"], batch.targets, batch.context)
        state, recognition = lstm_forward(params["recognition"], embedded, state)
        return state, gaussian_head(params["posterior"], recognition, self.latent_log_std_bounds)

    def posterior(self, params: Params, batch: Batch) -> Gaussian:
        """Return q(z_t | y_{1:t}) whole: it depends on data alone."""
        return self.recognise(params, batch, self.initial_carry(params, batch.mask))[1]

    def initial_ends(self, params: Params, like: Array) -> Ends:
        """Return r_0 = 0."""
        return Ends(before=self.initial_carry(params, like))

    def encode_piece(self, params: Params, batch: Batch, ends: Ends) -> tuple[Features, Ends]:
        """Encode a piece of the steps, given r of the step before."""
        batch = clean(batch)
        inputs = self.inputs(params, batch.inputs, batch.input_mask, *given(batch.context))
        last, posterior = self.recognise(params, batch, ends.before)
        return Features(observed(batch), inputs, posterior, extra=None), Ends(before=last)

    def prior(self, params: Params, features: Features, sites: Sites) -> Gaussian:
        """Return p(z_t) = N(0, I)."""
        return Gaussian(jnp.zeros_like(sites.latent), jnp.zeros_like(sites.latent))

    def step(self, params: Params, carry: LSTMState, features: Features, noise: Array) -> tuple[LSTMState, Sites]:
        """Draw z_t from the posterior, or from the prior where there is none, and update the forward state."""
        proposal = features.posterior
        if proposal is None:
            zeros = jnp.zeros_like(noise, carry.hidden.dtype)
            proposal = Gaussian(zeros, zeros)
        latent = gaussian_sample(proposal, noise)
        gates = (
            features.inputs
            + linear_part(params["forward"]["input"], linear(params["latent_embedding"], latent), self.embed_dim)
            + matmul(carry.hidden, params["forward"]["recurrent"]["kernel"])
        )
        state = lstm_gates(carry, gates)
        return state, Sites(latent, proposal, state.hidden)

    def readout(self, params: Params, features: Features, sites: Sites) -> Array:
        """Return h_t, all that the emission reads."""
        return sites.state
