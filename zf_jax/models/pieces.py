"""Encode and score long sequences piece by piece, so that what is held of every step is held of one piece alone.

Between the pieces pass the carry of the step and the states of the recurrences of ``encode``.  A backward recurrence
runs twice: once to find its state behind each piece, and again with the piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zf_jax.models.base import Ends, Features, Model, Wrapped
from zf_jax.typing import Array, Batch, Params

LONGEST = 1024  # steps of the longest sequence that is computed whole
PIECE = 256  # steps of a piece of a longer one


class Steps(NamedTuple):
    """A piece of the steps of a batch.

    Attributes:
      starts: the first step of every piece, ``[N]``.
      piece: which of them it is; may be traced.
      length: how many steps it has.
    """

    starts: np.ndarray
    piece: Array | int
    length: int

    def of(self, x: Array, axis: int = 1) -> Array:
        """Return these steps of ``x``, ``[B, T, ...]`` if the axis is 1."""
        if x.shape[axis] == self.length:
            return x
        return jax.lax.dynamic_slice_in_dim(x, jnp.asarray(self.starts, jnp.int32)[self.piece], self.length, axis)


def can_be_cut(model: Any) -> bool:
    """Whether pieces of a sequence may be encoded one after another.

    The class that states ``initial_ends`` vouches for its own methods and those that it inherits.  One that overrides
    ``encode``, ``encode_piece`` or ``posterior`` further down may read steps outside the piece.
    """
    methods = ("encode", "encode_piece", "posterior")
    if isinstance(model, Wrapped):
        return not any(hasattr(type(model), name) for name in (*methods, "initial_ends")) and can_be_cut(model.model)
    classes = type(model).__mro__
    level = {name: next(i for i, c in enumerate(classes) if name in vars(c)) for name in (*methods, "initial_ends")}
    return all(level[name] >= level["initial_ends"] for name in methods)


def starts_of(length: int, model: Any) -> np.ndarray:
    """Return the first step of each piece of a sequence of ``length`` steps: ``[N]``; 0 alone where it stays whole."""
    return np.arange(0, length, PIECE if length > LONGEST and can_be_cut(model) else max(length, 1))


def over_pieces(
    model: Model,
    params: Params,
    batch: Batch,
    function: Callable[[Any, Features, Steps], tuple[Any, Any]],
    state: Any,
) -> tuple[Any, Any]:
    """Call ``function(state, features, steps) -> (state, outputs)`` with one piece of the steps after another.

    The first call gets ``state``, each other the state that the call before returned.  Sequences of up to ``LONGEST``
    steps are one piece, and so are those of a model that cannot be cut.

    Returns:
      The last state, and the outputs of all pieces, joined along axis 1: ``[B, length, ...]`` to ``[B, T, ...]``.
    """
    length = batch.mask.shape[1]
    starts = starts_of(length, model)
    ends = model.initial_ends(params, batch.mask) if len(starts) > 1 else None
    if ends is None:
        return function(state, model.encode(params, batch), Steps(starts, 0, length))
    # All pieces but the last, which may be shorter, run in one loop.
    last = Steps(starts, len(starts) - 1, length - int(starts[-1]))
    pieces = jnp.arange(len(starts) - 1, dtype=jnp.int32)
    timed = batch._replace(lengths=None)

    def encoded(steps: Steps, before: Any, after: Any) -> tuple[Features, Ends]:
        return model.encode_piece(params, jax.tree.map(steps.of, timed), Ends(before, after))

    # A gradient keeps what passes between pieces, and computes the pieces again.
    @jax.checkpoint
    def forward(before, piece):
        return encoded(Steps(starts, piece, PIECE), before, ends.after)[1].before, before

    @jax.checkpoint
    def backward(after, xs):
        piece, before = xs
        return encoded(Steps(starts, piece, PIECE), before, after)[1].after, after

    @jax.checkpoint
    def main(carry, xs):
        (state, before), (piece, after) = carry, xs
        steps = Steps(starts, piece, PIECE)
        features, far = encoded(steps, before, after)
        state, outputs = function(state, features, steps)
        return (state, far.before), outputs

    afters = ends.after
    if jax.tree.leaves(ends.after):
        before, befores = ends.before, ends.before
        if jax.tree.leaves(ends.before):  # what runs backward may read the states of what runs forward
            before, befores = jax.lax.scan(forward, ends.before, pieces)
        after = encoded(last, before, ends.after)[1].after
        _, afters = jax.lax.scan(backward, after, (pieces, befores), reverse=True)
    (state, before), outputs = jax.lax.scan(main, (state, ends.before), (pieces, afters))
    state, rest = function(state, encoded(last, before, ends.after)[0], last)

    def joined(pieces, rest):
        """Join ``[N - 1, B, length, ...]`` and ``[B, rest, ...]``."""
        cut = jnp.moveaxis(pieces, 0, 1)
        return jnp.concatenate([cut.reshape(cut.shape[0], -1, *cut.shape[3:]), rest], axis=1)

    return state, jax.tree.map(joined, outputs, rest)
