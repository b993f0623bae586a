"""Lower bounds of log p(x): the ELBO, the importance-weighted bound and the particle bound."""

from __future__ import annotations

from zf_jax.bounds.importance import elbo, iwae, iwae_log_weights, log_mean_exp, log_weights, step_terms
from zf_jax.bounds.noise import draw_noise, required_key, seed_key
from zf_jax.bounds.particle import ParticleEstimate, particle_bound

__all__ = [
    "ParticleEstimate",
    "draw_noise",
    "elbo",
    "iwae",
    "iwae_log_weights",
    "log_mean_exp",
    "log_weights",
    "particle_bound",
    "required_key",
    "seed_key",
    "step_terms",
]
