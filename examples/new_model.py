"""A model of one's own, whole: a Gaussian Markov chain of latents, and an output that sees the latent alone.

    p(z_t | z_{t-1}) = N(z_t; f_p(z_{t-1})),  z_0 = 0
    q(z_t | z_{t-1}, y_t) = N(z_t; f_q(z_{t-1}, y_t))
    p(y_t | z_t) = emission(f_o(z_t))

One file: bounds, objective, training, generation and diagnostics need no more.  A line in ``zf_jax.MODELS`` gives the
class a name for ``build_model`` and for configs.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from zf_jax.distributions import Gaussian, gaussian_sample
from zf_jax.emissions import init_emission
from zf_jax.models.base import Features, Model, Sites
from zf_jax.nn.layers import embed, gaussian_head, init_embedding, init_gaussian_head, split_keys
from zf_jax.nn.recurrence import zeros_like_rows
from zf_jax.typing import Array, Batch, Params

BOUNDS = (-7.0, 5.0)


@dataclasses.dataclass(frozen=True)
class Markov(Model):
    """The chain; ``mlp_dim`` is the width of the hidden layers of f_p and f_q."""

    latent_dim: int = 16
    mlp_dim: int = 32
    embed_dim: int = 16

    def init(self, key: Array) -> Params:
        keys = split_keys(key, "embedding", "prior", "posterior", "emission")
        z, m, e = self.latent_dim, self.mlp_dim, self.embed_dim
        return {
            "embedding": init_embedding(keys["embedding"], self.observation, e),
            "prior": init_gaussian_head(keys["prior"], z, m, z),
            "posterior": init_gaussian_head(keys["posterior"], z + e, m, z),
            "emission": init_emission(keys["emission"], self.emission, z),
        }

    def inputs(self, params: Params, inputs: Array, is_data: Array) -> Array:
        return is_data  # the chain reads no inputs

    def posterior(self, params: Params, batch: Batch) -> Array:
        return embed(params["embedding"], batch.targets)

    def prior(self, params: Params, features: Features, sites: Sites) -> Gaussian:
        return gaussian_head(params["prior"], sites.state, BOUNDS)

    def initial_carry(self, params: Params, like: Array) -> Array:
        return zeros_like_rows(like.astype(params["prior"]["mean"]["kernel"].dtype), self.latent_dim)

    def step(self, params: Params, carry: Array, features: Features, noise: Array) -> tuple[Array, Sites]:
        if features.posterior is None:
            proposal = gaussian_head(params["prior"], carry, BOUNDS)
        else:
            proposal = gaussian_head(params["posterior"], jnp.concatenate([carry, features.posterior], -1), BOUNDS)
        latent = gaussian_sample(proposal, noise)
        return latent, Sites(latent, proposal, state=carry)

    def readout(self, params: Params, features: Features, sites: Sites) -> Array:
        return sites.latent
