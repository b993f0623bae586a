"""What is given beside the sequences of a data set: read by sequence, normalised, and joined with the examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zf_jax.context import check_given, check_row, checked_labels, row_of
from zf_jax.data.dataset import DataError
from zf_jax.data.sources import names_of
from zf_jax.protocols import Example, Source
from zf_jax.typing import Observation


class Beside(NamedTuple):
    """What is given beside one sequence: ``context`` ``[T, K]`` in its own units, and a label."""

    context: np.ndarray | None = None
    label: int | None = None


Splits = Mapping[str, Mapping[str, np.ndarray]]


def observed_beside(observation: Observation, context: Any, labels: Any) -> Observation:
    """Return the observation with the numbers and classes that context and labels hold, where it does not say them.

    Args:
      context: real numbers, as ``from_arrays`` takes them.
      labels: integers, likewise.
    """
    sizes: dict[str, int] = {}
    if context is not None and not observation.context:
        first = next(iter(context.values())) if isinstance(context, Mapping) else context
        row: np.ndarray = np.asarray(first[0]) if len(first) else np.zeros(0)
        if row.ndim != 2 or not row.shape[-1]:
            raise DataError("", f"context holds {row.dtype} {list(row.shape)}", "give real numbers [T, K] a sequence")
        sizes["context"] = row.shape[-1]
    if labels is not None and not observation.labels:
        every = list(labels.values()) if isinstance(labels, Mapping) else [labels]
        largest = max(
            (int(np.max(one, initial=0)) for one in map(np.asarray, every) if one.dtype.kind in "iu"), default=0
        )
        sizes["labels"] = largest + 1
    return dataclasses.replace(observation, **sizes)


def beside_by_place(observation: Observation, splits: Splits, context: Any, labels: Any) -> dict[str, Beside]:
    """Return what is given beside each sequence, by the sequence's name in a sentence.

    Raises:
      DataError: context or labels are missing, not asked for, or do not fit; the sentence names the sequence.
    """
    try:
        check_given(observation, context, labels)
        found: dict[str, Beside] = {}
        for split, rows in splits.items():
            of = f"[{split!r}]" if any(where.startswith("values['") for where in rows) else ""
            given = _of_split("context", context, split, of, len(rows))
            padded = not isinstance(given, (list, tuple))
            mine = _of_split("labels", labels, split, of, len(rows))
            mine = None if mine is None else checked_labels(f"labels{of}", mine, observation.labels)
            for index, (where, row) in enumerate(rows.items()):
                numbers = None
                if given is not None:
                    numbers = np.asarray(given[index])
                    numbers = numbers[: len(row)] if padded else numbers
                    check_row(f"context{of}[{index}]", numbers, len(row), observation.context)
                found[where] = Beside(numbers, None if mine is None else int(mine[index]))
    except ValueError as error:
        raise error if isinstance(error, DataError) else DataError("", str(error)) from None
    return found


def _of_split(name: str, given: Any, split: str, of: str, number: int) -> Any:
    if given is None:
        return None
    if of and not isinstance(given, Mapping):
        raise DataError("", f"{name} must be a dict by split, of the names that values have")
    found = given.get(split, ()) if of else given
    if len(found) != number:
        raise DataError("", f"{name}{of} holds {len(found)} entries, and there are {number} sequences", "give one each")
    return found


def context_moments(rows: Sequence[np.ndarray | None]) -> dict[str, list[float]] | None:
    """Return mean and standard deviation of each number of a context; a constant has the standard deviation 1."""
    given = [row for row in rows if row is not None]
    if not given:
        return None
    flat = np.concatenate(given).astype(np.float64)
    std = flat.std(axis=0)
    constant = flat.min(axis=0) == flat.max(axis=0)
    return {"mean": flat.mean(axis=0).tolist(), "std": np.where(constant, 1.0, std).tolist()}


def normalised(numbers: Any, moments: Mapping[str, Any] | None) -> Any:
    """Return numbers ``[..., K]`` in their own units as the model reads them, float32; as they are without moments."""
    if numbers is None or moments is None:
        return numbers
    scaled = (np.asarray(numbers, np.float64) - np.asarray(moments["mean"])) / np.asarray(moments["std"])
    return scaled.astype(np.float32)


class WithContext:
    """A source whose examples have what is given beside them; of the protocol ``srnn`` that of the scored frames."""

    def __init__(
        self, source: Source, observation: Observation, beside: Sequence[Beside], moments: Mapping[str, Any] | None
    ):
        self._source, self._observation, self.lengths = source, observation, source.lengths
        self._beside = [Beside(normalised(one.context, moments), one.label) for one in beside]
        self.names = names_of(source)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        example, (context, label) = self._source[index], self._beside[index]
        steps = len(example.targets)
        context = None if context is None else context[len(context) - steps :]
        return example._replace(context=row_of(self._observation, context, label, steps))
