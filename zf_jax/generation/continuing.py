"""Go on from given beginnings."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zf_jax.bounds.noise import draw_noise, required_key
from zf_jax.checks import check_context, checked, refuse_lengths
from zf_jax.compiled import compiled_once
from zf_jax.density import Density
from zf_jax.emissions import emission_values
from zf_jax.generation.steps import (
    Generated,
    at_least_one,
    checked_options,
    draw_steps,
    of_length,
    read_to_ends,
)
from zf_jax.models.base import Model
from zf_jax.shapes import check_inputs
from zf_jax.typing import Array, ArrayLike, Batch, Params


def _one_length_of_a_density(model: Model | Density, prefix: Batch) -> None:
    """Refuse padding in the prefix of a density, which takes all of the prefix as given."""
    steps = prefix.mask.shape[1]
    if isinstance(model, Density):
        rule = f"a density goes on from all {steps} elements of a row: call it once for each length, without padding"
        refuse_lengths(prefix, lambda lengths: lengths != steps, rule)


@checked_options
@checked("prefix", _one_length_of_a_density)
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
    context: ArrayLike | None = None,
) -> Generated:
    """Go on from a given beginning: the posterior reads the prefix alone, the prior draws the steps after it.

    Each sequence goes on from its own last real step; one of length 0 is drawn from its start.

    Args:
      prefix: sequences of any lengths, ``[B, S]``; of a density, S elements each.
      key: a PRNG key, or one key per sequence, ``[B]``, which makes what is drawn independent of the other sequences;
        not read if ``greedy`` is true.
      length: steps to draw after each prefix.
      temperature, greedy: as for ``sample``, of the steps after the prefix; ``greedy`` reads the posterior's means.
      context: what is given beside each element to be drawn, ``[B, length, C]``, from each prefix's own end on; a model
        that reads one needs it.

    Returns:
      Each prefix and, right after its last real step, its continuation; zeros behind: ``[B, S + length, ...]``.
    """
    check_inputs(model, params, prefix, key)
    rows = prefix.mask.shape[0]
    at_least_one(rows, length)
    check_context(model.observation, context, rows, length)
    if isinstance(model, Density):
        if temperature is not None or greedy:
            raise ValueError("a density draws whole items from a key, without temperature and greedy")
        steps, whole = prefix.mask.shape[1], model.item_length
        if whole not in (None, steps + length):
            name = type(model).__name__
            raise ValueError(
                f"prefix and length must be the {whole} elements of an item of {name}, not {steps} + {length}"
            )
        return of_length(model.sample(params, required_key(key), rows, prefix.targets), steps + length)
    if greedy:
        key_rest, noise = None, jnp.zeros((*prefix.mask.shape, model.latent_dim), jnp.result_type(float))
    else:
        key_prefix, key_rest = _two(required_key(key))
        noise = draw_noise(key_prefix, prefix, model.latent_dim)
    features = model.encode(params, prefix)
    carry, sites = read_to_ends(model, params, features, noise)
    mean = model.emission.mean(
        emission_values(params["emission"], model.emission, model.readout(params, features, sites))
    )
    drawn = draw_steps(model, params, carry, length, key_rest, None, temperature, greedy, context)
    lengths = jnp.sum(features.observed.mask > 0, axis=1)
    targets = jnp.asarray(prefix.targets).astype(drawn.values.dtype)
    pairs = ((targets, drawn.values), (mean, drawn.mean), (sites.latent, drawn.latents))
    return Generated(*(_after(*pair, lengths) for pair in pairs), carry=drawn.carry)


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
