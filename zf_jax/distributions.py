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

Bounds = tuple[float | None, float | None] | None


class Gaussian(NamedTuple):
    """A diagonal Gaussian: mean and log standard deviation, each ``[..., Z]``."""

    mean: Array
    log_std: Array


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), with half the operations of ``jax.nn.softplus``, which minds infinities too: ``[...]``."""
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


softplus.defjvps(lambda dx, _, x: jax.nn.sigmoid(x) * dx)


def check_bounds(bounds: Bounds) -> None:
    """Do nothing where the bounds can be kept.

    Raises:
      ValueError: the lower bound is not below the upper one.
    """
    lower, upper = bounds or (None, None)
    if lower is not None and upper is not None and not lower < upper:
        raise ValueError(f"the lower bound of a log standard deviation, {lower}, must be below the upper one, {upper}")


def bound_log_std(raw: Array, bounds: Bounds) -> Array:
    """Bend ``raw`` smoothly into (lower, upper); a bound of None is not there (rule A5).

    The identity well inside the bounds; with both None the scale is exp(raw) exactly.  The bend belongs to
    the definition of the scale, so that density, draw and divergence always agree.

    Raises:
      ValueError: the lower bound is not below the upper one.
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
    """Log-density of each element of ``x`` under N(mean, std^2), nats, not summed: ``[..., Z]``."""
    standardised = (x - gaussian.mean) * jnp.exp(-gaussian.log_std)
    return -0.5 * (jnp.square(standardised) + LOG_TWO_PI) - gaussian.log_std


def gaussian_sample(gaussian: Gaussian, noise: Array) -> Array:
    """The reparametrised draw mean + std * noise, for standard normal ``noise``: ``[..., Z]``."""
    return gaussian.mean + jnp.exp(gaussian.log_std) * noise.astype(gaussian.mean.dtype)


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
    """Log-probability of the integers ``x`` ``[...]`` under softmax of ``logits`` ``[..., C]``, nats: ``[...]``."""
    picked = jnp.take_along_axis(logits, x[..., None].astype(jnp.int32), axis=-1)[..., 0]
    return picked - jax.nn.logsumexp(logits, axis=-1)


def discretised_logistic_log_prob(
    location: Array, log_scale: Array, lower: Array, width: Array, *, first: Array, last: Array
) -> Array:
    """Log-mass of Logistic(location, exp(log_scale)) within bins, nats, exact in far tails too: ``[...]``.

    Args:
      lower, width: of each bin, finite; a bin must end where the next begins for all to sum to 1.
      first, last: whether the bin is open below, or above.
    """
    precision = jnp.exp(-log_scale)
    a, b = (lower - location) * precision, (lower + width - location) * precision
    # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)): no difference of nearly equal numbers, and
    # logs that grow no faster than linearly, so that values and gradients stay finite wherever the bin lies.
    inside = jax.nn.log_sigmoid(b) + jax.nn.log_sigmoid(-a) + jnp.log(-jnp.expm1(-width * precision))
    return jnp.where(first, jax.nn.log_sigmoid(b), jnp.where(last, jax.nn.log_sigmoid(-a), inside))


def mu_law(x: Array, mu: float) -> Array:
    """The mu-law curve ``sign(x) log(1 + mu |x|) / log(1 + mu)``, from [-1, 1] onto itself."""
    return jnp.sign(x) * jnp.log1p(mu * jnp.abs(x)) / jnp.log1p(mu)


def inverse_mu_law(y: Array, mu: float) -> Array:
    """The inverse of ``mu_law``: sign(y) ((1 + mu)^|y| - 1) / mu."""
    return jnp.sign(y) * jnp.expm1(jnp.abs(y) * jnp.log1p(mu)) / mu
