"""The posterior's means as features of a sequence, one vector a step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zf_jax.checks import checked
from zf_jax.compiled import compiled_once
from zf_jax.data.pipeline import eval_batches
from zf_jax.density import needs_steps
from zf_jax.models.base import Model, unroll
from zf_jax.protocols import Source
from zf_jax.typing import Array, Batch, Params


@checked()
@compiled_once("model")
def encode_means(model: Model, params: Params, batch: Batch) -> Array:
    """Return the mean of q(z_t | x) at every step, each given the means before it: ``[B, T, Z]``, 0 on padding.

    Raises:
      ValueError: the model has no latents of steps.
    """
    needs_steps(model, "the posterior of every step")
    if model.latent_dim == 0:
        raise ValueError("the model has no latents, and so no posterior to take means of")
    noise = jnp.zeros((*batch.mask.shape, model.latent_dim), jnp.result_type(float))
    sites = unroll(model, params, model.encode(params, batch), noise)[1]
    return jnp.where(jnp.asarray(batch.mask)[..., None] > 0, sites.latent, 0.0)


def encode_source(model: Any, params: Params, source: Source, *, batch_size: int = 64) -> list[np.ndarray]:
    """Return ``encode_means`` of every sequence of a source, one array ``[T_i, Z]`` each, in the source's order."""
    found: list[np.ndarray] = [np.zeros((0, model.latent_dim))] * len(source)
    for indices, batch in eval_batches(source, batch_size=batch_size):
        means = jax.device_get(encode_means(model, params, batch))
        for row in np.flatnonzero(indices >= 0):
            found[indices[row]] = means[row, : batch.lengths[row]]
    return found
