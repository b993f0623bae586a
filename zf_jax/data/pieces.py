"""Divide sequences in time: into splits, and into the pieces that training reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zf_jax.data.beside import Beside
from zf_jax.data.dataset import DataError, Option


class Piece(NamedTuple):
    """Consecutive steps of a sequence, ``values`` ``[T]`` or ``[T, D]``, from step ``begin`` of the sequence ``of``.

    ``beside`` is what is given beside these steps.
    """

    of: str
    values: np.ndarray
    begin: int = 0
    whole: bool = True
    beside: Beside = Beside()

    @property
    def name(self) -> str:
        """The name of the sequence, and of a piece its steps: "NAME[40:80]"."""
        return self.of if self.whole else f"{self.of}[{self.begin}:{self.begin + len(self.values)}]"

    def part(self, begin: int, end: int) -> Piece:
        """Return the steps from ``begin`` to ``end`` of this piece."""
        context = None if self.beside.context is None else self.beside.context[begin:end]
        beside = self.beside._replace(context=context)
        return Piece(self.of, self.values[begin:end], self.begin + begin, False, beside)


def in_time(piece: Piece, valid: float, test: float, shortest: int, where: str) -> dict[str, Piece]:
    """Return the first steps of a sequence as ``train``, the next as ``valid`` and the last as ``test``.

    Args:
      valid: the fraction of the steps for validation.
      test: likewise; the rest is for training.
      shortest: the fewest steps that leave something to score.
      where: what the sequence is called in a sentence.

    Raises:
      DataError: the fractions leave nothing to train on, or the sequence is too short.
    """
    if min(valid, test) <= 0 or valid + test >= 1:
        what = f"valid_fraction {valid} and test_fraction {test} must be above 0 and leave steps to train on"
        raise DataError("", what, "choose smaller fractions, as 0.1")
    steps = len(piece.values)
    last, middle = (max(shortest, round(fraction * steps)) for fraction in (test, valid))
    if steps - last - middle < shortest:
        what = f"{where} has {steps} steps, too few to divide in time into train, valid and test"
        raise DataError("", what, "leave it out", Option("split_by", "sequence"))
    first, second = steps - last - middle, steps - last
    return {"train": piece.part(0, first), "valid": piece.part(first, second), "test": piece.part(second, steps)}


def cuts(total: int, steps: int, shortest: int) -> list[tuple[int, int]]:
    """Return where pieces of ``steps`` of ``total`` steps begin and end; a last one below ``shortest`` is left out."""
    return [(begin, min(begin + steps, total)) for begin in range(0, total, steps) if total - begin >= shortest]


def in_pieces(found: Sequence[Piece], steps: int, shortest: int) -> list[Piece]:
    """Return pieces of ``steps`` steps; the last of a sequence may be shorter, and below ``shortest`` is left out."""
    cut = []
    for piece in found:
        total = len(piece.values)
        whole = total <= steps
        cut += [piece] if whole else [piece.part(begin, end) for begin, end in cuts(total, steps, shortest)]
    return cut
