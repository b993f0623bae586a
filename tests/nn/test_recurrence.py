"""The recurrences against plain numpy loops, in both directions and behind padding; LSTMs also in test_reference."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from zf_jax.nn.layers import linear
from zf_jax.nn.recurrence import gru_states, init_gru, init_lstm, lstm_backward_states, lstm_forward, zero_lstm_state

pytestmark = pytest.mark.x64

H, E, LENGTHS, NUM_STEPS = 4, 3, (5, 2, 0), 6


def sequences(seed=0):
    mask = np.arange(NUM_STEPS) < np.array(LENGTHS)[:, None]
    x = np.random.default_rng(seed).normal(size=(len(LENGTHS), NUM_STEPS, E))
    return jnp.asarray(np.where(mask[..., None], x, 0.0)), jnp.asarray(mask * 1.0)


def numpy_gru(params, x):
    """Cho et al. 2014, the reset gate on the product with the state: ``[T, E]`` to ``[T, H]``."""
    kernel, bias, recurrent = (np.asarray(p) for p in (*params["input"].values(), params["recurrent"]["kernel"]))
    state, states = np.zeros(H), []
    for x_t in x:
        (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(x_t @ kernel + bias, 3), np.split(state @ recurrent, 3)
        reset, update = expit(r_x + r_h), expit(z_x + z_h)
        state = update * state + (1.0 - update) * np.tanh(n_x + reset * n_h)
        states.append(state)
    return np.array(states).reshape(-1, H)


@pytest.mark.parametrize("reverse", [False, True])
def test_gru_starts_from_zeros_at_each_sequence_s_own_first_step(reverse):
    params = init_gru(jax.random.key(0), E, H)
    params["input"]["bias"] += np.linspace(-1, 1, 3 * H)
    x, mask = sequences()
    run = jax.jit(gru_states, static_argnames="reverse")
    _, found = run(params, linear(params["input"], x), mask, jnp.zeros((len(x), H)), reverse=reverse)
    for row, length in enumerate(LENGTHS):
        real = np.asarray(x[row, :length])
        expected = numpy_gru(params, real[::-1])[::-1] if reverse else numpy_gru(params, real)
        np.testing.assert_allclose(found[row, :length], expected, rtol=1e-10)


def test_lstm_forward_is_the_backward_one_in_a_mirror():
    params = init_lstm(jax.random.key(0), E, H)
    x, mask = sequences()
    whole = jnp.ones_like(mask)
    start = zero_lstm_state(x[:, 0], H)
    first, mirrored = lstm_backward_states(params, linear(params["input"], x[:, ::-1]), whole, start)
    last, states = lstm_forward(params, x, start)
    np.testing.assert_allclose(states, mirrored[:, ::-1], rtol=1e-10)
    np.testing.assert_allclose(last.cell, first.cell, rtol=1e-10)


def test_recurrent_kernels_begin_orthogonal_and_input_kernels_within_their_range():
    for params, gates in ((init_gru(jax.random.key(0), E, H), 3), (init_lstm(jax.random.key(0), E, H), 4)):
        for kernel in np.split(np.asarray(params["recurrent"]["kernel"]), gates, axis=1):
            np.testing.assert_allclose(kernel.T @ kernel, np.eye(H), atol=1e-6)
        assert np.abs(params["input"]["kernel"]).max() <= H**-0.5
        np.testing.assert_array_equal(params["input"]["bias"], 0.0)
