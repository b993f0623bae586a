"""DMM: Krishnan, Shalit and Sontag, "Structured Inference Networks for Nonlinear State Space Models", 2017.

    g_t = sigmoid(f_g(z_{t-1})),  r_t = f_r(z_{t-1})                       gate and proposal of the transition
    p(z_t | z_{t-1}) = N(z_t; (1 - g_t) (A z_{t-1} + a) + g_t r_t, f_s(r_t))   prior, z_0 = 0
    p(y_t | z_t) = emission(f_o(z_t))                                      z_t is all that reaches the output
    b_t = LSTM_b(e(y_t), b_{t+1}),  b_{T+1} = 0                            backward recurrence over the targets
    q(z_t | z_{t-1}, y_{t:T}) = N(z_t; f_q((tanh(B z_{t-1} + b) + b_t) / 2))   approximate posterior, DKS in the paper

Against Z-Forcing: a deep Markov model reads no inputs, as z_{t-1} is all that a step knows of the past.  A starts as
the identity and a as 0, as published; hidden layers and bounds of the scales are those of the family.

If a context c is given, f_g and f_r read c_t beside z_{t-1}, and e(y_t) is of the element and of c_t.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from zf_jax.distributions import Gaussian, bound_log_std, gaussian_sample
from zf_jax.emissions import init_emission
from zf_jax.models.base import Ends, Features, LatentModel, Sites, given, observed
from zf_jax.nn.layers import (
    clipped_leaky_relu,
    embed_into,
    init_embedding,
    init_linear,
    linear,
    split_keys,
)
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_backward_states, zero_lstm_state, zeros_like_rows
from zf_jax.typing import Array, Batch, Params, clean


def identity(key: Array, shape: tuple[int, int], dtype: jnp.dtype) -> Array:
    """Initialise a kernel as the identity matrix."""
    return jnp.eye(*shape, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class DMM(LatentModel):
    """DMM; ``rnn_dim`` is the size of LSTM_b, ``emission_layers`` are further hidden layers of f_o."""

    def init(self, key: Array) -> Params:
        """Draw the parameters; f_g and f_r have their hidden layers side by side in ``hidden``, ``[Z + C, 2M]``."""
        keys = split_keys(
            key,
            *("embedding", "backward", "hidden", "gate", "proposal", "transition", "transition_log_std"),
            *("combiner", "mean", "log_std", "emission"),
        )
        h, z, m, e = self.rnn_dim, self.latent_dim, self.mlp_dim, self.embed_dim
        return {
            "embedding": init_embedding(keys["embedding"], self.observation, e),
            "backward": init_lstm(keys["backward"], e, h),
            "prior": {
                "hidden": init_linear(keys["hidden"], z + self.observation.context_size, 2 * m),
                "gate": init_linear(keys["gate"], m, z),
                "proposal": init_linear(keys["proposal"], m, z),
                "mean": init_linear(keys["transition"], z, z, identity),
                "log_std": init_linear(keys["transition_log_std"], z, z),
            },
            "posterior": {
                "combiner": init_linear(keys["combiner"], z, h),
                "mean": init_linear(keys["mean"], h, z),
                "log_std": init_linear(keys["log_std"], h, z),
            },
            "emission": init_emission(keys["emission"], self.emission, z, (m, *self.emission_layers)),
        }

    def inputs(self, params: Params, inputs: Array, is_data: Array, context: Array | None = None) -> Array:
        """Return what the transition reads beside z_{t-1}: the context ``[..., C]``, C = 0 without one."""
        return is_data[..., None][..., :0] if context is None else context

    def backward_states(self, params: Params, batch: Batch, after: LSTMState) -> tuple[LSTMState, Array]:
        """Return the first state of LSTM_b, and b_{1:T} ``[B, T, H]``, ``after`` being the state behind the last."""
        into = partial(linear, params["backward"]["input"])
        gates = embed_into(params["embedding"], batch.targets, into, batch.context)
        return lstm_backward_states(params["backward"], gates, batch.mask, after)

    def posterior(self, params: Params, batch: Batch) -> Array:
        """Return the backward states b_{1:T}, ``[B, T, H]``."""
        return self.backward_states(params, batch, self.initial_ends(params, batch.mask).after)[1]

    def initial_ends(self, params: Params, like: Array) -> Ends:
        """Return b_{T+1} = 0."""
        like = like[..., :1].astype(params["backward"]["recurrent"]["kernel"].dtype)
        return Ends(after=zero_lstm_state(like, self.rnn_dim))

    def encode_piece(self, params: Params, batch: Batch, ends: Ends) -> tuple[Features, Ends]:
        """Encode a piece of the steps, given b of the step behind."""
        batch = clean(batch)
        inputs = self.inputs(params, batch.inputs, batch.input_mask, *given(batch.context))
        first, posterior = self.backward_states(params, batch, ends.after)
        return Features(observed(batch), inputs, posterior, extra=None), Ends(after=first)

    def prior_given(self, params: Params, context: Array, previous: Array) -> Gaussian:
        """Return p(z_t | z_{t-1}), the gated transition, ``previous`` being z_{t-1}."""
        layers = params["prior"]
        read = jnp.concatenate([previous, context.astype(previous.dtype)], axis=-1)
        gate, proposal = jnp.split(clipped_leaky_relu(linear(layers["hidden"], read)), 2, axis=-1)
        gate, proposal = jax.nn.sigmoid(linear(layers["gate"], gate)), linear(layers["proposal"], proposal)
        mean = (1.0 - gate) * linear(layers["mean"], previous) + gate * proposal
        log_std = linear(layers["log_std"], clipped_leaky_relu(proposal))
        return Gaussian(mean, bound_log_std(log_std, self.latent_log_std_bounds))

    def prior(self, params: Params, features: Features, sites: Sites) -> Gaussian:
        """Return the prior along a trajectory."""
        return self.prior_given(params, features.inputs, sites.state)

    def initial_carry(self, params: Params, like: Array) -> Array:
        """Return z_0 = 0."""
        return zeros_like_rows(like.astype(params["prior"]["mean"]["kernel"].dtype), self.latent_dim)

    def step(self, params: Params, carry: Array, features: Features, noise: Array) -> tuple[Array, Sites]:
        """Draw z_t from the posterior, or from the prior where there is none; z_{t-1} is all the carry."""
        if features.posterior is None:
            proposal = self.prior_given(params, features.inputs, carry)
        else:
            layers = params["posterior"]
            combined = 0.5 * (jnp.tanh(linear(layers["combiner"], carry)) + features.posterior)
            log_std = bound_log_std(linear(layers["log_std"], combined), self.latent_log_std_bounds)
            proposal = Gaussian(linear(layers["mean"], combined), log_std)
        latent = gaussian_sample(proposal, noise)
        return latent, Sites(latent, proposal, carry)

    def readout(self, params: Params, features: Features, sites: Sites) -> Array:
        """Return z_t, all that the emission reads."""
        return sites.latent
