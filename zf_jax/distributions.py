"""Log-densities, draws and divergences of the distributions the models are made of.

Every function is pure and elementwise: it sums over no axis, so that the caller sees which axes are
summed.  Gaussians are (mean, log_std) pairs, and nothing is ever a ratio of exponentials.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.typing import Array

LOG_TWO_PI = 1.8378770664093453

Bounds = tuple[float | None, float | None]


class Gaussian(NamedTuple):
    """A diagonal Gaussian: mean and log standard deviation, each ``[..., Z]``."""

    mean: Array
    log_std: Array


def bound_log_std(raw: Array, bounds: Bounds) -> Array:
    """Bend ``raw`` smoothly into (lower, upper); a bound of None is not there (rule A5).

    The identity well inside the bounds; with both None the scale is exp(raw) exactly.  The bend belongs to
    the definition of the scale, so that density, draw and divergence always agree.
    """
    lower, upper = bounds
    log_std = raw
    if lower is not None:
        log_std = lower + jax.nn.softplus(log_std - lower)
    if upper is not None:
        log_std = upper - jax.nn.softplus(upper - log_std)
    return log_std


def gaussian_log_prob(gaussian: Gaussian, x: Array) -> Array:
    """Log-density of each element of ``x`` under N(mean, std^2), nats, not summed: ``[..., Z]``."""
    standardised = (x - gaussian.mean) * jnp.exp(-gaussian.log_std)
    return -0.5 * (jnp.square(standardised) + LOG_TWO_PI) - gaussian.log_std


def gaussian_sample(gaussian: Gaussian, noise: Array) -> Array:
    """The reparametrised draw mean + std * noise, for standard normal ``noise``: ``[..., Z]``."""
    return gaussian.mean + jnp.exp(gaussian.log_std) * noise


def gaussian_kl(q: Gaussian, p: Gaussian) -> Array:
    """KL(q || p) of each dimension in closed form, nats, not summed: ``[..., Z]``."""
    log_ratio = q.log_std - p.log_std
    standardised = (q.mean - p.mean) * jnp.exp(-p.log_std)
    # expm1 keeps the digits where q is close to p, which is where a collapsing posterior lives.
    return 0.5 * (jnp.expm1(2.0 * log_ratio) + jnp.square(standardised)) - log_ratio


def bernoulli_log_prob(logits: Array, x: Array) -> Array:
    """Log-probability of each binary ``x`` under Bernoulli(sigmoid(logits)), nats, not summed."""
    x = x.astype(logits.dtype)
    return x * jax.nn.log_sigmoid(logits) + (1.0 - x) * jax.nn.log_sigmoid(-logits)


def categorical_log_prob(logits: Array, x: Array) -> Array:
    """Log-probability of the integers ``x`` ``[...]`` under softmax(logits), ``logits`` ``[..., C]``, nats: ``[...]``."""
    picked = jnp.take_along_axis(logits, x[..., None].astype(jnp.int32), axis=-1)[..., 0]
    return picked - jax.nn.logsumexp(logits, axis=-1)
