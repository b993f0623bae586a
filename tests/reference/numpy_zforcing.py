"""Z-Forcing (Goyal et al., NIPS 2017) in plain numpy, one sequence, one step and one small vector at a time.

Written from the equations alone and sharing no code with ``zf_jax``: slow, in float64, and meant to be read. Log
densities come from ``scipy.stats`` where it has them. Padding is never masked away: the loops stop at the end of each
sequence, so whatever stands behind it is never read.

Only two things of the library's are used, and both are plain data: the names in the nested dict of parameters, and the
attributes of the config (``Options`` below has the same ones).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special, stats


class Kind(NamedTuple):
    """What an element of a sequence is: "tokens" (integers below ``size``) or "frames" (vectors of ``size``)."""

    kind: str
    size: int


class Options(NamedTuple):
    """The settings that change the equations; any object with these attributes will do in its place."""

    observation: Kind
    emission: str  # "bernoulli", "categorical" or "gaussian"
    prior_input: bool = False
    posterior_input: bool = False
    aux_input: str = "latent"  # or "hidden_and_latent"
    latent_log_std_bounds: tuple | None = (-7.0, 5.0)
    emission_log_std_bounds: tuple | None = (-7.0, 5.0)
    aux_log_std_bounds: tuple | None = (-5.0, 5.0)


class Terms(NamedTuple):
    """The terms of every step, ``[..., T]``, in the library's order and 0 behind the end of a sequence."""

    emission_log_prob: np.ndarray
    kl: np.ndarray
    prior_log_prob: np.ndarray
    posterior_log_prob: np.ndarray
    aux_log_prob: np.ndarray
    reverse_log_prob: np.ndarray


# Layers ---------------------------------------------------------------------------------------------------------------


def dense(layer, x):
    """A linear layer: x W + b."""
    return x @ layer["kernel"] + layer["bias"]


def leaky_relu_clipped(x):
    """The released code's hidden activation: leaky ReLU of slope 1/3, clipped at -3 and 3."""
    return np.array([min(max(v if v > 0 else v / 3.0, -3.0), 3.0) for v in x])


def lstm_cell(layer, x, h, c):
    """One LSTM step, gates in the order i, f, g, o: c' = f c + i g, h' = o tanh(c')."""
    gates = x @ layer["input"]["kernel"] + layer["input"]["bias"] + h @ layer["recurrent"]["kernel"]
    size = len(h)
    i = special.expit(gates[0 * size : 1 * size])
    f = special.expit(gates[1 * size : 2 * size])
    g = np.tanh(gates[2 * size : 3 * size])
    o = special.expit(gates[3 * size : 4 * size])
    c = f * c + i * g
    return o * np.tanh(c), c


def softplus(x):
    """log(1 + e^x)."""
    return np.logaddexp(0.0, x)


def bounded_log_std(raw, bounds):
    """A5: a smooth floor, then a smooth ceiling; without either, the raw value is the log standard deviation."""
    lower, upper = (None, None) if bounds is None else bounds
    x = raw
    if lower is not None:
        x = lower + softplus(x - lower)
    if upper is not None:
        x = upper - softplus(upper - x)
    return x


def mlp_gaussian(net, x, bounds):
    """One hidden layer, then the mean and the log standard deviation of a diagonal Gaussian."""
    hidden = leaky_relu_clipped(dense(net["hidden"], x))
    return dense(net["mean"], hidden), bounded_log_std(dense(net["log_std"], hidden), bounds)


# Densities ------------------------------------------------------------------------------------------------------------


def gaussian_log_prob(x, mean, log_std):
    """sum_d log N(x_d; mean_d, std_d^2), of scipy."""
    return float(np.sum(stats.norm.logpdf(x, loc=mean, scale=np.exp(log_std))))


def gaussian_kl(mean_q, log_std_q, mean_p, log_std_p):
    """sum_d KL(q_d || p_d) = log(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2."""
    total = 0.0
    for mq, lq, mp, lp in zip(mean_q, log_std_q, mean_p, log_std_p, strict=True):
        sq, sp = np.exp(lq), np.exp(lp)
        total += np.log(sp / sq) + (sq**2 + (mq - mp) ** 2) / (2.0 * sp**2) - 0.5
    return float(total)


def emission_log_prob(head, config, features, value):
    """log p(value | features) of a head linear in its features: of y_t given h_t, or of u_t given b_t."""
    if config.emission == "gaussian":
        log_std = bounded_log_std(dense(head["log_std"], features), config.emission_log_std_bounds)
        return gaussian_log_prob(value, dense(head["mean"], features), log_std)
    logits = dense(head["logits"], features)
    if config.emission == "categorical":
        return float(special.log_softmax(logits)[int(value)])
    if config.emission == "bernoulli":
        # Tokens of size 2 have one logit, frames one for each dimension.
        return float(np.sum(stats.bernoulli.logpmf(np.atleast_1d(value).astype(int), special.expit(logits))))
    raise ValueError(f"no emission {config.emission!r} here")


# The model, for one sequence ------------------------------------------------------------------------------------------


def embed(params, config, value):
    """e(.), shared by the forward and the backward network: a table's row for a token, a linear layer for a frame."""
    if config.observation.kind == "tokens":
        return params["embedding"]["embedding"][int(value)]
    return dense(params["embedding"], value)


def backward_states(params, config, targets):
    """eq. (6): b_t = LSTM_b(e(y_t), b_{t+1}), b_{T+1} = 0 with T this sequence's own last step (A7). List of T."""
    size = params["backward"]["recurrent"]["kernel"].shape[0]
    b, c = np.zeros(size), np.zeros(size)
    states = [None] * len(targets)
    for t in range(len(targets) - 1, -1, -1):
        b, c = lstm_cell(params["backward"], embed(params, config, targets[t]), b, c)
        states[t] = b
    return states


def prior(params, config, h_before, u):
    """eq. (5): the mean and log standard deviation of p(z_t | past) from h_{t-1}; option: and e(u_t) (A4)."""
    rows = [h_before] + ([embed(params, config, u)] if config.prior_input else [])
    return mlp_gaussian(params["prior"], np.concatenate(rows), config.latent_log_std_bounds)


def posterior(params, config, h_before, b, u):
    """eq. (7): the mean and log standard deviation of q(z_t | x) from h_{t-1} and b_t; option: and e(u_t)."""
    rows = [h_before, b] + ([embed(params, config, u)] if config.posterior_input else [])
    return mlp_gaussian(params["posterior"], np.concatenate(rows), config.latent_log_std_bounds)


def draw(mean, log_std, noise):
    """The reparametrised sample z_t."""
    return mean + np.exp(log_std) * noise


def forward_state(params, config, u, z, h, c):
    """eq. (4): h_t = LSTM_f([e(u_t), W_z z_t], h_{t-1})."""
    x = np.concatenate([embed(params, config, u), dense(params["latent_embedding"], z)])
    return lstm_cell(params["forward"], x, h, c)


def auxiliary(params, config, h_before, z):
    """eq. (8): the mean, through tanh (A3), and log standard deviation of p(b_t | z_t); option (A2): h_{t-1} too."""
    x = np.concatenate([h_before, z]) if config.aux_input == "hidden_and_latent" else z
    mean, log_std = mlp_gaussian(params["auxiliary"], x, config.aux_log_std_bounds)
    return np.tanh(mean), log_std


def sequence_terms(params, config, inputs, targets, input_mask, noise, *, aux_targets=None, seen_backward=None):
    """Every term of every step of one sequence, of exactly the length of ``targets``.

    ``aux_targets`` takes the place of b_1..b_T as what the auxiliary head must predict, and ``seen_backward`` as what
    the posterior sees: constants there are the numbers whose derivative is stopped.
    """
    b = backward_states(params, config, targets)
    aux_targets = b if aux_targets is None else aux_targets
    seen_backward = b if seen_backward is None else seen_backward
    size = params["forward"]["recurrent"]["kernel"].shape[0]
    h, c = np.zeros(size), np.zeros(size)
    rows = []
    for t in range(len(targets)):
        mean_p, log_std_p = prior(params, config, h, inputs[t])
        mean_q, log_std_q = posterior(params, config, h, seen_backward[t], inputs[t])
        z = draw(mean_q, log_std_q, noise[t])
        mean_a, log_std_a = auxiliary(params, config, h, z)
        h, c = forward_state(params, config, inputs[t], z, h, c)
        # eq. (10), on inputs that are data only (A6).
        reverse = emission_log_prob(params["reverse"], config, b[t], inputs[t]) if input_mask[t] else 0.0
        rows.append(
            Terms(
                emission_log_prob=emission_log_prob(params["emission"], config, h, targets[t]),
                kl=gaussian_kl(mean_q, log_std_q, mean_p, log_std_p),
                prior_log_prob=gaussian_log_prob(z, mean_p, log_std_p),
                posterior_log_prob=gaussian_log_prob(z, mean_q, log_std_q),
                aux_log_prob=gaussian_log_prob(aux_targets[t], mean_a, log_std_a),
                reverse_log_prob=reverse,
            )
        )
    return rows


# Batches, bounds and the objective ------------------------------------------------------------------------------------


def real_part(batch, row):
    """The inputs, targets and input mask of one row, cut at its own end."""
    length = int(batch.lengths[row])
    return (
        np.asarray(batch.inputs)[row, :length],
        np.asarray(batch.targets)[row, :length],
        np.asarray(batch.input_mask)[row, :length],
    )


def all_backward_states(params, config, batch):
    """b_1..b_T of every row of a batch, a list of lists."""
    return [backward_states(params, config, real_part(batch, row)[1]) for row in range(len(batch.lengths))]


def step_terms(params, config, batch, noise, *, aux_targets=None, seen_backward=None):
    """Every term of every step of a batch, ``[B, T]`` each, for noise ``[B, T, Z]``."""
    num_rows, num_steps = np.asarray(batch.mask).shape
    out = np.zeros((6, num_rows, num_steps))
    for row in range(num_rows):
        inputs, targets, input_mask = real_part(batch, row)
        steps = sequence_terms(
            params,
            config,
            inputs,
            targets,
            input_mask,
            noise[row],
            aux_targets=None if aux_targets is None else aux_targets[row],
            seen_backward=None if seen_backward is None else seen_backward[row],
        )
        for t, terms in enumerate(steps):
            out[:, row, t] = terms
    return Terms(*out)


def elbo(params, config, batch, noise):
    """sum_t log p(y_t | .) - KL_t of every sequence, ``[B]``: one sample, no auxiliary and no reverse term (A9)."""
    terms = step_terms(params, config, batch, noise)
    return np.array([sum(e) - sum(k) for e, k in zip(terms.emission_log_prob, terms.kl, strict=True)])


def iwae(params, config, batch, noise):
    """log (1/K) sum_k p(y, z_k) / q(z_k | y) over whole sequences (A14), ``[B]``, for noise ``[K, B, T, Z]``."""
    log_weights = []
    for sample in noise:
        terms = step_terms(params, config, batch, sample)
        log_weights.append(np.sum(terms.emission_log_prob + terms.prior_log_prob - terms.posterior_log_prob, axis=1))
    out = []
    for row in np.array(log_weights).T:
        largest = max(row)
        out.append(largest + np.log(sum(np.exp(w - largest) for w in row) / len(row)))
    return np.array(out)


def objective(
    params,
    config,
    batch,
    noise,
    *,
    aux_weight,
    reverse_weight,
    kl_temperature,
    aux_targets=None,
    aux_seen_backward=None,
):
    """What is trained (higher is better): the mean over real sequences of the augmented sum over their steps.

    Its derivative with ``aux_targets`` held constant is mode "target" of A1. With ``aux_seen_backward`` held constant
    as well, the auxiliary term alone is computed from a posterior that never sees the live b_t, at this or an earlier
    step: mode "backward". At the parameters the constants come from, the value is the same.
    """
    terms = step_terms(params, config, batch, noise, aux_targets=aux_targets)
    aux = terms.aux_log_prob
    if aux_seen_backward is not None:
        frozen = dict(aux_targets=aux_targets, seen_backward=aux_seen_backward)
        aux = step_terms(params, config, batch, noise, **frozen).aux_log_prob
    total, count = 0.0, 0
    for row, length in enumerate(np.asarray(batch.lengths)):
        if length == 0:
            continue
        count += 1
        for t in range(length):
            total += terms.emission_log_prob[row, t] - kl_temperature * terms.kl[row, t]
            total += aux_weight * aux[row, t] + reverse_weight * terms.reverse_log_prob[row, t]
    return total / count
