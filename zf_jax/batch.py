"""Plain arrays to a ``Batch``: what is known when a step begins, what the step must predict, and what is padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from zf_jax.context import context_of
from zf_jax.typing import Batch, Observation

LARGEST = float(np.finfo(np.float32).max)  # a number above is not finite as an element of a frame


def batch_of(
    targets: Any,
    lengths: Sequence[int] | np.ndarray | None = None,
    *,
    observation: Observation | None = None,
    observed: Any = None,
    protocol: Literal["full", "srnn"] = "full",
    context: Any = None,
    labels: Any = None,
) -> Batch:
    """Return the batch of some sequences, as numpy arrays.

    Args:
      targets: tokens, integers ``[B, T]``, or frames, real numbers ``[B, T, D]``; or a list of sequences of their own
        lengths, each ``[T_i]`` or ``[T_i, D]``.
      lengths: the number of real steps of each row of an array ``[B]``; all of them by default.
      observation: what an element is; tokens need it, as its size is the token that opens a sequence.  With
        ``missing=True`` a NaN in frames, or a token -1, is an element that was not observed.
      observed: 1 where an element was observed, 0 where it is missing: an array ``[B, T]`` or ``[B, T, D]``, or a list
        as ``targets``.  All that ``targets`` hold by default.
      protocol: ``full`` opens each sequence with a start token or a frame of zeros and scores all elements; ``srnn``
        gives the first frame and scores the others.
      context: what is given beside each element, real numbers ``[B, T, K]``, or a list of ``[T_i, K]``, for an
        ``Observation(..., context=K)``.
      labels: the label of each sequence, integers ``[B]`` in ``0 .. N - 1``, for an ``Observation(..., labels=N)``.

    Raises:
      ValueError: the sentence names the argument, and the sequence by its index.
    """
    if protocol not in ("full", "srnn"):
        raise ValueError(f"protocol must be 'full' or 'srnn', not {protocol!r}")
    if observed is not None:
        if observation is not None and not observation.missing:
            raise ValueError("observed is for data with missing elements: give an Observation(..., missing=True)")
        targets = _marked(targets, observed)
    values, counts = _padded(targets, lengths)
    tokens = np.issubdtype(values.dtype, np.integer)
    if values.ndim != (2 if tokens else 3):
        raise ValueError(
            f"targets must be integers [B, T] or real numbers [B, T, D], not {values.dtype} {list(values.shape)}"
        )
    mask = np.arange(values.shape[1]) < counts[:, None]
    missing = observed is not None or (observation is not None and observation.missing)
    _check_values(values, mask, observation, tokens, missing)
    real, dtype = mask if tokens else mask[..., None], np.int32 if tokens else np.float32
    values = np.where(real, values, 0).astype(dtype)  # small types have no room for the start token
    start = np.zeros_like(values[:, :1])
    if tokens:
        assert observation is not None
        start[:] = observation.start_token
    inputs = np.where(real, np.concatenate([start, values[:, :-1]], axis=1), 0).astype(dtype)
    input_mask = mask & (np.arange(values.shape[1]) > 0)
    beside = None
    if observation is not None:
        beside = context_of(observation, context, labels, counts, mask.shape[1])
    elif context is not None or labels is not None:
        raise ValueError(
            "context and labels need an Observation(..., context=K, labels=N), which says how many there are"
        )
    if protocol == "srnn":
        if tokens:
            raise ValueError("protocol 'srnn' gives a first frame; tokens have a start token: use 'full'")
        if not np.any(counts > 1):
            raise ValueError(
                "protocol 'srnn' scores the frames after the first, and no sequence has any: use 'full', which scores "
                "the first too"
            )
        inputs, values, mask, input_mask = (x[:, 1:] for x in (inputs, values, mask, input_mask))
        counts, beside = np.maximum(counts - 1, 0), None if beside is None else beside[:, 1:]
    mask, input_mask = mask.astype(np.float32), input_mask.astype(np.float32)
    return Batch(inputs, values, mask, input_mask, counts.astype(np.int32), beside)


def as_numbers(values: Any) -> np.ndarray:
    """Return an array; of a floating type smaller than float32, as bfloat16, which is none to numpy, in float32."""
    values = np.asarray(values)
    small = values.dtype.itemsize < 4 and jnp.issubdtype(values.dtype, jnp.floating)
    return values.astype(np.float32) if small else values


def mark_missing(values: np.ndarray, observed: Any, where: str) -> np.ndarray:
    """Return a copy of tokens or frames with -1 or NaN where ``observed`` is 0.

    Args:
      observed: 0 or 1 for each element, or for each frame.
      where: the name of ``observed`` in a sentence.
    """
    observed, tokens = np.asarray(observed), np.issubdtype(values.dtype, np.integer)
    if observed.shape != values.shape and (tokens or observed.shape != values.shape[:-1]):
        raise ValueError(
            f"{where} has the shape {list(observed.shape)}, and must be {list(values.shape)}, as the values"
            + ("" if tokens else f", or {list(values.shape[:-1])}, as their steps")
        )
    if not np.isin(observed, (0, 1)).all():
        raise ValueError(f"{where} must be 1 where an element was observed and 0 where it is missing")
    gone = (observed == 0).reshape(observed.shape + (1,) * (values.ndim - observed.ndim))
    values = values.astype(np.result_type(values, np.int32)) if tokens else values  # which have room for -1
    return np.where(gone, np.asarray(-1 if tokens else np.nan, values.dtype), values)


def _marked(targets: Any, observed: Any) -> Any:
    if not isinstance(targets, (list, tuple)):
        return mark_missing(as_numbers(targets), observed, "observed")
    if len(observed) != len(targets):
        raise ValueError(f"observed holds {len(observed)} sequences, and targets {len(targets)}")
    pairs = zip(targets, observed, strict=True)
    return [mark_missing(as_numbers(row), seen, f"observed[{i}]") for i, (row, seen) in enumerate(pairs)]


def _padded(targets: Any, lengths: Any) -> tuple[np.ndarray, np.ndarray]:
    """The sequences as one array ``[B, T, ...]``, and their lengths ``[B]``."""
    if isinstance(targets, (list, tuple)):
        rows = [as_numbers(row) for row in targets]
        if lengths is not None:
            raise ValueError("lengths belong to one padded array; a list of sequences has its own")
        if not rows:
            raise ValueError("targets must hold at least one sequence")
        for index, row in enumerate(rows):
            if row.ndim != rows[0].ndim or row.shape[1:] != rows[0].shape[1:] or row.dtype.kind != rows[0].dtype.kind:
                raise ValueError(
                    f"targets[{index}] is {row.dtype} {list(row.shape)}, and targets[0] {rows[0].dtype} "
                    f"{list(rows[0].shape)}: all must be of one kind"
                )
        counts = np.array([len(row) for row in rows])
        if not counts.any():
            raise ValueError("targets hold no step, as every sequence is empty: leave empty sequences out")
        values = np.zeros((len(rows), int(counts.max()), *rows[0].shape[1:]), np.result_type(*rows))
        for row, into in zip(rows, values, strict=True):
            into[: len(row)] = row
        return values, counts
    values = as_numbers(targets)
    if values.ndim < 2 or 0 in values.shape[:2]:
        raise ValueError(f"targets must have rows and steps, [B, T, ...], and has the shape {list(values.shape)}")
    counts = np.full(len(values), values.shape[1]) if lengths is None else np.asarray(lengths)
    if counts.shape != (len(values),) or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"lengths must be {len(values)} integers, one a row, not {counts.dtype} {list(counts.shape)}")
    wrong = np.flatnonzero((counts < 0) | (counts > values.shape[1]))
    if wrong.size:
        raise ValueError(f"lengths[{wrong[0]}] is {counts[wrong[0]]}, and the rows have {values.shape[1]} steps")
    return values, counts


def _check_values(
    values: np.ndarray, mask: np.ndarray, observation: Observation | None, tokens: bool, missing: bool
) -> None:
    if tokens:
        if observation is None or observation.kind != "tokens":
            raise ValueError(
                "targets are integers: give the observation, Observation('tokens', size), or real numbers for frames"
            )
        wrong = np.argwhere(mask & ((values < (-1 if missing else 0)) | (values >= observation.size)))
        if wrong.size:
            row, step = wrong[0]
            raise ValueError(
                f"targets[{row}, {step}] is {values[row, step]}, and a token lies in 0 .. {observation.size - 1}"
            )
        return
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"targets must be integers or real numbers, not {values.dtype}")
    if observation is not None and (observation.kind != "frames" or observation.size != values.shape[-1]):
        raise ValueError(f"targets are frames of {values.shape[-1]} numbers, and the observation is {observation}")
    wrong = np.argwhere(mask & ~((np.abs(values) <= LARGEST) | (missing & np.isnan(values))).all(axis=-1))
    if wrong.size:
        row, step = wrong[0]
        marked = np.isnan(values[row, step]).any() and not missing
        remedy = "; if NaN means missing, give an Observation('frames', size, missing=True)" if marked else ""
        raise ValueError(f"targets[{row}, {step}] is not finite in float32: {values[row, step]}{remedy}")
