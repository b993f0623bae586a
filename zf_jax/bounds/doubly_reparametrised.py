"""Estimate the gradient of the IWAE bound in doubly reparametrised form, for any model.

With weights w_k, their shares s_k = w_k / sum_j w_j, generative parameters theta and proposal parameters phi:

    d/dtheta   sum_k s_k   d log p(x, z_k) / dtheta
    d/dphi     sum_k s_k^2 (d log w_k / dz_k) (dz_k / dphi)

The second estimator is unbiased, and the signal-to-noise ratio does not vanish as K grows.  Parameters of the
recurrence belong to both theta and phi: each use of a parameter gets the gradient of its own line.

Source: Tucker, Lawson, Gu and Maddison, "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives", 2019.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zf_jax.models.base import Features, Model, replay
from zf_jax.typing import Array, Params


def surrogate(
    model: Model, params: Params, features: Features, latents: Array, log_weights: Array, kl_temperature: Array | float
) -> Array:
    """Return a surrogate ``[B]`` whose gradient is the doubly reparametrised IWAE gradient; the value has no meaning.

    With a KL temperature t the weights are p(y | z) (p(z) / q(z))^t, and s_k^2 becomes s_k (1 - t (1 - s_k)).

    Args:
      latents: reparametrised draws from the posterior, ``[K, B, T, Z]``.
      log_weights: the log-weights of these samples, ``[K, B]``.
    """
    shares = jax.lax.stop_gradient(jax.nn.softmax(log_weights, axis=0))
    fixed_params, fixed_features = jax.lax.stop_gradient((params, features))

    def log_joint(latents):
        """Return log p(x, z) as a function of theta, with z constant, so that no gradient reaches phi."""
        terms = model.score(params, features, replay(model, params, features, jax.lax.stop_gradient(latents)))
        return jnp.sum(terms.emission_log_prob + kl_temperature * terms.prior_log_prob, axis=1)

    def log_weight(latents):
        """Return log w as a function of z, with all parameters constant."""
        terms = model.score(fixed_params, fixed_features, replay(model, fixed_params, fixed_features, latents))
        divergence = terms.posterior_log_prob - terms.prior_log_prob
        return jnp.sum(terms.emission_log_prob - kl_temperature * divergence, axis=1)

    through_latents = shares * (1.0 - kl_temperature * (1.0 - shares))
    return jnp.sum(shares * jax.vmap(log_joint)(latents) + through_latents * jax.vmap(log_weight)(latents), axis=0)
