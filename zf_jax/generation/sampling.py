"""Draw sequences from a model, and predict given sequences from their own latents."""

from __future__ import annotations

from zf_jax.bounds.noise import required_key
from zf_jax.checks import check_context, checked
from zf_jax.compiled import compiled_once
from zf_jax.density import Density, needs_steps
from zf_jax.emissions import emission_values, member
from zf_jax.generation.steps import (
    Carry,
    Generated,
    at_least_one,
    checked_options,
    draw_steps,
    first_carry,
    infer,
    of_length,
)
from zf_jax.models.base import Model
from zf_jax.shapes import check_key, check_params, check_prefix, check_shape
from zf_jax.typing import Array, ArrayLike, Batch, Params


@checked_options
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
    context: ArrayLike | None = None,
) -> Generated:
    """Draw ``num_samples`` sequences of ``length`` steps from the model: z from the prior, y from the emission.

    Args:
      key: a PRNG key, or one key per sequence, ``[B]``; not read if ``noise`` is given or ``greedy`` is true.  Of a
        density one key.
      first: a real first input, ``[B]`` or ``[B, D]``, as the ``srnn`` protocol gives it; a start token or a frame of
        zeros by default.
      noise: standard normal ``[B, T, Z]`` for the latents, and ``model.emission.noise`` ``[B, T, ...]``.
      temperature: multiplies the standard deviations of the latents' prior and of real elements, and divides the
        logits of tokens, binary frames and mixture weights; 1 by default.
      greedy: whether nothing is drawn: z is the prior's mean, y the likeliest class or the mean of a frame.
      carry: where earlier sequences ended, to go on from there; ``first`` is then given already.
      context: what is given beside each element to be drawn, ``[B, T, C]``, as ``zf_jax.context_of`` makes it; a model
        that reads one needs it.
    """
    at_least_one(num_samples, length)
    check_params(model, params)
    check_context(model.observation, context, num_samples, length)
    check_key(key, num_samples)
    if isinstance(model, Density):
        if first is not None or noise is not None or carry is not None or temperature is not None or greedy:
            raise ValueError("a density draws whole items, without first, noise, carry, temperature and greedy")
        key = required_key(key)
        if key.ndim:
            raise ValueError("a density draws all items with one key, not with one for each")
        return of_length(model.sample(params, key, num_samples), length)
    if noise is not None:
        check_shape("noise[0]", noise[0], "[B, T, Z]", num_samples, length, model.latent_dim)
        check_prefix("noise[1]", noise[1], "[B, T, ...]", num_samples, length)
    if carry is None:
        carry = first_carry(model, params, num_samples, first)
    elif first is not None or carry.last.shape[0] != num_samples:
        raise ValueError(f"the carry has {carry.last.shape[0]} sequences and their last elements: give no first")
    return draw_steps(model, params, carry, length, key, noise, temperature, greedy, context)


@checked()
@compiled_once("model")
def reconstruct(
    model: Model, params: Params, batch: Batch, key: Array | None = None, *, noise: Array | None = None
) -> Generated:
    """Encode each sequence with the posterior and predict it again, step by step, from its own past and latents.

    ``values`` are point predictions: the mean of frames, the argmax of tokens.
    """
    needs_steps(model, "reconstruct")
    features, sites = infer(model, params, batch, key, noise)[:2]
    values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
    mean = model.emission.mean(values)
    read = member(model.emission, "likeliest")(values) if model.observation.kind == "tokens" else mean
    return Generated(read, mean, sites.latent)
