"""Exact answers for models small enough to be written out in full.

(a) a linear-Gaussian sequence model as one dense joint Gaussian, (b) all binary sequences of a length, for sums to one,
(c) a discrete hidden Markov model by the forward algorithm and, slower still, by its paths. Plain numpy and scipy.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from scipy import special, stats

# (a) Linear-Gaussian --------------------------------------------------------------------------------------------------


class LinearGaussian(NamedTuple):
    """z_t = A z_{t-1} + B y_{t-1} + a + N(0, Q);  y_t = C z_t + D y_{t-1} + d + N(0, R);  z_0 = 0, y_0 = 0.

    The noises are independent of each other and over time. B and D are 0 in a state-space model, and not 0 where the
    model also reads its own past; A = 0 and B = 0 make the latents independent of each other.
    """

    transition: np.ndarray  # A [Z, Z]
    feedback: np.ndarray  # B [Z, D]
    latent_bias: np.ndarray  # a [Z]
    latent_cov: np.ndarray  # Q [Z, Z]
    emission: np.ndarray  # C [D, Z]
    autoregression: np.ndarray  # D [D, D]
    emission_bias: np.ndarray  # d [D]
    emission_cov: np.ndarray  # R [D, D]


def directed_gaussian(weights, bias, cov):
    """The mean and covariance of v where v = W v + bias + N(0, cov) and W is strictly lower triangular.

    v = (I - W)^-1 (bias + noise): any set of linear-Gaussian conditionals in topological order, as one joint Gaussian.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if np.any(np.triu(weights)):
        raise ValueError("the variables are not in topological order: weights must be strictly lower triangular")
    inverse = np.linalg.inv(np.eye(len(weights)) - weights)
    return inverse @ bias, inverse @ cov @ inverse.T


def linear_gaussian_joint(model, num_steps):
    """The joint Gaussian over (z_1, y_1, ..., z_T, y_T): its mean, its covariance, and the places of z and of y.

    Returns mean ``[T (Z + D)]``, cov ``[T (Z + D), T (Z + D)]``, latent ``[T, Z]`` and observed ``[T, D]`` indices.
    """
    num_latents, num_dims = model.latent_cov.shape[0], model.emission_cov.shape[0]
    width = num_latents + num_dims
    places = np.arange(num_steps * width).reshape(num_steps, width)
    latent, observed = places[:, :num_latents], places[:, num_latents:]
    weights, cov = np.zeros((places.size,) * 2), np.zeros((places.size,) * 2)
    bias = np.zeros(places.size)
    for t in range(num_steps):
        z, y = latent[t], observed[t]
        bias[z], bias[y] = model.latent_bias, model.emission_bias
        cov[np.ix_(z, z)], cov[np.ix_(y, y)] = model.latent_cov, model.emission_cov
        weights[np.ix_(y, z)] = model.emission
        if t > 0:
            weights[np.ix_(z, latent[t - 1])] = model.transition
            weights[np.ix_(z, observed[t - 1])] = model.feedback
            weights[np.ix_(y, observed[t - 1])] = model.autoregression
    mean, cov = directed_gaussian(weights, bias, cov)
    return mean, cov, latent, observed


def condition(mean, cov, places, values):
    """The mean and covariance of the other variables of a joint Gaussian, in their order, given those at ``places``."""
    places = np.ravel(places).astype(int)
    others = np.setdiff1d(np.arange(len(mean)), places)
    gain = np.linalg.solve(cov[np.ix_(places, places)], cov[np.ix_(places, others)]).T
    return (
        mean[others] + gain @ (np.ravel(values) - mean[places]),
        cov[np.ix_(others, others)] - gain @ cov[np.ix_(places, others)],
    )


def linear_gaussian_log_prob(model, y):
    """Exact log p(y_{1:T}) in nats of one sequence ``[T, D]``, from the dense joint covariance of all its frames."""
    mean, cov, _, observed = linear_gaussian_joint(model, len(y))
    places = np.ravel(observed)
    return float(stats.multivariate_normal(mean[places], cov[np.ix_(places, places)]).logpdf(np.ravel(y)))


def linear_gaussian_posterior(model, y):
    """Exact p(z_{1:T} | y_{1:T}): the mean ``[T, Z]`` and the joint covariance ``[T Z, T Z]``."""
    mean, cov, latent, observed = linear_gaussian_joint(model, len(y))
    mean, cov = condition(mean, cov, observed, y)
    return mean.reshape(latent.shape), cov


def linear_gaussian_step_posterior(model, y, z_before):
    """Exact p(z_t | z_{1:t-1}, y_{1:T}), t - 1 the length of ``z_before`` ``[t - 1, Z]``: its mean and covariance.

    A model whose posterior is this at every step has importance weights of zero variance: each equals p(y_{1:T}).
    """
    mean, cov, latent, observed = linear_gaussian_joint(model, len(y))
    t = len(z_before)
    known = np.concatenate([np.ravel(latent[:t]), np.ravel(observed)])
    mean, cov = condition(mean, cov, known, np.concatenate([np.ravel(z_before), np.ravel(y)]))
    size = latent.shape[1]
    return mean[:size], cov[:size, :size]


# (b) Sum to one -------------------------------------------------------------------------------------------------------


def all_binary_sequences(num_steps):
    """All 2^T binary sequences, ``[2^T, T]`` int32, in counting order."""
    return np.array(list(itertools.product((0, 1), repeat=num_steps)), dtype=np.int32)


def with_start(targets, start):
    """The inputs u_t = y_{t-1} that go with targets ``[B, T]``: the start token first."""
    return np.concatenate([np.full((len(targets), 1), start, targets.dtype), targets[:, :-1]], axis=1)


def sum_to_one(log_weights):
    """Estimate the total probability of everything that was enumerated, and the standard error of the estimate.

    Args:
      log_weights: ``[N, K]``, K independent log importance weights log p(x_n, z) - log q(z | x_n) of each of the N
        things enumerated; K = 1 where log p(x_n) is exact.

    Returns:
      sum_n (1/K) sum_k w_nk, which is 1 for a normalised model and an honest proposal, and its standard error (0 where
      K = 1).
    """
    weights = np.exp(np.asarray(log_weights, dtype=np.float64))
    num_samples = weights.shape[1]
    total = weights.mean(axis=1).sum()
    if num_samples == 1:
        return float(total), 0.0
    return float(total), float(np.sqrt(np.sum(weights.var(axis=1, ddof=1)) / num_samples))


# (c) Hidden Markov model ----------------------------------------------------------------------------------------------


def hmm_log_prob(initial, transition, emission, x):
    """Exact log p(x_{1:T}) of a discrete hidden Markov model by the forward algorithm, in logs.

    Args:
      initial: ``[S]`` p(s_1).
      transition: ``[S, S]`` p(s_{t+1} = j | s_t = i) at [i, j].
      emission: ``[S, C]`` p(x_t = c | s_t = i) at [i, c].
      x: ``[T]`` integers.
    """
    with np.errstate(divide="ignore"):
        initial, transition, emission = np.log(initial), np.log(transition), np.log(emission)
    alpha = initial + emission[:, x[0]]
    for symbol in x[1:]:
        alpha = special.logsumexp(alpha[:, None] + transition, axis=0) + emission[:, symbol]
    return float(special.logsumexp(alpha))


def hmm_log_prob_by_paths(initial, transition, emission, x):
    """The same by summing over all S^T paths of hidden states: the check on the forward algorithm."""
    total = 0.0
    for path in itertools.product(range(len(initial)), repeat=len(x)):
        probability = initial[path[0]] * emission[path[0], x[0]]
        for t in range(1, len(x)):
            probability *= transition[path[t - 1], path[t]] * emission[path[t], x[t]]
        total += probability
    return float(np.log(total))
