"""What the numbers and tokens of a data set mean, without its sequences."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from zf_jax.context import check_given, check_row, context_of
from zf_jax.data.beside import normalised
from zf_jax.data.dataset import DataError, DataSet
from zf_jax.protocols import Source
from zf_jax.typing import DataProtocol, Observation


@dataclasses.dataclass(frozen=True)
class DataDescription:
    """All of a ``DataSet`` but its splits and counts; the attributes are the data set's, under the same names."""

    name: str
    observation: Observation
    default_emission: str
    protocol: DataProtocol = "full"
    normalisation: Mapping[str, Any] | None = None
    sample_rate: int | None = None
    quantisation_step: float | None = None
    units: str = "step"
    image_shape: tuple[int, int] | None = None
    vocabulary: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    context_normalisation: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, data: DataSet | DataDescription) -> DataDescription:
        """Return the description of a data set."""
        return cls(**{field.name: getattr(data, field.name) for field in dataclasses.fields(cls)})

    def as_json(self) -> dict[str, Any]:
        """Return the description as what JSON can hold."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        found["observation"] = dataclasses.asdict(self.observation)
        for name in ("normalisation", "context_normalisation"):
            found[name] = None if found[name] is None else dict(found[name])
        for name in ("image_shape", "vocabulary", "columns"):
            found[name] = None if found[name] is None else list(found[name])
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> DataDescription:
        """Return the description that ``as_json`` gave; fields that a later version added are left aside.

        Raises:
          ValueError: it is no description.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            values = {name: value for name, value in found.items() if name in known}
            values["observation"] = Observation(**found["observation"])
            for name in ("image_shape", "vocabulary", "columns"):
                values[name] = None if values.get(name) is None else tuple(values[name])
            return cls(**values)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no description of data: {error}") from error

    def normalise(self, raw: Any) -> np.ndarray:
        """Return numbers in the data's own unit as the model reads them; tokens and binary frames unchanged."""
        if self.normalisation is None:
            return np.asarray(raw)
        if np.ndim(raw) and np.shape(raw)[-1] != self.observation.size:
            raise ValueError(f"numbers to normalise have {self.observation.size} dimensions, not {np.shape(raw)[-1]}")
        return normalised(raw, self.normalisation)

    def context(self, context: Any = None, labels: Any = None, num_steps: int | None = None) -> np.ndarray | None:
        """Return what the model reads beside some sequences, ``[B, T, C]``: see ``zf_jax.context_of``.

        Args:
          context: in its own units, ``[B, T, K]``; None where the data have none.
          labels: ``[B]``; None where the data have none.
          num_steps: T, where there are labels alone.

        Raises:
          ValueError: they are missing, or do not fit.
        """
        check_given(self.observation, context, labels)
        if context is not None:
            for index, row in enumerate(context):
                check_row(f"context[{index}]", np.asarray(row), num_steps or len(row), self.observation.context)
            context = [normalised(row, self.context_normalisation) for row in context]
        return context_of(self.observation, context, labels, num_steps=num_steps)

    def to_own_unit(self, values: Any) -> np.ndarray:
        """Return numbers of the model in the data's own unit; tokens and binary frames unchanged."""
        if self.normalisation is None:
            return np.asarray(values)
        return np.asarray(values, np.float64) * np.asarray(self.normalisation["std"]) + self.normalisation["mean"]

    def detokenise(self, tokens: Any) -> str:
        """Return readable text for the tokens of one sentence, ``[T]``; ``DataError`` where there are no words."""
        if self.vocabulary is None:
            raise DataError(self.name, "has no words", "only text can be detokenised")
        from zf_jax.data.text.words import detokenise

        return detokenise(tokens, self.vocabulary)


_SAMPLED = 64  # sequences of a split


def fingerprint(data: DataSet) -> dict[str, Any]:
    """Return what tells data from other data of the same shapes (rule A11); a checkpoint keeps it in its config."""
    train = data.split("train")
    words = None if data.vocabulary is None else hashlib.sha256("\n".join(data.vocabulary).encode()).hexdigest()
    beside = data.context_normalisation
    digests = _samples("training", train)
    for name in ("valid", "test"):
        digests |= _samples(name, data.split(name)) if name in data.splits else {}
    return {
        **({} if beside is None else {"context_normalisation": dict(beside)}),
        **digests,
        "normalisation": None if data.normalisation is None else dict(data.normalisation),
        "protocol": data.protocol,
        "training_sequences": len(train),
        "training_steps": int(train.lengths.sum()),
        "vocabulary_sha256": words,
    }


def changes(saved: Mapping[str, Any] | None, data: DataSet) -> str:
    """Return what differs between the data of a saved fingerprint and these, "" if nothing does."""
    if saved is None:
        return ""
    mine = fingerprint(data)
    # A digest of sequences is compared where both have it: older runs have few, and a split may be left out.
    both = saved.keys() & mine.keys()
    known = {name for name in saved.keys() | mine.keys() if name in both or not name.endswith("_sample_sha256")}
    differing = sorted(name for name in known if saved.get(name) != mine.get(name))
    return "; ".join(f"{name} was {saved.get(name)} and is {mine.get(name)}" for name in differing)


def _samples(name: str, source: Source) -> dict[str, str]:
    """Return digests of the elements of evenly spaced sequences, and of what is given beside them.

    The elements are tokens, binary, or normalised by moments that are compared too: the same on every machine.
    """
    digests: dict[str, Any] = {}
    for index in np.unique(np.linspace(0, len(source) - 1, _SAMPLED).astype(int)):
        example = source[int(index)]
        for kind, values in (("sample", example.targets), ("context_sample", example.context)):
            if values is not None:
                digest = digests.setdefault(f"{name}_{kind}_sha256", hashlib.sha256())
                digest.update(np.asarray(values, np.float32).tobytes())
    return {name: digest.hexdigest() for name, digest in digests.items()}
