"""The deep Markov model against its equations in plain numpy, one step of one sequence at a time."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.models_under_test import random_noise, random_params
from helpers.with_context import C, model_of, some_batch
from reference import numpy_zforcing as reference
from scipy import stats

from zf_jax import bounds

pytestmark = pytest.mark.x64

Z = 2


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def gated(gate, linear, proposal):
    return (1 - gate) * linear + gate * proposal


def combined(layer, previous, backward):
    return 0.5 * (np.tanh(reference.dense(layer, previous)) + backward)


def backward_states(layer, embedded):
    states, state = [], (np.zeros(4), np.zeros(4))
    for value in embedded[::-1]:
        state = reference.lstm_cell(layer, value, *state)
        states.insert(0, state[0])
    return states


EQUATIONS = {"gated": gated, "combined": combined, "backward_states": backward_states}


def elbo_by_hand(params, y, context, noise, equations):
    """The ELBO of one sequence ``[T, D]``, by given noise ``[T, Z]``."""
    bounded = functools.partial(reference.bounded_log_std, bounds=(-7.0, 5.0))
    dense, active = reference.dense, reference.leaky_relu_clipped
    embedded = [
        dense(params["embedding"], v) + c @ params["embedding"]["context"] for v, c in zip(y, context, strict=True)
    ]
    backward = equations["backward_states"](params["backward"], embedded)
    p, q, output = params["prior"], params["posterior"], params["emission"]
    z, total = np.zeros(Z), 0.0
    for t, value in enumerate(y):
        hidden = active(dense(p["hidden"], np.concatenate([z, context[t]])))
        gate, proposal = sigmoid(dense(p["gate"], hidden[:3])), dense(p["proposal"], hidden[3:])
        mean_p = equations["gated"](gate, dense(p["mean"], z), proposal)
        log_std_p = bounded(dense(p["log_std"], active(proposal)))
        read = equations["combined"](q["combiner"], z, backward[t])
        mean_q, log_std_q = dense(q["mean"], read), bounded(dense(q["log_std"], read))
        z = mean_q + np.exp(log_std_q) * noise[t]
        hidden = active(dense(output["hidden_0"], z))
        std = np.exp(bounded(dense(output["log_std"], hidden)))
        total += stats.norm.logpdf(value, dense(output["mean"], hidden), std).sum()
        total -= reference.gaussian_kl(mean_q, log_std_q, mean_p, log_std_p)
    return total


@functools.cache
def found():
    """A batch of ragged rows with a context, the library's ELBO of each, and what it was computed from."""
    model, batch = model_of("dmm"), jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x.dtype.kind)), some_batch())
    params, noise = random_params(model), random_noise(model, batch)
    elbo = jax.jit(functools.partial(bounds.elbo, model))(params, batch, noise=noise)
    return jax.tree.map(np.asarray, (params, batch, noise, elbo))


def apart(**mutation):
    """How far each row's ELBO is from the equations, or from wrong ones."""
    params, batch, noise, elbo = found()
    by_hand = [
        elbo_by_hand(params, y[:length], c[:length], n, EQUATIONS | mutation)
        for y, c, n, length in zip(batch.targets, batch.context, noise, batch.lengths, strict=True)
    ]
    return np.abs(np.array(by_hand) / elbo - 1)


def test_the_elbo_is_that_of_the_equations():
    assert found()[1].context.shape[-1] == C
    assert apart().max() < 1e-10


MUTATIONS = {
    "the gate the other way round": {"gated": lambda gate, linear, proposal: gated(1 - gate, linear, proposal)},
    "a sum for a mean": {"combined": lambda *args: 2 * combined(*args)},
    "tanh over both": {"combined": lambda layer, z, b: 0.5 * np.tanh(reference.dense(layer, z) + b)},
    "b_{t+1} in place of b_t": {
        "backward_states": lambda layer, e: [*backward_states(layer, e)[1:], np.zeros(4)],
    },
    "forward in time": {"backward_states": lambda layer, e: backward_states(layer, e[::-1])[::-1]},
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_wrong_equation_is_found(mutation):
    assert apart(**MUTATIONS[mutation]).max() > 1e-4


def test_the_transition_begins_as_a_walk_that_stays_where_it_is():
    params = model_of("dmm").init(jax.random.key(0))["prior"]
    np.testing.assert_array_equal(params["mean"]["kernel"], np.eye(Z))
    np.testing.assert_array_equal(params["mean"]["bias"], np.zeros(Z))
