"""Plain arrays to a ``Batch``: what is known when a step begins, what the step must predict, and what is padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from zf_jax.typing import Batch, Observation


def batch_of(
    targets: Any,
    lengths: Sequence[int] | np.ndarray | None = None,
    *,
    observation: Observation | None = None,
    protocol: Literal["full", "srnn"] = "full",
) -> Batch:
    """Return the batch of some sequences, as numpy arrays.

    Args:
      targets: tokens, integers ``[B, T]``, or frames, real numbers ``[B, T, D]``; or a list of sequences of their own
        lengths, each ``[T_i]`` or ``[T_i, D]``.
      lengths: the number of real steps of each row of an array ``[B]``; all of them by default.
      observation: what an element is; tokens need it, as its size is the token that opens a sequence.
      protocol: ``full`` opens each sequence with a start token or a frame of zeros and scores all elements; ``srnn``
        gives the first frame and scores the others.

    Raises:
      ValueError: the sentence names the argument, and the sequence by its index.
    """
    if protocol not in ("full", "srnn"):
        raise ValueError(f"protocol must be 'full' or 'srnn', not {protocol!r}")
    values, counts = _padded(targets, lengths)
    tokens = np.issubdtype(values.dtype, np.integer)
    if values.ndim != (2 if tokens else 3):
        raise ValueError(
            f"targets must be integers [B, T] or real numbers [B, T, D], not {values.dtype} {list(values.shape)}"
        )
    mask = np.arange(values.shape[1]) < counts[:, None]
    _check_values(values, mask, observation, tokens)
    start = np.zeros_like(values[:, :1])
    if tokens:
        assert observation is not None
        start[:] = observation.start_token
    real, dtype = mask if tokens else mask[..., None], np.int32 if tokens else np.float32
    inputs = np.concatenate([start, values[:, :-1]], axis=1)
    inputs, values = (np.where(real, x, 0).astype(dtype) for x in (inputs, values))
    input_mask = mask & (np.arange(values.shape[1]) > 0)
    if protocol == "srnn":
        if tokens:
            raise ValueError("protocol 'srnn' gives a first frame; tokens have a start token: use 'full'")
        inputs, values, mask, input_mask = (x[:, 1:] for x in (inputs, values, mask, input_mask))
        counts = np.maximum(counts - 1, 0)
    return Batch(inputs, values, mask.astype(np.float32), input_mask.astype(np.float32), counts.astype(np.int32))


def _padded(targets: Any, lengths: Any) -> tuple[np.ndarray, np.ndarray]:
    """The sequences as one array ``[B, T, ...]``, and their lengths ``[B]``."""
    if isinstance(targets, (list, tuple)):
        rows = [np.asarray(row) for row in targets]
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
        values = np.zeros((len(rows), int(counts.max()), *rows[0].shape[1:]), np.result_type(*rows))
        for row, into in zip(rows, values, strict=True):
            into[: len(row)] = row
        return values, counts
    values = np.asarray(targets)
    if values.ndim < 2 or 0 in values.shape[:2]:
        raise ValueError(f"targets must have rows and steps, [B, T, ...], and has the shape {list(values.shape)}")
    counts = np.full(len(values), values.shape[1]) if lengths is None else np.asarray(lengths)
    if counts.shape != (len(values),) or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"lengths must be {len(values)} integers, one a row, not {counts.dtype} {list(counts.shape)}")
    wrong = np.flatnonzero((counts < 0) | (counts > values.shape[1]))
    if wrong.size:
        raise ValueError(f"lengths[{wrong[0]}] is {counts[wrong[0]]}, and the rows have {values.shape[1]} steps")
    return values, counts


def _check_values(values: np.ndarray, mask: np.ndarray, observation: Observation | None, tokens: bool) -> None:
    if tokens:
        if observation is None or observation.kind != "tokens":
            raise ValueError(
                "targets are integers: give the observation, Observation('tokens', size), or real numbers for frames"
            )
        wrong = np.argwhere(mask & ((values < 0) | (values >= observation.size)))
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
    wrong = np.argwhere(mask & ~np.isfinite(values).all(axis=-1))
    if wrong.size:
        row, step = wrong[0]
        raise ValueError(f"targets[{row}, {step}] is not finite: {values[row, step]}")
