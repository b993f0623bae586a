"""Sequences out of a model: ancestral samples, reconstructions, continuations, interpolations."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from zf_jax.bounds.noise import draw_noise, required_key
from zf_jax.checks import check_first, checked
from zf_jax.compiled import compiled_once
from zf_jax.density import Density, needs_steps
from zf_jax.emissions import emission_values, member
from zf_jax.models.base import Features, Model, Sites, unroll
from zf_jax.nn.recurrence import scan_time
from zf_jax.shapes import check_inputs, check_key, check_params, check_prefix, check_shape
from zf_jax.typing import Array, Batch, Params

P = ParamSpec("P")
R = TypeVar("R")


class Carry(NamedTuple):
    """All that the steps after a sequence depend on, a row for each sequence; made by ``sample``, ``continue_prefix``.

    Attributes:
      state: the model's recurrent state.
      memory: the memory of the model's ``observe``.
      last: the last element, which is the next input: ``[B]`` or ``[B, D]``.
      is_data: ``[B]``, 0 where ``last`` is a start token.
    """

    state: Any
    memory: Any
    last: Array
    is_data: Array


class Generated(NamedTuple):
    """Sequences drawn from a model.

    Attributes:
      values: ``[B, T]`` int32 tokens or ``[B, T, D]`` frames.
      mean: E[y_t] given the past as drawn: probabilities of a one ``[B, T]``, of classes ``[B, T, C]``, or frames; of
        the model itself, at any temperature.
      latents: z, ``[B, T, Z]``.
      carry: what ``sample`` needs to go on; None where nothing was generated.
    """

    values: Array
    mean: Array
    latents: Array
    carry: Any = None


def _checked_options(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse a temperature that is none and a first input that is no element, before they are traced."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        check_first(args[0] if args else kwargs["model"], kwargs.get("first"))
        temperature = kwargs.get("temperature")
        if isinstance(temperature, (int, float)) and not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be above 0 and finite, not {temperature}; greedy=True draws nothing")
        if temperature is not None and kwargs.get("greedy"):
            raise ValueError("greedy draws nothing, so that there is no temperature: give one of the two")
        return function(*args, **kwargs)

    return call


@_checked_options
@compiled_once("model", "num_samples", "length", "greedy")
def sample(
    model: Model | Density,
    params: Params,
    key: Array | None = None,
    *,
    num_samples: int,
    length: int,
    first: Array | None = None,
    noise: tuple[Array, Array] | None = None,
    temperature: Array | float | None = None,
    greedy: bool = False,
    carry: Carry | None = None,
) -> Generated:
    """Draw ``num_samples`` sequences of ``length`` steps from the model: z from the prior, y from the emission.

    Args:
      key: a PRNG key, or one key per sequence, ``[B]``; not read if ``noise`` is given or ``greedy`` is true.
      first: a real first input, ``[B]`` or ``[B, D]``, as the ``srnn`` protocol gives it; a start token or a frame of
        zeros by default.
      noise: standard normal ``[B, T, Z]`` for the latents, and ``model.emission.noise`` ``[B, T, ...]``.
      temperature: multiplies the standard deviations of the latents' prior and of real elements, and divides the
        logits of tokens, binary frames and mixture weights; 1 by default.
      greedy: whether nothing is drawn: z is the prior's mean, y the likeliest class or the mean of a frame.
      carry: where earlier sequences ended, to go on from there; ``first`` is then given already.
    """
    _at_least_one(num_samples, length)
    check_params(model, params)
    check_key(key, num_samples)
    if isinstance(model, Density):
        if first is not None or noise is not None or carry is not None or temperature is not None or greedy:
            raise ValueError("a density draws whole items, without first, noise, carry, temperature and greedy")
        return _of_length(model.sample(params, required_key(key), num_samples), length)
    if noise is not None:
        check_shape("noise[0]", noise[0], "[B, T, Z]", num_samples, length, model.latent_dim)
        check_prefix("noise[1]", noise[1], "[B, T, ...]", num_samples, length)
    if carry is None:
        carry = _start(model, params, num_samples, first)
    elif first is not None or carry.last.shape[0] != num_samples:
        raise ValueError(f"the carry has {carry.last.shape[0]} sequences and their last elements: give no first")
    return _generate(model, params, carry, length, key, noise, temperature, greedy)


@checked()
@compiled_once("model")
def reconstruct(
    model: Model, params: Params, batch: Batch, key: Array | None = None, *, noise: Array | None = None
) -> Generated:
    """Encode each sequence with the posterior and predict it again, step by step, from its own past and latents.

    ``values`` are point predictions: the mean of frames, the argmax of tokens.
    """
    needs_steps(model, "reconstruct")
    features, sites = _infer(model, params, batch, key, noise)[:2]
    values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
    mean = model.emission.mean(values)
    read = member(model.emission, "likeliest")(values) if model.observation.kind == "tokens" else mean
    return Generated(read, mean, sites.latent)


@_checked_options
@checked("prefix")
@compiled_once("model", "length", "greedy")
def continue_prefix(
    model: Model | Density,
    params: Params,
    prefix: Batch,
    key: Array | None = None,
    *,
    length: int,
    temperature: Array | float | None = None,
    greedy: bool = False,
) -> Generated:
    """Go on from a given beginning: the posterior reads the prefix alone, the prior draws the steps after it.

    Each sequence goes on from its own last real step; one of length 0 is drawn from its start.

    Args:
      prefix: sequences of any lengths, ``[B, S]``.
      key: a PRNG key, or one key per sequence, ``[B]``, which makes what is drawn independent of the other sequences;
        not read if ``greedy`` is true.
      length: steps to draw after each prefix.
      temperature, greedy: as for ``sample``, of the steps after the prefix; ``greedy`` reads the posterior's means.

    Returns:
      Each prefix and, right after its last real step, its continuation; zeros behind: ``[B, S + length, ...]``.
    """
    check_inputs(model, params, prefix, key)
    rows = prefix.mask.shape[0]
    _at_least_one(rows, length)
    if isinstance(model, Density):
        if temperature is not None or greedy:
            raise ValueError("a density draws whole items from a key, without temperature and greedy")
        drawn = model.sample(params, required_key(key), rows, prefix.targets)
        return _of_length(drawn, prefix.mask.shape[1] + length)
    if greedy:
        key_rest, noise = None, jnp.zeros((*prefix.mask.shape, model.latent_dim), jnp.result_type(float))
    else:
        key_prefix, key_rest = _two(required_key(key))
        noise = draw_noise(key_prefix, prefix, model.latent_dim)
    features = model.encode(params, prefix)
    carry, sites = _read(model, params, features, noise)
    mean = model.emission.mean(
        emission_values(params["emission"], model.emission, model.readout(params, features, sites))
    )
    drawn = _generate(model, params, carry, length, key_rest, None, temperature, greedy)
    lengths = jnp.sum(features.observed.mask > 0, axis=1)
    targets = jnp.asarray(prefix.targets).astype(drawn.values.dtype)
    pairs = ((targets, drawn.values), (mean, drawn.mean), (sites.latent, drawn.latents))
    return Generated(*(_after(*pair, lengths) for pair in pairs), carry=drawn.carry)


@_checked_options
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
    noise = jnp.zeros((*jnp.shape(ends.mask), model.latent_dim), jnp.result_type(float))
    latents = _infer(model, params, ends, None, noise)[1].latent
    weights = jnp.asarray(weights, jnp.result_type(float))
    check_shape("ends.mask", ends.mask, "[2, T]", 2, None)
    check_shape("weights", weights, "[N]", None)
    if first is not None:
        element = _first_input(model, 1).shape[1:]
        check_shape("first", _as_drawn(model, first), "[D]" if element else "[]", *element)
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
        noise = None if key is None else model.emission.noise(key_t, (rows,))
        drawn = _as_drawn(model, _element(model, values, noise, None, greedy=key is None))
        return (carry, memory, drawn, jnp.ones_like(is_data)), Generated(drawn, mean, sites.latent)

    steps = ends.mask.shape[1]
    keys = jax.random.split(jax.random.key(0) if key is None else key, steps)
    xs = (jnp.swapaxes(latents, 0, 1), jnp.swapaxes(jnp.asarray(ends.mask), 0, 1), keys)
    initial = (model.initial_carry(params, like), model.initial_memory(params, like), inputs, is_data)
    _, decoded = jax.lax.scan(step, initial, xs)
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), decoded)


def _element(model: Model, values: Any, noise: Any, temperature: Array | float | None, greedy: bool) -> Array:
    """Draw one element from the emission's parameters ``values``, or choose the likeliest."""
    if greedy:
        return member(model.emission, "likeliest")(values)
    if temperature is not None:
        values, noise = member(model.emission, "tempered")(values, noise, temperature)
    return model.emission.sample(values, noise)


def _infer(
    model: Model, params: Params, batch: Batch, key: Array | None, noise: Array | None
) -> tuple[Features, Sites, Any]:
    check_inputs(model, params, batch, key)
    if noise is None:
        noise = draw_noise(required_key(key), batch, model.latent_dim)
    features = model.encode(params, batch)
    carry, sites = unroll(model, params, features, noise)
    return features, sites, carry


def _start(model: Model, params: Params, rows: int, first: Array | None) -> Carry:
    """Return the carry before the first step of ``rows`` sequences."""
    is_data = jnp.full(rows, 0.0 if first is None else 1.0)
    last = _first_input(model, rows) if first is None else _as_drawn(model, first)
    shape = _first_input(model, rows).shape
    check_shape("first", last, "[B]" if len(shape) == 1 else "[B, D]", *shape)
    like = jnp.zeros((rows, 1), jnp.result_type(float))
    return Carry(model.initial_carry(params, like), model.initial_memory(params, like), last, is_data)


def _read(model: Model, params: Params, features: Features, noise: Array) -> tuple[Carry, Sites]:
    """Run over sequences of any lengths, and return where each ends, and the sites of every step."""
    seen, mask = features.observed, features.observed.mask
    start = _start(model, params, mask.shape[0], None)

    def held(real, new, old):
        """Return ``new`` in the rows whose step is real, so that a row keeps the state of its last step."""
        return jax.tree.map(lambda n, o: jnp.where(real.reshape(-1, *(1,) * (n.ndim - 1)) > 0, n, o), new, old)

    def step(carry, xs):
        features_t, noise_t, inputs, is_data, targets, real = xs
        state, sites = model.step(params, carry.state, features_t, noise_t)
        memory = model.observe(params, carry.memory, inputs, is_data)[0]
        new = Carry(state, memory, _as_drawn(model, targets), jnp.ones_like(carry.is_data))
        return held(real, new, carry), sites

    sequential = Features(observed=None, inputs=features.inputs, posterior=features.posterior, extra=None)
    return scan_time(step, start, (sequential, noise, seen.inputs, seen.input_mask, seen.targets, mask))


def _generate(model, params, carry: Carry, length, key, noise, temperature, greedy) -> Generated:
    """Draw ``length`` steps after ``carry``, each element being the next input."""
    rows = carry.last.shape[0]

    def draw(key, shape):
        key_latent, key_emission = jax.random.split(key)
        latent_noise = jax.random.normal(key_latent, (*shape, model.latent_dim), jnp.result_type(float))
        return latent_noise, model.emission.noise(key_emission, shape)

    def noise_of(xs):
        if greedy:
            return jnp.zeros((rows, model.latent_dim), jnp.result_type(float)), None
        if noise is not None:
            return xs
        return jax.vmap(lambda key: draw(key, ()))(xs) if xs.ndim else draw(xs, (rows,))

    def step(carry, xs):
        latent_noise, emission_noise = noise_of(xs)
        if temperature is not None:
            latent_noise = latent_noise * temperature
        memory, features = model.observe(params, carry.memory, carry.last, carry.is_data)
        state, sites = model.step(params, carry.state, features, latent_noise)
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        drawn = _element(model, values, emission_noise, temperature, greedy)
        carry = Carry(state, memory, drawn.astype(carry.last.dtype), jnp.ones_like(carry.is_data))
        return carry, Generated(drawn, model.emission.mean(values), sites.latent)

    xs = None
    if not greedy and noise is not None:
        xs = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), noise)
    elif not greedy:
        # One key a step rather than all the noise at once: a large vocabulary's would not fit in memory.
        key = required_key(key)
        split = lambda key: jax.random.split(key, length)  # noqa: E731
        xs = jnp.swapaxes(jax.vmap(split)(key), 0, 1) if key.ndim else split(key)
    carry, drawn = jax.lax.scan(step, carry, xs, length=length)
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), drawn)._replace(carry=carry)


def _two(key: Array) -> tuple[Array, Array]:
    """Split a key, or each of a key per sequence, ``[B]``."""
    pair = jax.vmap(jax.random.split)(key) if key.ndim else jax.random.split(key)
    return pair[..., 0], pair[..., 1]


def _after(prefix: Array, drawn: Array, lengths: Array) -> Array:
    """Return the first ``lengths`` ``[B]`` steps of ``prefix``, those of ``drawn``, and zeros: ``[B, S + L, ...]``."""
    places = jnp.arange(prefix.shape[1] + drawn.shape[1])[None, :]
    behind = places - lengths[:, None]

    def picked(x, index):
        index = jnp.clip(index, 0, x.shape[1] - 1).reshape(*index.shape, *(1,) * (x.ndim - 2))
        return jnp.take_along_axis(x, index, axis=1)

    def spread(where):
        return where.reshape(*where.shape, *(1,) * (prefix.ndim - 2))

    drawn = jnp.where(spread(behind < drawn.shape[1]), picked(drawn, behind), jnp.zeros((), drawn.dtype))
    return jnp.where(spread(behind < 0), picked(prefix, jnp.broadcast_to(places, behind.shape)), drawn)


def _first_input(model: Model, rows: int) -> Array:
    observation = model.observation
    if observation.kind == "tokens":
        return jnp.full((rows,), observation.start_token, jnp.int32)
    return jnp.zeros((rows, observation.size), jnp.result_type(float))


def _as_drawn(model: Model, inputs: Array) -> Array:
    """Inputs in the type in which the emission draws them, so that either can be the next step's."""
    return jnp.asarray(inputs, jnp.int32 if model.observation.kind == "tokens" else jnp.result_type(float))


def _of_length(drawn: Generated, length: int) -> Generated:
    if drawn.values.shape[1] != length:
        raise ValueError(f"an item of this density has {drawn.values.shape[1]} elements, not {length}")
    return drawn


def _at_least_one(rows: int, length: int) -> None:
    if rows < 1 or length < 1:
        raise ValueError(f"at least one sequence of at least one step is needed, not {rows} of {length}")
