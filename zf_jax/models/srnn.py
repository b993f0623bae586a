"""SRNN, smooth and with a residual posterior: Fraccaro, Sonderby, Paquet and Winther, "Sequential Neural Models with
Stochastic Layers", 2016.

    d_t = GRU(e(u_t), d_{t-1})                                deterministic layer: z does not enter it
    a_t = GRU_b([d_t, e(y_t)], a_{t+1}),  a_{T+1} = 0         backward recurrence over states and targets
    p(z_t | past) = N(z_t; f_p(d_t, z_{t-1}))                 prior, Markov in z
    q(z_t | x) = N(z_t; mean of p + f_q(a_t, z_{t-1}), ...)   approximate posterior, the mean a residual to the prior's
    p(y_t | past, z_t) = emission(f_o(d_t, z_t))              z_t reaches the output directly

Against Z-Forcing: the latents have a recurrence of their own, and the deterministic states can be computed for all
steps before the first z is drawn.  f_o has a hidden layer of mlp_dim, as d_t and z_t would otherwise only add up.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp

from zf_jax.distributions import Gaussian, gaussian_sample
from zf_jax.emissions import init_emission
from zf_jax.models.base import Ends, Features, LatentModel, Sites, observed
from zf_jax.nn.layers import (
    embed,
    gaussian_from_hidden,
    init_embedding,
    init_gaussian_head,
    linear,
    linear_part,
    split_keys,
)
from zf_jax.nn.precision import matmul
from zf_jax.nn.recurrence import gru_gates, gru_states, init_gru, zeros_like_rows
from zf_jax.typing import Array, Batch, Params, clean


class InputFeatures(NamedTuple):
    """d_t ``[..., H]``, and what it contributes to the prior's hidden layer ``[..., M]``, biases included."""

    hidden: Array
    prior: Array


@dataclasses.dataclass(frozen=True)
class SRNN(LatentModel):
    """SRNN; ``rnn_dim`` is the size of both GRUs, ``emission_layers`` are further hidden layers of f_o."""

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        keys = split_keys(key, "embedding", "forward", "backward", "prior", "posterior", "emission")
        h, z, m, e = self.rnn_dim, self.latent_dim, self.mlp_dim, self.embed_dim
        return {
            "embedding": init_embedding(keys["embedding"], self.observation, e),
            "forward": init_gru(keys["forward"], e, h),
            "backward": init_gru(keys["backward"], h + e, h),
            "prior": init_gaussian_head(keys["prior"], h + z, m, z),
            "posterior": init_gaussian_head(keys["posterior"], h + z, m, z),
            "emission": init_emission(keys["emission"], self.emission, h + z, (m, *self.emission_layers)),
        }

    def states_and_prior(self, params: Params, hidden: Array) -> InputFeatures:
        """Return what d_t ``[..., H]`` contributes to a step."""
        layer = params["prior"]["hidden"]
        return InputFeatures(hidden, linear_part(layer, hidden, 0) + layer["bias"])

    def encode(self, params: Params, batch: Batch) -> Features:
        """Run both recurrences, and project them into the heads' hidden layers."""
        return self.encode_piece(params, batch, self.initial_ends(params, batch.mask))[0]

    def initial_ends(self, params: Params, like: Array) -> Ends:
        """Return d_0 = 0 and a_{T+1} = 0."""
        zeros = self.initial_memory(params, like)
        return Ends(before=zeros, after=zeros)

    def encode_piece(self, params: Params, batch: Batch, ends: Ends) -> tuple[Features, Ends]:
        """Encode a piece of the steps, given d of the step before and a of the step behind."""
        batch = clean(batch)
        forward_gates = linear(params["forward"]["input"], embed(params["embedding"], batch.inputs, batch.context))
        last, hidden = gru_states(params["forward"], forward_gates, batch.mask, ends.before)
        seen = jnp.concatenate([hidden, embed(params["embedding"], batch.targets, batch.context)], axis=-1)
        backward_gates = linear(params["backward"]["input"], seen)
        first, backward_states = gru_states(params["backward"], backward_gates, batch.mask, ends.after, reverse=True)
        layer = params["posterior"]["hidden"]
        features = Features(
            observed=observed(batch),
            inputs=self.states_and_prior(params, hidden),
            posterior=linear_part(layer, backward_states, 0) + layer["bias"],
            extra=None,
        )
        return features, Ends(before=last, after=first)

    def prior_given(self, params: Params, inputs: InputFeatures, previous: Array) -> Gaussian:
        """Return p(z_t | past) = N(f_p(d_t, z_{t-1})), ``previous`` being z_{t-1}."""
        hidden = inputs.prior + linear_part(params["prior"]["hidden"], previous, self.rnn_dim)
        return gaussian_from_hidden(params["prior"], hidden, self.latent_log_std_bounds)

    def prior(self, params: Params, features: Features, sites: Sites) -> Gaussian:
        """Return the prior along a trajectory."""
        return self.prior_given(params, features.inputs, sites.state)

    def initial_carry(self, params: Params, like: Array) -> Array:
        """Return z_0 = 0."""
        return zeros_like_rows(like.astype(params["prior"]["mean"]["kernel"].dtype), self.latent_dim)

    def step(self, params: Params, carry: Array, features: Features, noise: Array) -> tuple[Array, Sites]:
        """Draw z_t from the posterior, or from the prior where there is none; z_{t-1} is all the carry."""
        proposal = self.prior_given(params, features.inputs, carry)
        if features.posterior is not None:
            hidden = features.posterior + linear_part(params["posterior"]["hidden"], carry, self.rnn_dim)
            residual = gaussian_from_hidden(params["posterior"], hidden, self.latent_log_std_bounds)
            proposal = Gaussian(proposal.mean + residual.mean, residual.log_std)
        latent = gaussian_sample(proposal, noise)
        return latent, Sites(latent, proposal, carry)

    def readout(self, params: Params, features: Features, sites: Sites) -> Array:
        """Return [d_t, z_t], which the emission reads."""
        return jnp.concatenate([features.inputs.hidden, sites.latent], axis=-1)

    def initial_memory(self, params: Params, like: Array) -> Array:
        """Return d_0 = 0."""
        return zeros_like_rows(like.astype(params["prior"]["mean"]["kernel"].dtype), self.rnn_dim)

    def observe(
        self, params: Params, memory: Array, inputs: Array, is_data: Array, context: Array | None = None
    ) -> tuple[Array, Features]:
        """Compute d_t from d_{t-1} and one input u_t, without a posterior."""
        gates = linear(params["forward"]["input"], embed(params["embedding"], inputs, context))
        hidden = gru_gates(memory, gates, matmul(memory, params["forward"]["recurrent"]["kernel"]))
        return hidden, Features(None, self.states_and_prior(params, hidden), None, None)
