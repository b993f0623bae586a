"""What all kinds of generation share: draw an element, draw steps, read sequences to their ends."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from zf_jax.bounds.noise import draw_noise, required_key
from zf_jax.checks import check_finite, check_first
from zf_jax.emissions import emission_values, member
from zf_jax.models.base import Features, Model, Sites, given, unroll
from zf_jax.nn.recurrence import scan_time
from zf_jax.shapes import check_inputs, check_shape
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
        the model itself, at any temperature.  Of an output that is autoregressive within a frame, the mean of each
        dimension given the means of those before, which is near E[y_t] and not equal to it.
      latents: z, ``[B, T, Z]``.
      carry: what ``sample`` needs to go on; None where nothing was generated.
    """

    values: Array
    mean: Array
    latents: Array
    carry: Any = None


def checked_options(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse a temperature, a first input and a context that are none, before they are traced."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        check_first(args[0] if args else kwargs["model"], kwargs.get("first"))
        check_finite("context", kwargs.get("context"))
        temperature: Any = kwargs.get("temperature")
        known = temperature is not None and not isinstance(temperature, Tracer)
        numbers = np.asarray(temperature if known else 1.0)
        if not np.all((numbers > 0) & np.isfinite(numbers)):
            raise ValueError(f"temperature must be above 0 and finite, not {temperature}; greedy=True draws nothing")
        if temperature is not None and kwargs.get("greedy"):
            raise ValueError("greedy draws nothing, so that there is no temperature: give one of the two")
        return function(*args, **kwargs)

    return call


def infer(
    model: Model, params: Params, batch: Batch, key: Array | None, noise: Array | None
) -> tuple[Features, Sites, Any]:
    check_inputs(model, params, batch, key)
    if noise is None:
        noise = draw_noise(required_key(key), batch, model.latent_dim)
    features = model.encode(params, batch)
    carry, sites = unroll(model, params, features, noise)
    return features, sites, carry


def first_carry(model: Model, params: Params, rows: int, first: Array | None) -> Carry:
    """Return the carry before the first step of ``rows`` sequences."""
    is_data = jnp.full(rows, 0.0 if first is None else 1.0)
    last = first_input(model, rows) if first is None else as_drawn(model, first)
    shape = first_input(model, rows).shape
    check_shape("first", last, "[B]" if len(shape) == 1 else "[B, D]", *shape)
    like = jnp.zeros((rows, 1), jnp.result_type(float))
    return Carry(model.initial_carry(params, like), model.initial_memory(params, like), last, is_data)


def read_to_ends(model: Model, params: Params, features: Features, noise: Array) -> tuple[Carry, Sites]:
    """Run over sequences of any lengths, and return where each ends, and the sites of every step."""
    seen = features.observed
    start = first_carry(model, params, seen.mask.shape[0], None)

    def held(real, new, old):
        """Return ``new`` in the rows whose step is real, so that a row keeps the state of its last step."""
        return jax.tree.map(lambda n, o: jnp.where(real.reshape(-1, *(1,) * (n.ndim - 1)) > 0, n, o), new, old)

    def step(carry, xs):
        features_t, noise_t, seen_t = xs
        inputs, targets, real, is_data, context = seen_t
        state, sites = model.step(params, carry.state, features_t, noise_t)
        memory = model.observe(params, carry.memory, inputs, is_data, *given(context))[0]
        new = Carry(state, memory, as_drawn(model, targets), jnp.ones_like(carry.is_data))
        return held(real, new, carry), sites

    sequential = Features(observed=None, inputs=features.inputs, posterior=features.posterior, extra=None)
    return scan_time(step, start, (sequential, noise, seen))


def draw_steps(model, params, carry: Carry, length, key, noise, temperature, greedy, context=None) -> Generated:
    """Draw ``length`` steps after ``carry``, each element being the next input; ``context`` is that of these steps."""
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
        xs, context_t = xs
        latent_noise, emission_noise = noise_of(xs)
        if temperature is not None:
            latent_noise = latent_noise * temperature
        memory, features = model.observe(params, carry.memory, carry.last, carry.is_data, *given(context_t))
        state, sites = model.step(params, carry.state, features, latent_noise)
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        drawn = draw_element(model, values, emission_noise, temperature, greedy)
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
    by_step = None if context is None else jnp.swapaxes(jnp.asarray(context), 0, 1)
    carry, drawn = jax.lax.scan(step, carry, (xs, by_step), length=length)
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), drawn)._replace(carry=carry)


def draw_element(model: Model, values: Any, noise: Any, temperature: Array | float | None, greedy: bool) -> Array:
    """Draw one element from the emission's parameters ``values``, or choose the likeliest."""
    if greedy:
        return member(model.emission, "likeliest")(values)
    if temperature is not None:
        values, noise = member(model.emission, "tempered")(values, noise, temperature)
    return model.emission.sample(values, noise)


def first_input(model: Model, rows: int) -> Array:
    observation = model.observation
    if observation.kind == "tokens":
        return jnp.full((rows,), observation.start_token, jnp.int32)
    return jnp.zeros((rows, observation.size), jnp.result_type(float))


def as_drawn(model: Model, inputs: Array) -> Array:
    """Inputs in the type in which the emission draws them, so that either can be the next step's."""
    return jnp.asarray(inputs, jnp.int32 if model.observation.kind == "tokens" else jnp.result_type(float))


def of_length(drawn: Generated, length: int) -> Generated:
    if drawn.values.shape[1] != length:
        raise ValueError(f"an item of this density has {drawn.values.shape[1]} elements, not {length}")
    return drawn


def at_least_one(rows: int, length: int) -> None:
    if rows < 1 or length < 1:
        raise ValueError(f"at least one sequence of at least one step is needed, not {rows} of {length}")
