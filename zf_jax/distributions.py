"""Compute log-densities, draws and divergences of the distributions that the models use.

Every function is pure and sums over no axis of independent elements, so that the caller shows which axes are summed.
Gaussians are (mean, log_std) pairs, and no function computes a ratio of exponentials.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.typing import Array

LOG_TWO_PI = 1.8378770664093453

Bounds = tuple[float | None, float | None] | None


class Gaussian(NamedTuple):
    """A diagonal Gaussian: mean and log standard deviation, each ``[..., Z]``."""

    mean: Array
    log_std: Array


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)), with half the operations of ``jax.nn.softplus``, for finite x: ``[...]``."""
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


softplus.defjvps(lambda dx, _, x: jax.nn.sigmoid(x) * dx)


def check_bounds(bounds: Bounds) -> None:
    """Check that the bounds are two, each a finite number or None, the lower one below the upper one.

    Raises:
      ValueError: they are not.
    """
    if bounds is None:
        return
    pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2
    if not pair or any(isinstance(bound, bool) or not isinstance(bound, Real | None) for bound in bounds):
        raise ValueError(f"the bounds of a log standard deviation are two numbers, (lower, upper), not {bounds}")
    if not all(bound is None or math.isfinite(bound) for bound in bounds):
        raise ValueError(f"the bounds of a log standard deviation are finite, not {bounds}; None means unbounded")
    lower, upper = bounds
    if lower is not None and upper is not None and not lower < upper:
        raise ValueError(f"the lower bound of a log standard deviation, {lower}, must be below the upper one, {upper}")


def bound_log_std(raw: Array, bounds: Bounds) -> Array:
    """Map ``raw`` smoothly to between lower and upper, each of which may be None for no bound (rule A5).

    The map is close to the identity well inside the bounds; with both None the scale is exp(raw) exactly.  The map is
    part of the definition of the scale, so that density, draw and divergence always agree.  The ceiling's bend moves
    the floor: with both bounds the map is onto (lower - log1p(exp(lower - upper)), upper), which begins 6e-6 below the
    lower bound for (-7, 5).

    Raises:
      ValueError: the bounds are no two finite numbers or None, or the lower one is not below the upper one.
    """
    check_bounds(bounds)
    lower, upper = bounds or (None, None)
    log_std = raw
    if lower is not None:
        log_std = lower + softplus(log_std - lower)
    if upper is not None:
        log_std = upper - softplus(upper - log_std)
    return log_std


def gaussian_log_prob(gaussian: Gaussian, x: Array) -> Array:
    """Return the log-density of each element of ``x`` under N(mean, std^2), nats, not summed: ``[..., Z]``."""
    standardised = (x - gaussian.mean) * jnp.exp(-gaussian.log_std)
    return -0.5 * (jnp.square(standardised) + LOG_TWO_PI) - gaussian.log_std


def gaussian_sample(gaussian: Gaussian, noise: Array) -> Array:
    """Return the reparametrised draw mean + std * noise, for standard normal ``noise``: ``[..., Z]``."""
    return gaussian.mean + jnp.exp(gaussian.log_std) * noise.astype(gaussian.mean.dtype)


def gaussian_kl(q: Gaussian, p: Gaussian) -> Array:
    """Return KL(q || p) of each dimension in closed form, nats, not summed: ``[..., Z]``."""
    log_ratio = q.log_std - p.log_std
    standardised = (q.mean - p.mean) * jnp.exp(-p.log_std)
    # expm1 keeps the digits where q is close to p, which is where a collapsing posterior lives.
    return 0.5 * (jnp.expm1(2.0 * log_ratio) + jnp.square(standardised)) - log_ratio


def bernoulli_log_prob(logits: Array, x: Array) -> Array:
    """Return the log-probability of each binary ``x`` under Bernoulli(sigmoid(logits)), nats, not summed."""
    x = x.astype(logits.dtype)
    return x * jax.nn.log_sigmoid(logits) + (1.0 - x) * jax.nn.log_sigmoid(-logits)


def categorical_log_prob(logits: Array, x: Array) -> Array:
    """Return the log-probability of ``x`` ``[...]`` under softmax of ``logits`` ``[..., C]``, nats: ``[...]``."""
    picked = jnp.take_along_axis(logits, x[..., None].astype(jnp.int32), axis=-1)[..., 0]
    return picked - jax.nn.logsumexp(logits, axis=-1)


def discretised_logistic_log_prob(
    location: Array, log_scale: Array, lower: Array, width: Array, *, first: Array, last: Array
) -> Array:
    """Return the log-mass of Logistic(location, exp(log_scale)) in bins, nats, accurate in far tails too: ``[...]``.

    Args:
      lower, width: finite lower edge and width of each bin; the masses sum to 1 if each bin ends where the next begins.
      first, last: whether the bin is open below, or above.
    """
    precision = jnp.exp(-log_scale)
    a, b = (lower - location) * precision, (lower + width - location) * precision
    # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)): no difference of nearly equal numbers, and
    # logs that grow no faster than linearly, so that values and gradients stay finite wherever the bin lies.
    inside = jax.nn.log_sigmoid(b) + jax.nn.log_sigmoid(-a) + jnp.log(-jnp.expm1(-width * precision))
    return jnp.where(first, jax.nn.log_sigmoid(b), jnp.where(last, jax.nn.log_sigmoid(-a), inside))


def mu_law(x: Array, mu: float) -> Array:
    """Return the mu-law curve ``sign(x) log(1 + mu |x|) / log(1 + mu)``, from [-1, 1] onto itself."""
    return jnp.sign(x) * jnp.log1p(mu * jnp.abs(x)) / jnp.log1p(mu)


def inverse_mu_law(y: Array, mu: float) -> Array:
    """Return the inverse of ``mu_law``: sign(y) ((1 + mu)^|y| - 1) / mu."""
    return jnp.sign(y) * jnp.expm1(jnp.abs(y) * jnp.log1p(mu)) / mu
