"""Parameters that make each model linear-Gaussian, and the equations it must then follow, written out in numpy.

LSTM and GRU cells become linear recurrences s_t = W x_t + R s_{t-1}: gates held open or shut by biases of +-40, and the
state h_t = EPSILON s_t so small that tanh is the identity up to EPSILON^2.  One-hidden-layer heads become linear by
standing in the middle of the linear stretch (0, 3) of the clipped leaky ReLU.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from reference import brute_force

from helpers.models_under_test import random_params
from zf_jax.models import build_model
from zf_jax.typing import Observation

D, Z, H, M, E = 2, 2, 4, 2, 3
SIZES = {"rnn_dim": H, "latent_dim": Z, "mlp_dim": M, "embed_dim": E}
EPSILON, DELTA, MIDDLE = 1e-4, 1e-3, 1.5
UNBOUNDED = {"latent_log_std_bounds": (None, None), "emission_log_std_bounds": (None, None)}


class Linear(NamedTuple):
    """The matrices of the linear model, whatever the model reads of them; rows in, columns out."""

    embedding: np.ndarray  # [D, E]
    latent_embedding: np.ndarray  # [Z, M]
    state_embedding: np.ndarray  # [E, H]
    state_latent: np.ndarray  # [M, H]
    state_bias: np.ndarray  # [H]
    recurrence: np.ndarray  # [H, H]
    prior_state: np.ndarray  # [H, Z]
    prior_latent: np.ndarray  # [Z, Z]
    prior_bias: np.ndarray  # [Z]
    prior_log_std: np.ndarray  # [Z]
    emission_state: np.ndarray  # [H, D]
    emission_latent: np.ndarray  # [Z, D]
    emission_bias: np.ndarray  # [D]
    emission_log_std: np.ndarray  # [D]


def random_linear(seed=0):
    """Random matrices of moderate size."""
    rng = np.random.default_rng(seed)
    shapes = [(D, E), (Z, M), (E, H), (M, H), (H,), (H, H), (H, Z), (Z, Z), (Z,), (Z,), (H, D), (Z, D), (D,), (D,)]
    matrices = Linear(*(rng.normal(size=shape) / shape[0] ** 0.5 for shape in shapes))
    return matrices._replace(recurrence=0.5 * matrices.recurrence, prior_log_std=0.2 * matrices.prior_log_std)


# The equations of MODEL.md, by model: means of p(z_t | past) [T, Z] and of p(y_t | past, z_{1:t}) [T, D]. -------------


INDICATOR = np.random.default_rng(7).normal(size=(D, E))  # of models that read which dimensions were observed


def means(name, m, z, y, present=None):
    """The means; with ``present`` [T, D], of a model that reads zeros and an indicator where ``y`` is missing."""
    state, priors, emissions = np.zeros(H), [], []
    zeros = np.zeros(Z)
    for t in range(len(y)):
        y_before = y[t - 1] if t > 0 else np.zeros(D)
        z_before = z[t - 1] if t > 0 else zeros
        embedded = y_before @ m.embedding
        if present is not None:
            seen = present[t - 1] if t > 0 else np.ones(D)
            embedded = (seen * y_before) @ m.embedding + seen @ INDICATOR
        from_input = embedded @ m.state_embedding + m.state_bias
        if name in ("zforcing", "storn"):
            priors.append(state @ m.prior_state + m.prior_bias if name == "zforcing" else zeros)
            state = from_input + z[t] @ m.latent_embedding @ m.state_latent + state @ m.recurrence
            emissions.append(state @ m.emission_state)
        elif name in ("vrnn", "vrnn_i"):
            if t > 0:
                state = from_input + z_before @ m.latent_embedding @ m.state_latent + state @ m.recurrence
            priors.append(state @ m.prior_state + m.prior_bias if name == "vrnn" else zeros)
            emissions.append(z[t] @ m.emission_latent + state @ m.emission_state)
        elif name == "srnn":
            state = from_input + state @ m.recurrence
            priors.append(state @ m.prior_state + z_before @ m.prior_latent + m.prior_bias)
            emissions.append(state @ m.emission_state + z[t] @ m.emission_latent)
        elif name == "dmm":
            priors.append(z_before @ m.prior_latent + m.prior_bias)
            emissions.append(z[t] @ m.emission_latent)
        elif name == "rnn":
            state = from_input + state @ m.recurrence
            priors.append(zeros)  # latents that nothing reads
            emissions.append(state @ m.emission_state)
        else:
            raise ValueError(f"write down the linear equations of {name!r} here")
    return np.array(priors), np.array(emissions) + m.emission_bias


def prior_log_std(name, m):
    return np.zeros(Z) if name in ("storn", "vrnn_i", "rnn") else m.prior_log_std


def joint(name, m, num_steps, present=None):
    """The joint Gaussian over (z_1, y_1, ..., z_T, y_T): mean, covariance, and the places of z and of y."""

    def stacked(v):
        v = v.reshape(num_steps, Z + D)
        return np.concatenate(means(name, m, v[:, :Z], v[:, Z:], present), axis=1).ravel()

    size = num_steps * (Z + D)
    bias = stacked(np.zeros(size))
    weights = np.stack([stacked(unit) - bias for unit in np.eye(size)], axis=1)
    std = np.exp(np.concatenate([prior_log_std(name, m), m.emission_log_std]))
    mean, cov = brute_force.directed_gaussian(weights, bias, np.diag(np.tile(std**2, num_steps)))
    places = np.arange(size).reshape(num_steps, Z + D)
    return mean, cov, places[:, :Z], places[:, Z:]


# The same matrices as parameters of a model. --------------------------------------------------------------------------


def cell(gates, inputs, recurrence, bias, *, candidate, open_gates):
    """An LSTM's or GRU's kernels: the candidate linear, the other gates shut or open."""
    kernel, recurrent, biases = np.zeros((len(inputs), gates * H)), np.zeros((H, gates * H)), np.full(gates * H, -40.0)
    part = slice(candidate * H, (candidate + 1) * H)
    kernel[:, part], recurrent[:, part], biases[part] = EPSILON * inputs, recurrence, EPSILON * bias
    for gate in open_gates:
        biases[gate * H : (gate + 1) * H] = 40.0
    return {"input": {"kernel": kernel, "bias": biases}, "recurrent": {"kernel": recurrent}}


def lstm(inputs, recurrence, bias):
    return cell(4, inputs, recurrence, bias, candidate=2, open_gates=(0, 3))  # i, f, g, o


def gru(inputs, recurrence, bias):
    return cell(3, inputs, recurrence, bias, candidate=2, open_gates=(0,))  # reset, update, new


def affine(kernel, bias):
    return {"kernel": kernel, "bias": bias}


def through_hidden(kernel, bias, rng):
    """A linear map by way of a hidden layer of M units, all in the middle of their linear stretch."""
    mix = rng.normal(size=(kernel.shape[1], kernel.shape[1])) + 2 * np.eye(kernel.shape[1])
    hidden = affine(DELTA * kernel @ np.linalg.inv(mix), np.full(kernel.shape[1], MIDDLE))
    return hidden, affine(mix / DELTA, bias - MIDDLE * mix.sum(0) / DELTA)


def gaussian_head(kernel, bias, log_std, rng):
    hidden, mean = through_hidden(kernel, bias, rng)
    return {"hidden": hidden, "mean": mean, "log_std": affine(np.zeros((M, Z)), log_std)}


def gated_transition(m, random, rng):
    """A linear transition: by the linear part in the first dimension, whose gate is shut, by f_r in the second."""
    hidden, proposal = through_hidden(m.prior_latent, m.prior_bias, rng)
    first = np.arange(Z) == 0
    return {
        "hidden": jax.tree.map(
            lambda gate, ours: np.concatenate([gate[..., :M], ours], axis=-1), random["hidden"], hidden
        ),
        "gate": affine(np.zeros((M, Z)), np.where(first, -40.0, 40.0)),
        "proposal": jax.tree.map(lambda ours, other: np.where(first, other, ours), proposal, random["proposal"]),
        "mean": jax.tree.map(
            lambda ours, other: np.where(first, ours, other), affine(m.prior_latent, m.prior_bias), random["mean"]
        ),
        "log_std": affine(np.zeros((Z, Z)), m.prior_log_std),
    }


def build(name, missing=False):
    known = {k: v for k, v in SIZES.items() if name != "rnn" or k in ("rnn_dim", "embed_dim")}
    bounds = {k: v for k, v in UNBOUNDED.items() if name != "rnn" or k.startswith("emission")}
    return build_model(name, Observation("frames", D, missing), emission="gaussian", **known, **bounds)


def parameters(name, m, posterior=None, missing=False):
    """Parameters under which the model is the linear one; what only inference reads stays random, or is given."""
    rng = np.random.default_rng(5)
    params = random_params(build(name), spread=0.1)
    kernel = np.concatenate([m.embedding, INDICATOR]) if missing else m.embedding
    params["embedding"] = affine(kernel, np.zeros(E))
    if name == "srnn":
        params["forward"] = gru(m.state_embedding, m.recurrence, m.state_bias)
    elif name != "dmm":
        inputs = m.state_embedding if name == "rnn" else np.concatenate([m.state_embedding, m.state_latent])
        params["forward"] = lstm(inputs, m.recurrence, m.state_bias)
    if name not in ("rnn", "srnn", "dmm"):
        params["latent_embedding"] = affine(m.latent_embedding, np.zeros(M))
    if name in ("zforcing", "vrnn"):
        params["prior"] = gaussian_head(m.prior_state / EPSILON, m.prior_bias, m.prior_log_std, rng)
    if name == "srnn":
        kernel = np.concatenate([m.prior_state / EPSILON, m.prior_latent])
        params["prior"] = gaussian_head(kernel, m.prior_bias, m.prior_log_std, rng)
    if name == "dmm":
        params["prior"] = gated_transition(m, params["prior"], rng)
    emission = {"log_std": affine(np.zeros((params["emission"]["mean"]["kernel"].shape[0], D)), m.emission_log_std)}
    state, latent = m.emission_state / EPSILON, m.emission_latent
    parts = {"vrnn": (latent, state), "vrnn_i": (latent, state), "srnn": (state, latent), "dmm": (latent,)}
    if name in parts:
        emission["hidden_0"], emission["mean"] = through_hidden(np.concatenate(parts[name]), m.emission_bias, rng)
    else:
        emission["mean"] = affine(m.emission_state / EPSILON, m.emission_bias)
    params["emission"] = emission
    return params | (posterior or {})


# A linear model whose exact posterior each inference network can be. --------------------------------------------------


def separable(name, seed=1):
    """Matrices under which p(z_t | z_{<t}, y_{1:T}) hangs on y_t and the state alone, and has independent dimensions.

    No latent reaches a later step, and dimension i of z_t reaches dimension i of y_t alone.
    """
    m = random_linear(seed)
    gain = np.diag([0.8, -1.3])
    m = m._replace(prior_latent=np.zeros((Z, Z)), emission_latent=gain)
    if name in ("zforcing", "storn"):
        # z_t reaches y_t through the state, and must not stay there; q sees neither u_t nor, in STORN, the past.
        return m._replace(
            recurrence=np.zeros((H, H)),
            state_embedding=np.zeros((E, H)),
            state_bias=np.zeros(H),
            prior_state=np.zeros((H, Z)),
            emission_state=np.linalg.pinv(m.latent_embedding @ m.state_latent) @ gain,
        )
    return m._replace(state_latent=np.zeros((M, H)))


def exact_posterior(name, m):
    """The parameters of the inference network that make q(z_t | .) the exact posterior of a ``separable`` model."""
    rng = np.random.default_rng(6)
    prior_var, noise_var = np.exp(2 * prior_log_std(name, m)), np.exp(2 * m.emission_log_std)
    gain = np.diag([0.8, -1.3])
    prior_bias = m.prior_bias if name in ("zforcing", "vrnn", "srnn", "dmm") else np.zeros(Z)
    prior_state = m.prior_state if name in ("vrnn", "srnn") else np.zeros((H, Z))
    emission_state = m.emission_state if name in ("vrnn", "vrnn_i", "srnn") else np.zeros((H, D))
    variance = 1 / (1 / prior_var + np.diag(gain) ** 2 / noise_var)
    weigh = np.diag(variance * np.diag(gain) / noise_var)  # K of the update: mean + (y - C mean) K
    # mean of q = y weigh + s on_state + bias
    on_state = prior_state - (prior_state @ gain + emission_state) @ weigh
    bias = prior_bias - (prior_bias @ gain + m.emission_bias) @ weigh
    log_std = 0.5 * np.log(variance)
    from_embedding = np.linalg.pinv(m.embedding) @ weigh  # e(y_t) back to y_t first
    pick = np.eye(H, Z)
    if name in ("zforcing", "storn"):
        group = "backward" if name == "zforcing" else "recognition"
        inference = lstm(from_embedding @ pick.T, np.zeros((H, H)), np.zeros(H))
        kernel = pick / EPSILON
        if name == "zforcing":
            kernel = np.concatenate([np.zeros((H, Z)), kernel])
        return {group: inference, "posterior": gaussian_head(kernel, bias, log_std, rng)}
    if name in ("vrnn", "vrnn_i"):
        kernel = np.concatenate([on_state / EPSILON, from_embedding])
        return {"posterior": gaussian_head(kernel, bias, log_std, rng)}
    if name == "dmm":
        combiner = affine(np.zeros((Z, H)), np.zeros(H))  # z_{t-1} tells nothing that y_t does not
        inference = lstm(from_embedding @ pick.T, np.zeros((H, H)), np.zeros(H))
        heads = {"mean": affine(2 * pick / EPSILON, bias), "log_std": affine(np.zeros((H, Z)), log_std)}
        return {"backward": inference, "posterior": {"combiner": combiner, **heads}}
    # SRNN: the residual to the prior's mean, by way of a_t = GRU_b([d_t, e(y_t)], a_{t+1}).
    onto = np.concatenate([(on_state - prior_state) / EPSILON, from_embedding]) @ pick.T
    kernel = np.concatenate([pick / EPSILON, np.zeros((Z, Z))])
    backward = gru(onto, np.zeros((H, H)), np.zeros(H))
    return {"backward": backward, "posterior": gaussian_head(kernel, bias - prior_bias, log_std, rng)}
