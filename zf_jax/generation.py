"""Sequences out of a model: ancestral samples, reconstructions, continuations, interpolations."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.bounds.noise import draw_noise, required_key
from zf_jax.compiled import compiled_once
from zf_jax.emissions import emission_values, member
from zf_jax.models.base import Features, Model, Sites, unroll
from zf_jax.nn.recurrence import scan_time
from zf_jax.typing import Array, Batch, Params


class Generated(NamedTuple):
    """Sequences drawn from a model.

    Attributes:
      values: ``[B, T]`` int32 tokens or ``[B, T, D]`` frames.
      mean: E[y_t] given the past as drawn: probabilities of a one ``[B, T]``, of classes ``[B, T, C]``, or frames.
      latents: z, ``[B, T, Z]``.
    """

    values: Array
    mean: Array
    latents: Array


@compiled_once("model", "num_samples", "length")
def sample(
    model: Model,
    params: Params,
    key: Array | None = None,
    *,
    num_samples: int,
    length: int,
    first: Array | None = None,
    noise: tuple[Array, Array] | None = None,
) -> Generated:
    """Draw ``num_samples`` sequences of ``length`` steps from the model: z from the prior, y from the emission.

    Args:
      key: a PRNG key; not read where ``noise`` is given.
      first: a real first input, ``[B]`` or ``[B, D]``, as the ``srnn`` protocol gives it; a start token or a frame of
        zeros by default.
      noise: standard normal ``[B, T, Z]`` for the latents, and ``model.emission.noise`` ``[B, T, ...]``.
    """
    _at_least_one(num_samples, length)
    is_data = jnp.full(num_samples, 0.0 if first is None else 1.0)
    first = _first_input(model, num_samples) if first is None else _as_drawn(model, first)
    like = jnp.zeros((num_samples, 1), jnp.result_type(float))
    carry, memory = model.initial_carry(params, like), model.initial_memory(params, like)
    return _generate(model, params, carry, memory, first, is_data, length, key, noise)


@compiled_once("model")
def reconstruct(
    model: Model, params: Params, batch: Batch, key: Array | None = None, *, noise: Array | None = None
) -> Generated:
    """Encode each sequence with the posterior and predict it again, step by step, from its own past and latents.

    ``values`` are point predictions: the mean of frames, the argmax of tokens.
    """
    features, sites = _infer(model, params, batch, key, noise)[:2]
    values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
    mean = model.emission.mean(values)
    read = member(model.emission, "likeliest")(values) if model.observation.kind == "tokens" else mean
    return Generated(read, mean, sites.latent)


@compiled_once("model", "length")
def continue_prefix(
    model: Model,
    params: Params,
    prefix: Batch,
    key: Array,
    *,
    length: int,
) -> Generated:
    """Go on from a given beginning: the posterior reads the prefix alone, the prior draws the steps after it.

    Args:
      prefix: sequences that are real in all their steps, ``[B, S]``.
      length: steps to draw after the prefix.

    Returns:
      The prefix and its continuation, ``[B, S + length, ...]``.
    """
    _at_least_one(prefix.targets.shape[0], length)
    key_prefix, key_rest = jax.random.split(key)
    features, sites, carry = _infer(model, params, prefix, key_prefix, None)
    shown = model.emission.mean(
        emission_values(params["emission"], model.emission, model.readout(params, features, sites))
    )
    memory = model.initial_memory(params, features.observed.mask)
    seen = (features.observed.inputs, features.observed.input_mask)
    memory, _ = scan_time(lambda m, xs: (model.observe(params, m, *xs)[0], None), memory, seen)
    last = _as_drawn(model, prefix.targets[:, -1])
    rows = prefix.targets.shape[0]
    drawn = _generate(model, params, carry, memory, last, jnp.ones(rows), length, key_rest, None)
    return Generated(
        jnp.concatenate([prefix.targets.astype(drawn.values.dtype), drawn.values], axis=1),
        jnp.concatenate([shown, drawn.mean], axis=1),
        jnp.concatenate([sites.latent, drawn.latents], axis=1),
    )


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
    noise = jnp.zeros((*ends.mask.shape, model.latent_dim), jnp.result_type(float))
    latents = _infer(model, params, ends, None, noise)[1].latent
    weights = jnp.asarray(weights, jnp.result_type(float))
    rows = weights.shape[0]
    shares = jnp.stack([1 - weights, weights], axis=1)[:, :, None]  # [N, 2, 1]
    is_data = jnp.full(rows, 0.0 if first is None else 1.0)
    if first is None:
        inputs = _first_input(model, rows)
    else:
        inputs = jnp.broadcast_to(_as_drawn(model, first), (rows, *jnp.shape(first)))
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
        if key is None:
            drawn = _as_drawn(model, member(model.emission, "likeliest")(values))
        else:
            drawn = model.emission.sample(values, model.emission.noise(key_t, (rows,)))
        return (carry, memory, drawn, jnp.ones_like(is_data)), Generated(drawn, mean, sites.latent)

    steps = ends.mask.shape[1]
    keys = jax.random.split(jax.random.key(0) if key is None else key, steps)
    xs = (jnp.swapaxes(latents, 0, 1), jnp.swapaxes(jnp.asarray(ends.mask), 0, 1), keys)
    initial = (model.initial_carry(params, like), model.initial_memory(params, like), inputs, is_data)
    _, decoded = jax.lax.scan(step, initial, xs)
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), decoded)


def _infer(
    model: Model, params: Params, batch: Batch, key: Array | None, noise: Array | None
) -> tuple[Features, Sites, Any]:
    if noise is None:
        noise = draw_noise(required_key(key), batch, model.latent_dim)
    features = model.encode(params, batch)
    carry, sites = unroll(model, params, features, noise)
    return features, sites, carry


def _generate(model, params, carry, memory, inputs, is_data, length, key, noise) -> Generated:
    """Draw ``length`` steps after ``inputs`` ``[B]`` or ``[B, D]``, each drawn element being the next input."""
    rows = inputs.shape[0]

    def step(state, xs):
        carry, memory, inputs, is_data = state
        if noise is None:
            key_latent, key_emission = jax.random.split(xs)
            latent_noise = jax.random.normal(key_latent, (rows, model.latent_dim), jnp.result_type(float))
            emission_noise = model.emission.noise(key_emission, (rows,))
        else:
            latent_noise, emission_noise = xs
        memory, features = model.observe(params, memory, inputs, is_data)
        carry, sites = model.step(params, carry, features, latent_noise)
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        drawn = model.emission.sample(values, emission_noise)
        return (carry, memory, drawn.astype(inputs.dtype), jnp.ones_like(is_data)), Generated(
            drawn, model.emission.mean(values), sites.latent
        )

    initial = (carry, memory, inputs, is_data)
    if noise is None:
        # One key a step rather than all the noise at once: a large vocabulary's would not fit in memory.
        _, drawn = jax.lax.scan(step, initial, jax.random.split(required_key(key), length))
        return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), drawn)
    return scan_time(step, initial, noise)[1]


def _first_input(model: Model, rows: int) -> Array:
    observation = model.observation
    if observation.kind == "tokens":
        return jnp.full((rows,), observation.start_token, jnp.int32)
    return jnp.zeros((rows, observation.size), jnp.result_type(float))


def _as_drawn(model: Model, inputs: Array) -> Array:
    """Inputs in the type in which the emission draws them, so that either can be the next step's."""
    return jnp.asarray(inputs, jnp.int32 if model.observation.kind == "tokens" else jnp.result_type(float))


def _at_least_one(rows: int, length: int) -> None:
    if rows < 1 or length < 1:
        raise ValueError(f"at least one sequence of at least one step is needed, not {rows} of {length}")
