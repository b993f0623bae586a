"""Regress the length of a sequence on what a model knows after its first steps: its latents, or its state.

The latents are drawn from the posterior.  Its means alone would tell too much: a linear map can read a mean that moves
by a hundredth of the posterior's standard deviation, where the model, which reads a draw, cannot.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from zf_jax.bounds.noise import draw_noise, sequence_keys
from zf_jax.compiled import compiled_once
from zf_jax.data.pipeline import eval_batches
from zf_jax.models.base import Model, unroll
from zf_jax.protocols import Source
from zf_jax.typing import Array, ArrayLike, Batch, Params


@compiled_once("model", "num_steps")
def first_features(
    model: Model, params: Params, batch: Batch, key: Array, indices: ArrayLike, num_steps: int
) -> tuple[Array, Array]:
    """Return the latents drawn at the first steps and the state after them, ``[B, num_steps * Z]``, ``[B, H]``.

    The state is what the emission reads at step ``num_steps``: of Z-Forcing and the RNN, h_t.

    Args:
      key: a PRNG key; the draws of a sequence depend on it and on the sequence's index alone.
      indices: of the sequences in their source, ``[B]``.
    """
    features = model.encode(params, batch)
    noise = draw_noise(sequence_keys(key, indices), batch, model.latent_dim)
    sites = unroll(model, params, features, noise)[1]
    hidden = model.readout(params, features, sites)
    latents = sites.latent[:, :num_steps]
    return latents.reshape(latents.shape[0], num_steps * model.latent_dim), hidden[:, num_steps - 1]


def length_regression(
    model: Model,
    params: Params,
    train: Source,
    test: Source,
    *,
    key: Array,
    num_steps: int = 2,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Return the R² on ``test`` of the sequence length by a linear regression fitted on ``train``.

    Only sequences longer than ``num_steps`` are read.  The latents are those of the posterior, which has read the whole
    sequence; the state of a model without latents has read ``num_steps`` inputs alone.

    Args:
      key: a PRNG key, with which the latents are drawn.

    Returns:
      ``latents`` (missing for a model without latents) and ``state``, each an R² or None if all lengths are equal, and
      ``num_train`` and ``num_test``, the numbers of sequences.
    """
    keys = jax.random.split(key)
    fitted, held_out = (
        _read(model, params, source, own, num_steps, batch_size)
        for source, own in zip((train, test), keys, strict=True)
    )
    found: dict[str, Any] = {}
    if model.latent_dim:
        found["latents"] = r_squared(fitted[0], fitted[2], held_out[0], held_out[2])
    found["state"] = r_squared(fitted[1], fitted[2], held_out[1], held_out[2])
    return {**found, "num_train": len(fitted[2]), "num_test": len(held_out[2])}


def r_squared(x: np.ndarray, y: np.ndarray, new_x: np.ndarray, new_y: np.ndarray) -> float | None:
    """Return 1 - residual / total variance of ``new_y`` ``[M]`` under the least squares of ``y`` ``[N]`` on ``x``.

    Args:
      x: ``[N, D]``; a constant is added.
      new_x: ``[M, D]``.
    """
    if len(y) == 0 or len(new_y) == 0 or np.ptp(new_y) == 0:
        return None
    varies = x.std(axis=0) > 1e-6 * np.maximum(1.0, np.abs(x.mean(axis=0)))  # else what varies is rounding
    x, new_x = x[:, varies], new_x[:, varies]
    mean, scale = x.mean(axis=0), x.std(axis=0)
    weights = np.linalg.lstsq((x - mean) / scale, y - y.mean(), rcond=None)[0]
    predicted = (new_x - mean) / scale @ weights + y.mean()
    return float(1.0 - np.sum((new_y - predicted) ** 2) / np.sum((new_y - new_y.mean()) ** 2))


def _read(
    model: Model, params: Params, source: Source, key: Array, num_steps: int, batch_size: int
) -> tuple[np.ndarray, ...]:
    """Return latents ``[N, num_steps * Z]``, states ``[N, H]`` and lengths ``[N]`` of the longer sequences."""
    parts = []
    for indices, batch in eval_batches(source, batch_size=batch_size):
        if batch.mask.shape[1] <= num_steps:  # batches are sorted by length
            break
        latents, states = jax.device_get(first_features(model, params, batch, key, indices, num_steps=num_steps))
        longer = np.asarray(batch.lengths) > num_steps
        parts.append((latents[longer], states[longer], np.asarray(batch.lengths)[longer]))
    if not parts:
        return np.zeros((0, num_steps * model.latent_dim)), np.zeros((0, 0)), np.zeros(0)
    return tuple(np.concatenate(each).astype(np.float64) for each in zip(*parts, strict=True))
