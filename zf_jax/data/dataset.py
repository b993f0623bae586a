"""What a data set is to the rest of the program: sources of unpadded sequences, and what they mean.

A ``Source`` (``zf_jax.protocols``) hands out one unpadded sequence at a time and knows every length without reading
anything, so that the pipeline can choose a batch's padding, and an evaluator its order, from the lengths alone.
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
    """Remedy: give an option of the data set another value; ``value`` None leaves it to the user which."""

    name: str
    value: Any = None
    then: str = ""


class Folder(NamedTuple):
    """Remedy: pass the folder of the data set's files, as ``data_dir`` or, where it is prepared, ``manual_dir``."""

    name: str
    then: str = ""
    parameter: str = "data_dir"


class Prepare(NamedTuple):
    """Remedy: prepare the data set; ``fetches`` where that gets its files from their public address."""

    name: str
    fetches: bool = False


class Directory(NamedTuple):
    """Remedy: prepare into another folder."""


Remedy = str | Option | Folder | Prepare | Directory


def in_python(remedy: Remedy) -> str:
    """Return a remedy in the words of a caller of the library."""
    match remedy:
        case Option(name, value, then):
            return f"{f'set {name}' if value is None else f'pass {name}={value!r}'}{then and ' ' + then}"
        case Folder(name, then, parameter):
            return f"pass the folder of {name} as {parameter}{then and ' ' + then}"
        case Prepare(name, fetches):
            if fetches:
                return f"zf_jax.data.prepare({name!r}, manual_dir=None, data_dir=DIR) fetches it"
            return f"prepare it with zf_jax.data.prepare({name!r}, manual_dir=..., data_dir=DIR) and pass that DIR"
        case Directory():
            return "choose another folder with data_dir, cache_dir or the environment variable ZF_JAX_CACHE"
    return str(remedy)


class DataError(ValueError):
    """What is wrong with the user's data, and what to do about it.

    Args:
      path: the file or folder, or "" where there is none; shown with control characters escaped.
      what: the fact, which follows the path in the sentence.
      remedies: what to do; words, or records that every border phrases in its own words.
    """

    def __init__(self, path: str, what: str = "", *remedies: Remedy):
        super().__init__(path, what, *remedies)
        self.path, self.what, self.remedies = path, what, remedies

    @property
    def fact(self) -> str:
        """The sentence without the remedies that need a border's words."""
        return self.sentence(lambda remedy: remedy if isinstance(remedy, str) else "")

    def sentence(self, words: Callable[[Remedy], str] = in_python) -> str:
        """Return fact and remedies as one sentence; ``words`` phrases a remedy."""
        comma = "" if self.what.startswith((",", ":")) else " "
        fact = shown(f"{self.path}{comma}{self.what}".strip(" :"))
        remedies = ", or ".join(filter(None, map(words, self.remedies)))
        # Where the fact has a colon of its own, a semicolon.
        return f"{fact}{';' if self.what.startswith((',', ':')) else ':'} {remedies}" if remedies else fact

    def __str__(self) -> str:
        return self.sentence()


def shown(text: str) -> str:
    """Return text whose control, format and undecodable characters are escaped, so that it is safe on a terminal."""
    return "".join(
        c.encode("unicode_escape", "surrogatepass").decode()
        if unicodedata.category(c) in _ESCAPED and c not in _JOINERS
        else c
        for c in text
    )


_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # of letters in many scripts: they hide nothing


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The splits of one data set, and all that is needed to read a number or draw a picture of it.

    Attributes:
      name: the registry's name.
      observation: what one element of a sequence is.
      default_emission: the family of densities that fits the observation.
      splits: ``"train"``, ``"valid"``, ``"test"`` and, for long recordings, ``"test_chunks"`` (rule A12).
      protocol: ``"full"`` scores every element; ``"srnn"`` takes the first frame as given.
      normalisation: mean and standard deviation of the training split, in raw (integer) units; None when discrete.
      sample_rate: of audio, in Hz.
      quantisation_step: the width of one integer step in normalised units, for audio.
      units: what one element is called: "pixel", "frame", "word".
      image_shape: (rows, columns) in which one sequence is drawn.
      vocabulary: the word of every token, in the order of the tokens.
      counts: what preparing found and left out: files, words outside the vocabulary, samples after the last frame.
    """

    name: str
    observation: Observation
    default_emission: Literal["bernoulli", "categorical", "gaussian"]
    splits: Mapping[str, Source]
    protocol: DataProtocol = "full"
    normalisation: Mapping[str, float] | None = None
    sample_rate: int | None = None
    quantisation_step: float | None = None
    units: str = "step"
    image_shape: tuple[int, int] | None = None
    vocabulary: tuple[str, ...] | None = None
    counts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for split, source in self.splits.items():
            if len(source) == 0:
                raise DataError(
                    "",
                    f"the {split} split of {self.name} is empty",
                    "add data, or choose other split fractions, and prepare it again",
                )

    def split(self, name: str) -> Source:
        """Return the source of a split, or raise ``DataError`` with the names there are."""
        if name not in self.splits:
            raise DataError(self.name, f"has no split {name!r}", f"choose one of {', '.join(sorted(self.splits))}")
        return self.splits[name]

    def detokenise(self, tokens) -> str:
        """Return readable text for the tokens of one sentence, ``[T]``; ``DataError`` where there are no words."""
        if self.vocabulary is None:
            raise DataError(self.name, "has no words", "only text can be detokenised")
        from zf_jax.data.text.words import detokenise

        return detokenise(tokens, self.vocabulary)

    def describe(self) -> dict[str, Any]:
        """Return the counts of every split (sequences, elements, shortest, longest) and of what was left out."""
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
        if self.normalisation is not None:
            found["normalisation"] = dict(self.normalisation)
        for name in ("sample_rate", "quantisation_step"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        if self.vocabulary is not None:
            found["vocabulary"] = len(self.vocabulary)
        found.update(self.counts)
        return found
