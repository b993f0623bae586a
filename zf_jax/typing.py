"""The axis legend and the records that pass between rooms.

Axes, always in this order where several appear:

    K  importance samples or particles      T  time steps          H  recurrent state
    B  sequences of a batch                 D  dimensions a frame  Z  latent dimensions

Public arrays are batch-first, ``[B, T, ...]``.  Log-probabilities, bounds and divergences are in nats.
"""

from __future__ import annotations

import dataclasses
from numbers import Integral
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.plain import make_plain

Array = jax.Array
ArrayLike = Any  # a jax or a numpy array; a Union would force isinstance checks on callers
Params = dict[str, Any]
DataProtocol = Literal["full", "srnn"]  # all elements are scored, or all but the first frame, which is given


@dataclasses.dataclass(frozen=True)
class Observation:
    """What one element of a sequence is.

    Attributes:
      kind: ``"tokens"``, integers ``[B, T]`` in ``0 .. size - 1``, or ``"frames"``, vectors ``[B, T, size]``.
      size: the number of classes of a token, or the dimension D of a frame.
      missing: whether elements may be missing: NaN in frames, -1 in tokens.  A model then reads, beside each frame,
        which dimensions were observed, or has a token of its own for a missing one; and scores what was observed.
      context: K, how many numbers are given beside each element: controls, covariates, time gaps.
      labels: how many classes the label of a sequence has; 0 where sequences have no label.
    """

    kind: Literal["tokens", "frames"]
    size: int
    missing: bool = False
    context: int = 0
    labels: int = 0

    def __post_init__(self):
        make_plain(self)
        if self.kind not in ("tokens", "frames"):
            raise ValueError(f"an observation is 'tokens' or 'frames', not {self.kind!r}")
        for name in ("size", "context", "labels"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise ValueError(f"the {name} of an observation must be a whole number, not {value!r}")
        if self.size < 1:
            raise ValueError(f"an observation needs a size of at least 1, not {self.size}")
        for name in ("context", "labels"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"the {name} of an observation must be a number of at least 0, not {getattr(self, name)}"
                )

    @property
    def start_token(self) -> int:
        """The token that opens a sequence: it is embedded like the others and never predicted."""
        return self.size

    @property
    def context_size(self) -> int:
        """The numbers that a model reads beside each element: the context, and the label as one number a class."""
        return self.context + self.labels


class Batch(NamedTuple):
    """Sequences side by side: ``inputs`` is what is known when step t begins, ``targets`` what it must predict.

    Attributes:
      inputs: u, ``[B, T]`` int32 tokens (``Observation.start_token`` opens the sequence) or ``[B, T, D]`` frames;
        NaN or -1 where missing, if the observation allows that.
      targets: y, ``[B, T]`` int32 tokens or ``[B, T, D]`` frames; NaN or -1 where missing.
      mask: ``[B, T]``, 1 on real steps, also those that are missing, and 0 on padding, which is only ever at the end.
      input_mask: ``[B, T]``, 1 where the input is data: 0 on a start token and on padding (rule A6).
      lengths: ``[B]`` int32, the number of real steps; 0 marks a row that only fills up the batch.
      context: c, ``[B, T, C]``, given beside each element: c_t belongs to y_t, and is known before y_t is predicted.
        C is ``Observation.context_size``; None where that is 0.
    """

    inputs: ArrayLike
    targets: ArrayLike
    mask: ArrayLike
    input_mask: ArrayLike
    lengths: ArrayLike
    context: ArrayLike = None


class StepTerms(NamedTuple):
    """What every step adds to the objective and to the bounds; each ``[B, T]``, in nats, 0 on padding.

    Attributes:
      emission_log_prob: log p(y_t | past, z_{1:t}).
      kl: KL( q(z_t | .) || p(z_t | .) ) in closed form, summed over latent dimensions.
      prior_log_prob: log p(z_t | past) of the drawn z.
      posterior_log_prob: log q(z_t | x) of the drawn z; of the proposal, where z came from the prior.
      aux_log_prob: log p(sg(b_t) | z_t), eq. (8).
      reverse_log_prob: log p(u_t | b_t), eq. (10), 0 where the input is not data.
    """

    emission_log_prob: Array
    kl: Array
    prior_log_prob: Array
    posterior_log_prob: Array
    aux_log_prob: Array
    reverse_log_prob: Array


def is_observed(x: ArrayLike) -> Any:
    """Return which elements of tokens or frames are not missing, of a numpy or a jax array: the shape of ``x``."""
    return x >= 0 if jnp.issubdtype(x.dtype, jnp.integer) else x == x


def without_missing(x: Array) -> Array:
    """Return tokens or frames with 0 where they are missing."""
    return jnp.where(is_observed(x), x, jnp.zeros_like(x))


def clean(batch: Batch) -> Batch:
    """Return the batch with zeros behind the mask, so that garbage there, NaN included, cannot reach anything."""
    real = batch.mask > 0

    def safe(x, keep):
        x = jnp.asarray(x)
        return jnp.where(keep.reshape(keep.shape + (1,) * (x.ndim - keep.ndim)), x, jnp.zeros_like(x))

    return batch._replace(
        inputs=safe(batch.inputs, real),
        targets=safe(batch.targets, real),
        mask=real.astype(batch.mask.dtype),
        input_mask=safe(batch.input_mask, real),
        context=None if batch.context is None else safe(batch.context, real),
    )
