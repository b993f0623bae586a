"""A model of one's own, whole: a Gaussian Markov chain of latents, and an output that sees the latent alone.

    p(z_t | z_{t-1}) = N(z_t; f_p(z_{t-1})),  z_0 = 0
    q(z_t | z_{t-1}, y_t) = N(z_t; f_q(z_{t-1}, y_t))
    p(y_t | z_t) = emission(f_o(z_t))

One file, and one line in ``zf_jax.models.MODELS``: bounds, objective, training, generation, diagnostics need no more.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax.numpy as jnp

from zf_jax.distributions import gaussian_sample
from zf_jax.emissions import build_emission, emission_values, init_emission
from zf_jax.models.base import Features, Model, Sites, observed, step_terms
from zf_jax.nn.layers import embed, gaussian_head, init_embedding, init_gaussian_head, split_keys
from zf_jax.typing import Observation, clean

BOUNDS = (-7.0, 5.0)


@dataclasses.dataclass(frozen=True)
class Config:
    observation: Observation
    emission: Any = "bernoulli"
    latent_dim: int = 16
    mlp_dim: int = 32
    embed_dim: int = 16


def init(config, emission, key):
    keys = split_keys(key, "embedding", "prior", "posterior", "emission")
    z, m, e = config.latent_dim, config.mlp_dim, config.embed_dim
    return {
        "embedding": init_embedding(keys["embedding"], config.observation, e),
        "prior": init_gaussian_head(keys["prior"], z, m, z),
        "posterior": init_gaussian_head(keys["posterior"], z + e, m, z),
        "emission": init_emission(keys["emission"], emission, z),
    }


def encode(params, batch):
    batch = clean(batch)
    return Features(observed(batch), inputs=batch.mask, posterior=embed(params["embedding"], batch.targets), extra=None)


def prior(params, features, sites):
    return gaussian_head(params["prior"], sites.state, BOUNDS)


def step(params, previous, features, noise):
    if features.posterior is None:
        proposal = gaussian_head(params["prior"], previous, BOUNDS)
    else:
        proposal = gaussian_head(params["posterior"], jnp.concatenate([previous, features.posterior], -1), BOUNDS)
    latent = gaussian_sample(proposal, noise)
    return latent, Sites(latent, proposal, state=previous)


def readout(params, features, sites):
    return sites.latent


def score(emission, params, features, sites):
    values = emission_values(params["emission"], emission, sites.latent)
    emission_log_prob = emission.log_prob(values, features.observed.targets)
    return step_terms(features.observed.mask, sites, prior(params, features, sites), emission_log_prob)


def build(config):
    emission = build_emission(config.emission, config.observation)
    return Model(
        config=config,
        emission=emission,
        latent_dim=config.latent_dim,
        init=partial(init, config, emission),
        encode=encode,
        initial_carry=lambda params, like: jnp.zeros((like.shape[0], config.latent_dim)),
        step=step,
        score=partial(score, emission),
        readout=readout,
        prior=prior,
        initial_memory=lambda params, like: (),
        observe=lambda params, memory, inputs, is_data: (memory, Features(None, is_data, None, None)),
        detach_posterior=lambda params, features: features,
    )
