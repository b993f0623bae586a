"""Join what is given beside the elements of a sequence: numbers at each step, and one label for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from zf_jax.typing import Observation


def context_of(
    observation: Observation,
    context: Any = None,
    labels: Any = None,
    lengths: Any = None,
    num_steps: int | None = None,
) -> np.ndarray | None:
    """Return what a model reads beside the elements, ``[B, T, C]`` float32, 0 on padding; None where it reads nothing.

    Behind the K numbers of a step stand those of the sequence's label, one a class: 1 for the label, 0 for the others.

    Args:
      observation: says how many numbers and classes there are.
      context: real numbers ``[B, T, K]``, or a list of ``[T_i, K]``; None where K is 0.
      labels: integers ``[B]``; None where there are no labels.
      lengths: the number of real steps of each sequence ``[B]``; all by default.
      num_steps: T; by default that of the array, or else of the longest sequence.

    Raises:
      ValueError: context or labels are missing, not asked for, of another shape, not finite, or out of range.
    """
    check_given(observation, context, labels)
    if not observation.context_size:
        return None
    padded = context is not None and not isinstance(context, (list, tuple))  # rows go on behind their sequences' ends
    rows = None if context is None else [np.asarray(row) for row in context]
    if padded and num_steps is None and rows:
        num_steps = len(rows[0])
    found = None if labels is None else checked_labels("labels", labels, observation.labels)
    if lengths is None and rows is not None:
        lengths = [len(row) for row in rows]
    elif lengths is None:
        if num_steps is None:
            raise ValueError("labels alone do not say how many steps there are: give num_steps, or lengths")
        lengths = np.full(len(found if found is not None else ()), num_steps)
    counts = np.asarray(lengths)
    if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"lengths must be integers, one a sequence, not {counts.dtype} {list(counts.shape)}")
    num_steps = int(counts.max(initial=0)) if num_steps is None else num_steps
    wrong = np.flatnonzero((counts < 0) | (counts > num_steps))
    if wrong.size:
        raise ValueError(f"sequence {wrong[0]} has {counts[wrong[0]]} steps, and there are {num_steps}")
    for name, value in (("context", rows), ("labels", found)):
        if value is not None and len(value) != len(counts):
            raise ValueError(f"{name} must hold one entry a sequence, {len(counts)}, not {len(value)}")
    joined = np.zeros((len(counts), num_steps, observation.context_size), np.float32)
    for index, count in enumerate(counts):
        row = None
        if rows is not None:
            check_row(f"context[{index}]", rows[index], num_steps if padded else count, observation.context, count)
            row = rows[index][:count]
        joined[index, :count] = row_of(observation, row, None if found is None else found[index], count)
    return joined


def row_of(observation: Observation, context: np.ndarray | None, label: int | None, num_steps: int) -> np.ndarray:
    """Return what a model reads beside the elements of one sequence, ``[T, C]`` float32."""
    joined = np.zeros((num_steps, observation.context_size), np.float32)
    if context is not None:
        joined[:, : observation.context] = context
    if label is not None:
        joined[:, observation.context + label] = 1.0
    return joined


def check_given(observation: Observation, context: Any, labels: Any) -> None:
    """Raise ``ValueError`` where context or labels are missing, or are given and not in the observation."""
    for name, value, size in (("context", context, observation.context), ("labels", labels, observation.labels)):
        if value is None and size:
            raise ValueError(f"{name} must be given: the observation has {name}={size}")
        if value is not None and not size:
            raise ValueError(f"{name} must not be given: the observation has none; Observation(..., {name}=NUMBER) has")


def check_row(where: str, row: np.ndarray, num_steps: int, size: int, real: int | None = None) -> None:
    """Raise ``ValueError`` where the context of one sequence is not finite real numbers ``[num_steps, size]``.

    Args:
      where: the name of ``row`` in a sentence.
      real: steps whose values are looked at; all by default.
    """
    if row.shape != (num_steps, size) or row.dtype.kind not in "fiub":
        raise ValueError(f"{where} is {row.dtype} {list(row.shape)}, and must be real numbers [{num_steps}, {size}]")
    wrong = np.argwhere(~(np.abs(row[:real].astype(np.float64)) <= np.finfo(np.float32).max))
    if wrong.size:
        step, place = wrong[0]
        raise ValueError(f"{where}[{step}, {place}] is {row[step, place]}: a context is of finite numbers")


def checked_labels(where: str, labels: Any, number: int) -> np.ndarray:
    """Return labels as an array ``[N]``; ``ValueError`` where they are not integers in ``0 .. number - 1``."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{where} must be integers, one a sequence, not {labels.dtype} {list(labels.shape)}")
    wrong = np.flatnonzero((labels < 0) | (labels >= number))
    if wrong.size:
        # Where the labels themselves said how many classes there are, only the sign of one can be wrong.
        legal = "a label is at least 0" if labels[wrong[0]] < 0 else f"a label lies in 0 .. {number - 1}"
        raise ValueError(f"{where}[{wrong[0]}] is {labels[wrong[0]]}: {legal}")
    return labels
