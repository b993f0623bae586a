"""Run LSTM and GRU recurrences: single steps, and masked scans forward and backward over time.

Arguments and results are batch-first; only the scans inside this module are time-major.  The inputs are multiplied by
their kernel before the scan, in one matmul over all steps, so that the body of a scan is one product with the
recurrent kernel and the gate arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.linen import initializers

from zf_jax.nn import deferred_scan
from zf_jax.nn.blocks import in_blocks
from zf_jax.nn.layers import init_linear, linear, symmetric_uniform
from zf_jax.nn.precision import matmul
from zf_jax.typing import Array, Params


class LSTMState(NamedTuple):
    """Hidden state h and cell c, each ``[..., H]``."""

    hidden: Array
    cell: Array


def init_lstm(key: Array, inputs: int, size: int) -> Params:
    """Initialise an LSTM: ``input`` layer ``[inputs, 4H]``, ``recurrent`` kernel ``[H, 4H]``.

    The gates are in the order i, f, g, o.  Input kernels are uniform on +-1/sqrt(H), recurrent kernels orthogonal gate
    by gate, biases 0.
    """
    key_input, key_recurrent = jax.random.split(key)
    orthogonal = initializers.orthogonal()
    gates = [orthogonal(k, (size, size), jnp.result_type(float)) for k in jax.random.split(key_recurrent, 4)]
    return {
        "input": init_linear(key_input, inputs, 4 * size, symmetric_uniform(size**-0.5)),
        "recurrent": {"kernel": jnp.concatenate(gates, axis=1)},
    }


def lstm_gates(state: LSTMState, gates: Array) -> LSTMState:
    """Update an LSTM state from the pre-activations of the four gates, ``[..., 4H]``."""
    # sigmoid(x) = (1 + tanh(x / 2)) / 2, so that one tanh over all four gates does: a quarter of the operations,
    # and half of a small step's time on a CPU.
    half = jnp.repeat(jnp.array([0.5, 0.5, 1.0, 0.5], gates.dtype), state.cell.shape[-1])
    i, f, g, o = jnp.split(half * jnp.tanh(half * gates) + (1.0 - half), 4, axis=-1)
    cell = f * state.cell + i * g
    return LSTMState(o * jnp.tanh(cell), cell)


def scan_time(step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, *, reverse: bool = False):
    """Scan over axis 1 of every leaf of ``xs`` ``[B, T, ...]``, as ``jax.lax.scan``; outputs are ``[B, T, ...]``.

    Gradients of kernels that ``step`` closes over are formed after the reverse scan: see ``deferred_scan``.
    """

    def scan(carry, xs):
        time_major = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), xs)
        carry, ys = deferred_scan.scan(step, carry, time_major, reverse=reverse)
        return carry, jax.tree.map(lambda y: jnp.swapaxes(y, 0, 1), ys)

    return in_blocks(scan, carry, xs, reverse=reverse)


def zeros_like_rows(like: Array, size: int) -> Array:
    """Return zeros ``[..., size]`` of the dtype of ``like`` ``[..., any]``."""
    # Made from an input rather than from a shape, so that the carry varies over mesh axes as the input does
    # and callers may use shard_map.
    return jnp.zeros_like(like[..., :1]) * jnp.zeros((size,), like.dtype)


def zero_lstm_state(like: Array, size: int) -> LSTMState:
    """Return the state a recurrence starts from, ``[..., H]`` for ``like`` ``[..., any]``."""
    zeros = zeros_like_rows(like, size)
    return LSTMState(zeros, zeros)


def lstm_backward_states(params: Params, gates: Array, mask: Array, state: LSTMState) -> tuple[LSTMState, Array]:
    """Return the LSTM state of the first step, and the backward states b_{1:T} ``[B, T, H]``.

    b_t = LSTM_b(e(y_t), b_{t+1}), b_{T+1} = 0: eq. (6).  The recurrence starts from ``state`` at each sequence's own
    last real step (rule A7); on padding the states are ``state``.

    Args:
      params: ``{"input", "recurrent"}`` of ``init_lstm``; only ``recurrent`` is read.
      gates: the input layer applied to e(y), bias included, ``[B, T, 4H]``.
      mask: ``[B, T]``, 1 on real steps, 0 on the padding at the end.
      state: b_{T+1}: zeros, or the state behind a piece of the steps.
    """
    recurrent = params["recurrent"]["kernel"]

    def step(state, inputs):
        gates_t, real = inputs
        updated = lstm_gates(state, gates_t + matmul(state.hidden, recurrent))
        # Padding comes first in this direction: holding the state at its initial value until the first real step
        # makes every sequence begin at its own end.
        state = jax.tree.map(lambda new, old: jnp.where(real[:, None] > 0, new, old), updated, state)
        return state, state.hidden

    return scan_time(step, state, (gates, mask), reverse=True)


def lstm_forward(params: Params, embedded: Array, state: LSTMState) -> tuple[LSTMState, Array]:
    """Run an LSTM over ``embedded`` ``[B, T, E]`` and return its last state, and all hidden states ``[B, T, H]``.

    No mask is needed: padding comes after the real steps and cannot affect them.
    """
    recurrent = params["recurrent"]["kernel"]

    def step(state, gates_t):
        state = lstm_gates(state, gates_t + matmul(state.hidden, recurrent))
        return state, state.hidden

    gates = linear(params["input"], embedded)
    return scan_time(step, state, gates)


def init_gru(key: Array, inputs: int, size: int) -> Params:
    """Initialise a GRU: ``input`` layer ``[inputs, 3H]``, ``recurrent`` kernel ``[H, 3H]``; reset, update, new gate."""
    key_input, key_recurrent = jax.random.split(key)
    orthogonal = initializers.orthogonal()
    gates = [orthogonal(k, (size, size), jnp.result_type(float)) for k in jax.random.split(key_recurrent, 3)]
    return {
        "input": init_linear(key_input, inputs, 3 * size, symmetric_uniform(size**-0.5)),
        "recurrent": {"kernel": jnp.concatenate(gates, axis=1)},
    }


def gru_gates(hidden: Array, from_input: Array, from_hidden: Array) -> Array:
    """Update a GRU state from the gate contributions of input and state, each ``[..., 3H]``.

    The reset gate acts on the product with the state, not on the state, so that a step needs one product; SRNN's own
    GRU does the same.
    """
    reset_x, update_x, new_x = jnp.split(from_input, 3, axis=-1)
    reset_h, update_h, new_h = jnp.split(from_hidden, 3, axis=-1)
    new = jnp.tanh(new_x + jax.nn.sigmoid(reset_x + reset_h) * new_h)
    update = jax.nn.sigmoid(update_x + update_h)
    return update * hidden + (1.0 - update) * new


def gru_states(
    params: Params, gates: Array, mask: Array, hidden: Array, *, reverse: bool = False
) -> tuple[Array, Array]:
    """Run a GRU whose inputs contribute ``gates`` ``[B, T, 3H]``; return its last state, and all ``[B, T, H]``.

    Both directions start from ``hidden`` ``[B, H]`` at their first real step; where ``mask`` ``[B, T]`` is 0 the state
    is kept.
    """
    recurrent = params["recurrent"]["kernel"]

    def step(hidden, inputs):
        gates_t, real = inputs
        hidden = jnp.where(real[:, None] > 0, gru_gates(hidden, gates_t, matmul(hidden, recurrent)), hidden)
        return hidden, hidden

    return scan_time(step, hidden, (gates, mask), reverse=reverse)
