"""An exponential moving average of the parameters, kept in the optimiser's state."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from zf_jax.typing import Array, Params


class Averaged(NamedTuple):
    """The state of an optimiser that averages.

    Attributes:
      taken: updates taken, int32.
      average: of the parameters, in float32 at least.
      inner: the state of the optimiser itself.
    """

    taken: Array
    average: Params
    inner: Any


def with_average(optimizer: optax.GradientTransformation, decay: float) -> optax.GradientTransformationExtraArgs:
    """Return ``optimizer``, which then also averages the parameters after each update.

    The parameters after the last update but n weigh decay^n, and the weights sum to 1: those before the first update
    are not among them.

    Raises:
      ValueError: ``decay`` does not lie between 0 and 1.
    """
    if not 0.0 < decay < 1.0:
        raise ValueError(f"the decay of an average must lie between 0 and 1, and is {decay}")
    inner = optax.with_extra_args_support(optimizer)

    def init(params):
        average = jax.tree.map(lambda x: jnp.array(x, jnp.promote_types(x.dtype, jnp.float32)), params)  # a copy
        return Averaged(jnp.zeros((), jnp.int32), average, inner.init(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any):
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        taken = state.taken + 1
        # decay (1 - decay^(t-1)) / (1 - decay^t): 0 at the first update, and decay in the end.
        rate = math.log(decay) * taken
        keep = decay * jnp.expm1(rate - math.log(decay)) / jnp.expm1(rate)
        after = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda a, x: a + (1.0 - keep).astype(a.dtype) * (x - a), state.average, after)
        return updates, Averaged(taken, average, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def averaged_params(params: Params, opt_state: Any) -> Params:
    """Return the average that the optimiser keeps, of the parameters' types; ``params`` if it keeps none."""
    for leaf in jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, Averaged)):
        if isinstance(leaf, Averaged):
            return jax.tree.map(lambda a, x: a.astype(x.dtype), leaf.average, params)
    return params
