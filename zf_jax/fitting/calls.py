"""Which updates go into one call of the device."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator

from zf_jax.typing import Batch


def grouped(batches: Iterator[Batch], step: int, size: int, due: Callable[[int], bool]) -> Iterator[list[Batch]]:
    """Yield the batches of one call of the device after another: ``size`` of them, or a single one.

    A single one where the padded lengths of the next ``size`` differ, or where ``due`` says of a step inside that
    something is to be done after it.  A group depends on its first step alone, so that a run that went on from where
    a group begins makes the same calls as one that was never stopped.

    Args:
      batches: those of updates ``step + 1``, ``step + 2``, ... without end.
    """
    ahead: deque[Batch] = deque()
    while True:
        wanted = 1 if any(due(inside) for inside in range(step + 1, step + size)) else size
        ahead.extend(itertools.islice(batches, max(0, wanted - len(ahead))))
        if len({batch.mask.shape for batch in itertools.islice(ahead, wanted)}) > 1:
            wanted = 1
        yield [ahead.popleft() for _ in range(wanted)]
        step += wanted
