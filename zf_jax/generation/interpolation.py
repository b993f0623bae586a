"""Decode points between the latents of two sequences."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from zf_jax.bounds.noise import required_key
from zf_jax.checks import checked
from zf_jax.compiled import compiled_once
from zf_jax.density import needs_steps
from zf_jax.emissions import emission_values
from zf_jax.generation.steps import (
    Generated,
    as_drawn,
    checked_options,
    draw_element,
    first_input,
    infer,
)
from zf_jax.models.base import Model
from zf_jax.shapes import check_shape
from zf_jax.typing import Array, Batch, Params


@checked_options
@checked("ends")
@compiled_once("model")
def interpolate(
    model: Model,
    params: Params,
    ends: Batch,
    weights: Any,
    key: Array | None = None,
    *,
    first: Array | None = None,
) -> Generated:
    """Decode points on the straight line between the posterior's latents of two sequences.

    The latents of an end are the posterior's means, each given those before it.  Behind the end of the shorter of the
    two its latent is the prior's mean at that step, given what was decoded so far.

    Args:
      ends: a batch of the two sequences, ``[2, T]``.
      weights: ``[N]``; 0 is the first sequence, 1 the second.
      key: of sampled elements; None decodes greedily, each element the likeliest given those before it.
      first: a real first input, as in ``sample``: a token, or a frame ``[D]``.

    Returns:
      ``[N, T, ...]``.
    """
    needs_steps(model, "interpolate")
    if model.observation.context_size:
        raise ValueError(
            "between two sequences there is no context to decode with: interpolate is for models that read none"
        )
    noise = jnp.zeros((*jnp.shape(ends.mask), model.latent_dim), jnp.result_type(float))
    latents = infer(model, params, ends, None, noise)[1].latent
    weights = jnp.asarray(weights, jnp.result_type(float))
    check_shape("ends.mask", ends.mask, "[2, T]", 2, None)
    check_shape("weights", weights, "[N]", None)
    if first is not None:
        element = first_input(model, 1).shape[1:]
        check_shape("first", as_drawn(model, first), "[D]" if element else "[]", *element)
    rows = weights.shape[0]
    shares = jnp.stack([1 - weights, weights], axis=1)[:, :, None]  # [N, 2, 1]
    is_data = jnp.full(rows, 0.0 if first is None else 1.0)
    if first is None:
        inputs = first_input(model, rows)
    else:
        inputs = jnp.broadcast_to(as_drawn(model, first), (rows, *jnp.shape(first)))
    like = jnp.zeros((rows, 1), jnp.result_type(float))

    def step(state, xs):
        carry, memory, inputs, is_data = state
        latent, real, key_t = xs  # [2, Z], [2], a key
        memory, features = model.observe(params, memory, inputs, is_data)
        prior = model.step(params, carry, features, jnp.zeros((rows, model.latent_dim)))[1].proposal
        each = jnp.where(real[:, None] > 0, latent, prior.mean[:, None, :])  # [N, 2, Z]
        on_line = jnp.sum(shares * each, axis=1)
        carry, sites = model.step(params, carry, features, (on_line - prior.mean) * jnp.exp(-prior.log_std))
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        mean = model.emission.mean(values)
        noise = None if key is None else model.emission.noise(key_t, (rows,))
        drawn = as_drawn(model, draw_element(model, values, noise, None, greedy=key is None))
        return (carry, memory, drawn, jnp.ones_like(is_data)), Generated(drawn, mean, sites.latent)

    steps = ends.mask.shape[1]
    keys = jax.random.split(jax.random.key(0) if key is None else required_key(key), steps)
    xs = (jnp.swapaxes(latents, 0, 1), jnp.swapaxes(jnp.asarray(ends.mask), 0, 1), keys)
    initial = (model.initial_carry(params, like), model.initial_memory(params, like), inputs, is_data)
    _, decoded = jax.lax.scan(step, initial, xs)
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), decoded)
