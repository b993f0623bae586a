"""Read sequences from arrays: rows of tokens, and sequences of any length from one flat array.

The flat array may be a memory map, so that data need not fit in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zf_jax.protocols import Example, Source
from zf_jax.typing import DataProtocol


def token_example(tokens: np.ndarray, start_token: int) -> Example:
    """Return the example of a sequence of tokens ``[T]``; the first input is the start token, and all T are scored."""
    targets = np.asarray(tokens, np.int32)
    inputs = np.empty_like(targets)
    inputs[0] = start_token
    inputs[1:] = targets[:-1]
    input_mask = np.ones(targets.shape[0], np.float32)
    input_mask[0] = 0.0
    return Example(inputs, targets, input_mask)


def frame_example(frames: np.ndarray, protocol: DataProtocol = "full") -> Example:
    """Return the example of a sequence of frames ``[T, D]``.

    ``full``: the first input is a zero frame, and all T frames are scored.  ``srnn``: the first frame is given, and the
    other T - 1 frames are scored, as in the literature on speech.
    """
    frames = np.asarray(frames, np.float32)
    if protocol == "srnn":
        return Example(frames[:-1], frames[1:], np.ones(frames.shape[0] - 1, np.float32))
    inputs = np.zeros_like(frames)
    inputs[1:] = frames[:-1]
    input_mask = np.ones(frames.shape[0], np.float32)
    input_mask[0] = 0.0
    return Example(inputs, frames, input_mask)


class TokenRows:
    """Read sequences of equal length, the rows of an array ``[N, T]``."""

    def __init__(self, rows: np.ndarray, start_token: int):
        self._rows = rows
        self._start_token = start_token
        self.lengths = np.full(len(rows), rows.shape[1], np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        return token_example(self._rows[index], self._start_token)


class RaggedTokens:
    """Read sequences of tokens from a flat array ``[total]``, which begin at ``starts`` and have ``lengths``.

    ``names`` are what the sequences are called, where that is known.
    """

    def __init__(
        self,
        flat: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
        start_token: int,
        names: Sequence[str] | None = None,
    ):
        self._flat = flat
        self._starts = np.asarray(starts, np.int64)
        self._start_token = start_token
        self.lengths = np.asarray(lengths, np.int64)
        self.names = names

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Example:
        start = self._starts[index]
        return token_example(self._flat[start : start + self.lengths[index]], self._start_token)


class RaggedFrames:
    """Read sequences of frames from a flat array ``[total, D]``, which begin at ``starts`` and have ``sizes`` frames.

    Under ``srnn`` a sequence has one scored step less than frames.  ``names`` are what the sequences are called,
    where that is known.
    """

    def __init__(
        self,
        flat: np.ndarray,
        starts: np.ndarray,
        sizes: np.ndarray,
        protocol: DataProtocol = "full",
        names: Sequence[str] | None = None,
    ):
        self._flat = flat
        self._starts = np.asarray(starts, np.int64)
        self._sizes = np.asarray(sizes, np.int64)
        self._protocol: DataProtocol = protocol
        self.lengths = self._sizes - (1 if protocol == "srnn" else 0)
        self.names = names

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Example:
        start = self._starts[index]
        return frame_example(self._flat[start : start + self._sizes[index]], self._protocol)


def subsample(source: Source, number: int) -> Source:
    """Return a source of ``number`` evenly spaced sequences, in order; all sequences for 0."""
    return _Spaced(source, number) if 0 < number < len(source) else source


def names_of(source: Source) -> list[str] | None:
    """Return what the sequences of a source are called; None where the data keep no names."""
    names = getattr(source, "names", None)
    return None if names is None else list(names)


def places_of(source: Source) -> np.ndarray:
    """Return the index of each sequence in the whole source, also where ``subsample`` took some of them, ``[N]``."""
    return source.places if isinstance(source, _Spaced) else np.arange(len(source))


class _Spaced:
    def __init__(self, source: Source, number: int):
        self._source = source
        self.places = np.unique(np.linspace(0, len(source) - 1, num=number).astype(int))
        self.lengths = np.asarray(source.lengths)[self.places]
        names = names_of(source)
        self.names = None if names is None else [names[place] for place in self.places]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Example:
        return self._source[int(self.places[index])]
