"""Define the record of a data set, and the errors of the user's data.

A ``Source`` (``zf_jax.protocols``) returns one unpadded sequence at a time, and has all lengths without reading, so
that padding and order of evaluation can be chosen before data are read.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from zf_jax.protocols import Source
from zf_jax.typing import DataProtocol, Observation


class Option(NamedTuple):
    """Remedy: set an option of the data set to ``value``, or to a value of the user's choice if None."""

    name: str
    value: Any = None
    then: str = ""


class Folder(NamedTuple):
    """Remedy: pass the folder of the data set's files as ``data_dir``, or for preparing as ``manual_dir``."""

    name: str
    then: str = ""
    parameter: str = "data_dir"
    kind: str = "folder"


class Prepare(NamedTuple):
    """Remedy: prepare the data set; ``fetches`` if preparing downloads the files."""

    name: str
    fetches: bool = False


class Directory(NamedTuple):
    """Remedy: prepare into another folder."""


class Register(NamedTuple):
    """Remedy: add a loader of one's own to the table of data sets."""

    name: str


Remedy = str | Option | Folder | Prepare | Directory | Register


def in_python(remedy: Remedy) -> str:
    """Return the sentence of a remedy for a caller of the library."""
    match remedy:
        case Option(name, value, then):
            return f"{f'set {name}' if value is None else f'pass {name}={value!r}'}{then and ' ' + then}"
        case Folder(name, then, parameter, kind):
            return f"pass the {kind} of {name} as {parameter}{then and ' ' + then}"
        case Prepare(name, fetches):
            if fetches:
                return f"download the set with zf_jax.data.prepare({name!r}, manual_dir=None, data_dir=DIR)"
            return f"prepare the set with zf_jax.data.prepare({name!r}, manual_dir=..., data_dir=DIR) and pass DIR"
        case Directory():
            return "choose another folder with data_dir, cache_dir or the environment variable ZF_JAX_CACHE"
        case Register(name):
            return f"register one of your own first, zf_jax.data.registry.DATA_SETS[{name!r}] = Entry(loader)"
    return str(remedy)


class DataError(ValueError):
    """Bad data of the user: a fact and remedies.

    Args:
      path: the file or folder, or "" for none; control characters are escaped in the sentence.
      what: the fact, which follows the path in the sentence.
      remedies: strings, or records that the library and the programs phrase differently (options or flags).
    """

    def __init__(self, path: str, what: str = "", *remedies: Remedy):
        super().__init__(path, what, *remedies)
        self.path, self.what, self.remedies = path, what, remedies

    @property
    def fact(self) -> str:
        """Return the sentence with string remedies only."""
        return self.sentence(lambda remedy: remedy if isinstance(remedy, str) else "")

    def sentence(self, words: Callable[[Remedy], str] = in_python) -> str:
        """Return fact and remedies as one sentence; ``words`` returns the phrase of a remedy."""
        comma = "" if self.what.startswith((",", ":")) else " "
        fact = shown(f"{self.path}{comma}{self.what}".strip(" :"))
        remedies = ", or ".join(filter(None, map(words, self.remedies)))
        # A fact that begins with a comma or colon has a semicolon before the remedies.
        return f"{fact}{';' if self.what.startswith((',', ':')) else ':'} {remedies}" if remedies else fact

    def __str__(self) -> str:
        return self.sentence()


def shown(text: str) -> str:
    """Return the text with control, format and undecodable characters escaped, safe for a terminal."""
    return "".join(
        c.encode("unicode_escape", "surrogatepass").decode()
        if unicodedata.category(c) in _ESCAPED and c not in _JOINERS
        else c
        for c in text
    )


_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # zero-width joiners, which many scripts need


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The splits of one data set, with the facts needed to convert units and draw sequences.

    Attributes:
      name: the registry's name.
      observation: the kind and size of one element of a sequence.
      default_emission: the family of densities that fits the observation.
      splits: ``"train"``, ``"valid"``, ``"test"`` and, for long recordings, ``"test_chunks"`` (rule A12).
      protocol: ``"full"`` scores every element; ``"srnn"`` conditions on the first frame.
      normalisation: ``mean`` and ``std`` of the training split in raw (integer) units, one of all numbers or a list
        with one of each dimension; None for discrete data.
      sample_rate: the sample rate of audio, in Hz.
      quantisation_step: the width of one integer step in normalised units, for audio.
      units: the name of one element: "pixel", "frame", "word".
      image_shape: (rows, columns) of one sequence, for images.
      vocabulary: the word of every token, by token.
      columns: the name of each dimension of a frame, where the data name them.
      context_normalisation: ``mean`` and ``std`` of each number of the context, of the training split; None where there
        is no context.
      counts: counts of data read and left out: files, words outside the vocabulary, samples after the last frame.
    """

    name: str
    observation: Observation
    default_emission: Literal["bernoulli", "categorical", "gaussian"]
    splits: Mapping[str, Source]
    protocol: DataProtocol = "full"
    normalisation: Mapping[str, Any] | None = None
    sample_rate: int | None = None
    quantisation_step: float | None = None
    units: str = "step"
    image_shape: tuple[int, int] | None = None
    vocabulary: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    context_normalisation: Mapping[str, Any] | None = None
    counts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for split, source in self.splits.items():
            if len(source) == 0:
                raise DataError(
                    "",
                    f"the {split} split of {self.name} is empty",
                    "add data, or choose other split fractions",
                )

    def split(self, name: str) -> Source:
        """Return the source of a split, or raise ``DataError`` with the names of all splits."""
        if name not in self.splits:
            raise DataError(self.name, f"has no split {name!r}", f"choose one of {', '.join(sorted(self.splits))}")
        return self.splits[name]

    def detokenise(self, tokens) -> str:
        """Return the tokens of one sentence, ``[T]``, as readable text; ``DataError`` for data other than text."""
        if self.vocabulary is None:
            raise DataError(self.name, "has no words", "only text can be detokenised")
        from zf_jax.data.text.words import detokenise

        return detokenise(tokens, self.vocabulary)

    def describe(self) -> dict[str, Any]:
        """Return the counts of every split (sequences, elements, shortest, longest) and of data left out."""
        found: dict[str, Any] = {
            "name": self.name,
            "units": self.units,
            "protocol": self.protocol,
            "observation": {"kind": self.observation.kind, "size": self.observation.size},
            "splits": {},
        }
        for split, source in self.splits.items():
            lengths = np.asarray(source.lengths)
            found["splits"][split] = {
                "sequences": int(lengths.size),
                f"{self.units}s": int(lengths.sum()),
                "shortest": int(lengths.min()),
                "longest": int(lengths.max()),
            }
        for name in ("context", "labels"):
            if getattr(self.observation, name):
                found["observation"][name] = getattr(self.observation, name)
        if self.context_normalisation is not None:
            found["context_normalisation"] = dict(self.context_normalisation)
        if self.columns is not None:
            found["columns"] = list(self.columns)
        if self.normalisation is not None:
            found["normalisation"] = dict(self.normalisation)
        for name in ("sample_rate", "quantisation_step"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        if self.vocabulary is not None:
            found["vocabulary"] = len(self.vocabulary)
        found.update(self.counts)
        return found
