"""A data set from the user's own arrays: checked sequence by sequence, divided into splits, and normalised."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal

import numpy as np

from zf_jax.data.beside import Beside, WithContext, beside_by_place, context_moments, normalised, observed_beside
from zf_jax.data.dataset import DataError, DataSet, Option
from zf_jax.data.description import DataDescription
from zf_jax.data.pieces import Piece, in_pieces, in_time
from zf_jax.data.prepared.splits import three_way
from zf_jax.data.rows import check_values, marked, names_by_place, observation_of, rows_by_split, rows_of
from zf_jax.data.sources import RaggedFrames, RaggedTokens
from zf_jax.protocols import Source
from zf_jax.typing import DataProtocol, Observation, is_observed


def from_arrays(
    values: Any,
    lengths: Any = None,
    *,
    names: Any = None,
    observation: Observation | None = None,
    missing: bool = False,
    observed: Any = None,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
    split_by: Literal["sequence", "time"] = "sequence",
    piece_steps: int = 0,
    protocol: DataProtocol = "full",
    normalise: Literal["all", "dimension", "none"] = "all",
    columns: Sequence[str] | None = None,
    context: Any = None,
    labels: Any = None,
    name: str = "arrays",
) -> DataSet:
    """Return the data set of some sequences, held in memory, and normalised by the training split.

    Args:
      values: sequences, a list of integers ``[T_i]`` (tokens) or of real numbers ``[T_i, D]`` (frames), or one padded
        array ``[N, T]`` or ``[N, T, D]``; or a dict of such by split, of which ``train`` must be one.
      lengths: the number of real steps of each row of a padded array ``[N]``, all of them by default; a dict where
        ``values`` is one.
      names: what each sequence is called, its index by default; a dict where ``values`` is one.
      observation: what an element is; tokens need it, frames may leave it out.
      missing: whether a NaN in frames, or a token -1, is an element that was not observed; otherwise it is refused.
      observed: 1 where an element was observed and 0 where it is missing, in the form of ``values``; a frame may have
        one for all its dimensions.  Implies ``missing``.
      valid_fraction: of the sequences, for the validation split, where ``values`` is no dict.
      test_fraction: likewise; the rest is for training.
      seed: of that division, which depends on it and on the number of sequences alone.
      split_by: ``time`` divides the steps of every sequence instead: the first are for training, the last for testing.
      piece_steps: sequences of the training split are cut into pieces of so many steps, and those of the other splits
        are whole; their pieces are splits too, ``valid_chunks`` and ``test_chunks`` (rule A12).  0 cuts none.
      protocol: ``full`` opens each sequence with a start token or a frame of zeros and scores all elements; ``srnn``
        gives the first frame and scores the others.
      normalise: by one mean and standard deviation of ``all`` numbers of frames, or by those of each ``dimension``,
        where dimensions have units of their own; ``none`` keeps binary frames, of 0 and 1 alone, as they are.
      columns: what each dimension of a frame is called.
      context: what is given beside each element, real numbers ``[T_i, K]`` of each sequence in the form of ``values``;
        each of the K is normalised by its own moments in the training split.
      labels: the label of each sequence, integers ``[N]``; a dict where ``values`` is one.  There are as many classes
        as ``observation`` says, or one more than the largest label.
      name: what the data set is called.

    Raises:
      DataError: the sentence names the argument, and the sequence by its split and index.
    """
    if protocol not in ("full", "srnn"):
        raise DataError("", f"protocol must be 'full' or 'srnn', not {protocol!r}")
    if normalise not in ("all", "dimension", "none"):
        raise DataError("", f"normalise must be 'all', 'dimension' or 'none', not {normalise!r}")
    if split_by not in ("sequence", "time") or (split_by == "time" and isinstance(values, Mapping)):
        known = "'sequence' where values are given by split" if split_by == "time" else "'sequence' or 'time'"
        raise DataError("", f"split_by must be {known}, not {split_by!r}")
    shortest = 2 if protocol == "srnn" else 1
    if isinstance(piece_steps, bool) or not isinstance(piece_steps, Integral):
        raise DataError("", f"piece_steps must be whole, not {piece_steps!r}")
    if piece_steps and piece_steps < shortest:
        raise DataError("", f"pieces of {piece_steps} steps leave nothing to score", "piece_steps=0 cuts none")
    splits = rows_by_split(values, lengths)
    called = names_by_place(names, splits, isinstance(values, Mapping))
    observation = observation or observation_of(*next(iter(splits["train"].items())))
    if missing or observed is not None:
        observation = dataclasses.replace(observation, missing=True)
    if observed is not None:
        splits = marked(splits, rows_by_split(observed, lengths))
    observation = observed_beside(observation, context, labels)
    if observation.kind == "tokens" and protocol == "srnn":
        raise DataError("", "protocol 'srnn' gives a first frame; tokens have a start token", "use 'full'")
    tokens = observation.kind == "tokens"
    if tokens and (normalise != "all" or columns is not None):
        raise DataError("", "tokens have no dimensions to normalise or to name")
    if columns is not None and len(columns) != observation.size:
        raise DataError("", f"there are {len(columns)} columns and {observation.size} dimensions of a frame")
    for rows in splits.values():
        for where, row in rows.items():
            check_values(where, row, observation, protocol)
    beside = beside_by_place(observation, splits, context, labels)
    pieces = {
        split: [Piece(called[where], row, beside=beside[where]) for where, row in rows.items()]
        for split, rows in splits.items()
    }
    if split_by == "time":
        cut = [
            in_time(piece, valid_fraction, test_fraction, shortest, where)
            for where, piece in zip(splits["train"], pieces["train"], strict=True)
        ]
        pieces = {split: [parts[split] for parts in cut] for split in ("train", "valid", "test")}
    elif not isinstance(values, Mapping):
        found = pieces.pop("train")
        keys = [str(index) for index in range(len(found))]
        by_time = Option("split_by", "time", "to divide the steps of each")
        chosen = three_way(keys, valid_fraction, test_fraction, seed, what="sequences", remedy=by_time)
        for piece, split in zip(found, chosen, strict=True):
            pieces.setdefault(split, []).append(piece)
    by_split = {split: [piece.values for piece in pieces[split]] for split in sorted(pieces, key=_order)}
    for split, rows in by_split.items():
        if not any(is_observed(row).any() for row in rows):
            raise DataError("", f"all elements of the {split} split are missing: there is nothing to score")
    binary = normalise == "none"
    normalisation = None if tokens or binary else _moments(by_split["train"], normalise == "dimension", columns)
    if not tokens:
        _check_binary([row for rows in by_split.values() for row in rows], binary)
    moments = context_moments([piece.beside.context for piece in pieces["train"]])
    gone = sum(int((~is_observed(row)).sum()) for rows in by_split.values() for row in rows)
    if piece_steps:
        for split in list(pieces):
            chunks = in_pieces(pieces[split], piece_steps, shortest)
            pieces["train" if split == "train" else f"{split}_chunks"] = chunks
    return DataSet(
        name=name,
        observation=observation,
        default_emission="categorical" if tokens else "bernoulli" if binary else "gaussian",
        splits={
            split: _source(
                [piece.values for piece in pieces[split]],
                observation,
                protocol,
                normalisation,
                [piece.name for piece in pieces[split]],
                [piece.beside for piece in pieces[split]],
                moments,
            )
            for split in sorted(pieces, key=_order)
        },
        protocol=protocol,
        normalisation=normalisation,
        columns=None if columns is None else tuple(columns),
        context_normalisation=moments,
        counts={"missing": gone} if observation.missing else {},
    )


def source_of(
    values: Any,
    lengths: Any,
    data: DataSet | DataDescription,
    *,
    names: Sequence[str] | None = None,
    context: Any = None,
    labels: Any = None,
) -> Source:
    """Return sequences in the unit of ``data`` as a source, normalised by the statistics of ``data``, not by their own.

    Args:
      values: a list of sequences, each ``[T_i]`` tokens or ``[T_i, D]`` frames, or one padded array.
      lengths: the number of real steps of each row of a padded array ``[N]``; None is all of them.
      names: what each sequence is called.
      context: what is given beside each element, in its own units and in the form of ``values``.
      labels: the label of each sequence.

    Raises:
      DataError: the sequences are not of the kind of ``data``; the sentence names the sequence by its index.
    """
    rows = rows_of(values, lengths, "")
    if data.observation.kind == "frames":  # notes may be written as integers or truth values
        rows = {w: row.astype(np.float32) if row.dtype.kind in "biu" else row for w, row in rows.items()}
    for where, row in rows.items():
        check_values(where, row, data.observation, data.protocol)
    if names is not None and len(names) != len(rows):
        raise DataError("", f"there are {len(names)} names and {len(rows)} sequences", "give one name a sequence")
    beside = list(beside_by_place(data.observation, {"": rows}, context, labels).values())
    moments = data.context_normalisation
    return _source(list(rows.values()), data.observation, data.protocol, data.normalisation, names, beside, moments)


def _order(split: str) -> tuple[int, str]:
    known = ("train", "valid", "test", "valid_chunks", "test_chunks")
    return (known.index(split) if split in known else len(known), split)


def _check_binary(rows: list[np.ndarray], binary: bool) -> None:
    """Refuse frames of 0 and 1 alone as real numbers, and others as ``binary``."""
    numbers = [row[is_observed(row)] for row in rows]
    bits = all(np.isin(row, (0, 1)).all() for row in numbers)
    if binary and not bits:
        raise DataError("", "normalise='none' is for binary frames, and there are numbers that are neither 0 nor 1")
    if bits and not binary and len(np.unique(np.concatenate(numbers))) == 2:
        what = "every number is 0 or 1, and densities of such numbers have no upper bound"
        raise DataError("", what, Option("normalise", "none", "for binary frames"))


def _moments(rows: list[np.ndarray], by_dimension: bool, columns: Sequence[str] | None) -> dict[str, Any]:
    """Mean and standard deviation of the observed numbers of some sequences, of all or of each dimension."""
    flat = np.concatenate(rows).astype(np.float64)
    if not by_dimension:
        mean, std = _mean_and_std(flat, "")
        return {"mean": mean, "std": std}
    each = [
        _mean_and_std(flat[:, d], f" of dimension {d if columns is None else repr(columns[d])}")
        for d in range(flat.shape[1])
    ]
    return {"mean": [mean for mean, _ in each], "std": [std for _, std in each]}


def _mean_and_std(numbers: np.ndarray, of: str) -> tuple[float, float]:
    seen = numbers[is_observed(numbers)]
    if not seen.size:
        raise DataError("", f"no number{of} of the training split was observed", "leave it out")
    if seen.min() == seen.max():
        raise DataError("", f"all numbers{of} of the training split are {seen[0]}: there is nothing to learn")
    return float(seen.mean()), float(seen.std())


def _source(
    rows: list[np.ndarray],
    observation: Observation,
    protocol: DataProtocol,
    normalisation: Mapping[str, Any] | None,
    names: Sequence[str] | None,
    beside: Sequence[Beside],
    context_normalisation: Mapping[str, Any] | None,
) -> Source:
    """The sequences as the model reads them, and what is given beside them."""
    sizes = np.array([len(row) for row in rows], np.int64)
    starts = np.cumsum(sizes) - sizes
    flat = np.concatenate(rows)
    if observation.kind == "tokens":
        found: Source = RaggedTokens(flat.astype(np.int32), starts, sizes, observation.start_token, names)
    else:
        found = RaggedFrames(normalised(flat, normalisation).astype(np.float32), starts, sizes, protocol, names)
    return WithContext(found, observation, beside, context_normalisation) if observation.context_size else found
