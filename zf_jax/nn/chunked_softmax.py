"""Compute log-probabilities under a softmax over a large vocabulary, without storing the logits of all steps.

The logits [K, B, T, V], over V words at every step of every sequence and sample, are by far the largest array of a
model of text.  Without a gradient, logits are computed a few rows at a time.  With one, the logits of a batch are
kept for the backward pass if there are at most ``KEPT``; otherwise both passes compute them in chunks.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zf_jax.nn.precision import matmul
from zf_jax.nn.varying import vary_like
from zf_jax.typing import Array, Params

CHUNK = 2**20  # logits of a chunk, for each sample of those that vmap holds side by side
KEPT = 2**24  # logits kept for the backward pass


def categorical_log_prob(layer: Params, hidden: Array, x: Array) -> Array:
    """Return log p(x) under softmax(hidden @ kernel + bias), nats: ``[...]``.

    Args:
      layer: ``{"kernel": [H, V], "bias": [V]}``.
      hidden: ``[..., H]``.
      x: int32 ``[...]``, 0 .. V - 1.
    """
    rows, targets = hidden.reshape(-1, hidden.shape[-1]), x.reshape(-1).astype(jnp.int32)
    kernel, bias = (vary_like(layer[name], rows) for name in ("kernel", "bias"))
    return _log_prob(kernel, bias, rows, targets).reshape(hidden.shape[:-1])


@jax.custom_vjp
def _log_prob(kernel: Array, bias: Array, rows: Array, targets: Array) -> Array:
    return _in_chunks(kernel, bias, rows, targets, CHUNK)


def _in_chunks(kernel: Array, bias: Array, rows: Array, targets: Array, size: int) -> Array:
    """Return log-probabilities ``[N]`` for ``rows`` ``[N, H]``, computing about ``size`` logits at a time."""
    if len(rows) * len(bias) <= size:
        return _picked(matmul(rows, kernel) + bias, targets)[0]
    one = lambda each: _picked(matmul(each[0], kernel) + bias, each[1])[0]  # noqa: E731
    return jax.lax.map(one, (rows, targets), batch_size=max(1, size // len(bias)))


def _picked(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return the log-probabilities of ``targets``, and log sum exp of ``logits``: each ``[...]``."""
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return picked - normaliser, normaliser


def _forward(kernel: Array, bias: Array, rows: Array, targets: Array):
    if len(rows) * len(bias) > KEPT:
        return _in_chunks(kernel, bias, rows, targets, KEPT), (kernel, bias, rows, targets, None)
    logits = matmul(rows, kernel) + bias
    log_prob, normaliser = _picked(logits, targets)
    return log_prob, (kernel, bias, rows, targets, (logits, normaliser))


def _gradients(kernel: Array, rows: Array, targets: Array, logits: Array, normaliser: Array, d: Array):
    """Return the gradients of kernel, bias and rows: d log p / d logits = one_hot(x) - softmax(logits)."""
    here = targets[:, None] == jnp.arange(logits.shape[-1])
    d_logits = d[:, None] * (here.astype(logits.dtype) - jnp.exp(logits - normaliser[:, None]))
    return matmul(rows.T, d_logits), jnp.sum(d_logits, axis=0), matmul(d_logits, kernel.T)


def _backward(residuals, d: Array):
    kernel, bias, rows, targets, kept = residuals
    if kept is not None:
        logits, normaliser = kept
        return *_gradients(kernel, rows, targets, logits, normaliser, d), None
    size = max(1, KEPT // len(bias))
    pad = -len(rows) % size
    # Rows of zero cotangent fill the last chunk up.
    chunks = [
        jnp.pad(a, ((0, pad), *[(0, 0)] * (a.ndim - 1))).reshape(-1, size, *a.shape[1:]) for a in (rows, targets, d)
    ]

    def one(sums, chunk):
        rows, targets, d = chunk
        logits = matmul(rows, kernel) + bias
        d_kernel, d_bias, d_rows = _gradients(kernel, rows, targets, logits, jax.nn.logsumexp(logits, axis=-1), d)
        return (sums[0] + d_kernel, sums[1] + d_bias), d_rows

    (d_kernel, d_bias), d_rows = jax.lax.scan(one, (jnp.zeros_like(kernel), jnp.zeros_like(bias)), tuple(chunks))
    return d_kernel, d_bias, d_rows.reshape(-1, rows.shape[-1])[: len(rows)], None


_log_prob.defvjp(_forward, _backward)
