"""Make batches from sources with grain; a batch is a pure function of (seed, step, process).

``grain.MapDataset.source(...).seed(...).shuffle().repeat()`` has random access, so the step alone is the position in
the data.  A checkpoint stores no position, and a resumed run, or a run on another number of processes, gets the same
global batches.  grain shuffles indices only.  The padded length depends on the lengths of the global batch, which every
process knows, so all processes compile the same shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from zf_jax.data.dataset import DataError
from zf_jax.extras import needs
from zf_jax.protocols import Example, Source
from zf_jax.typing import Batch

_BUCKETS = 4  # padded lengths at most: the longest sequence, a half, a quarter and an eighth


def bucket_lengths(lengths: np.ndarray) -> tuple[int, ...]:
    """Return the padded lengths, ascending, for sequence lengths ``[N]``; at most four."""
    longest, shortest = int(np.max(lengths)), int(np.min(lengths))
    found = {longest}
    for halvings in range(1, _BUCKETS):
        bucket = -(-longest // 2**halvings)
        if bucket >= shortest:
            found.add(bucket)
    return tuple(sorted(found))


def bucket(length: int, buckets: Sequence[int]) -> int:
    """Return the smallest of the ascending ``buckets`` that holds ``length`` steps; ``ValueError`` if none does."""
    for size in buckets:
        if length <= size:
            return size
    raise ValueError(f"a sequence of {length} steps does not fit in the longest bucket, {buckets[-1]} steps")


def pad(examples: Sequence[Example | None], length: int) -> Batch:
    """Stack examples into a numpy ``Batch`` of ``[B, length, ...]``, padded with zeros; None becomes a row of length 0.

    Raises:
      ValueError: an example is longer than ``length``, or all rows are None.
    """
    first = next((e for e in examples if e is not None), None)
    if first is None:
        raise ValueError("a batch needs at least one example to know the shape of a row")
    rows = len(examples)
    inputs = np.zeros((rows, length) + first.inputs.shape[1:], first.inputs.dtype)
    targets = np.zeros((rows, length) + first.targets.shape[1:], first.targets.dtype)
    mask = np.zeros((rows, length), np.float32)
    input_mask = np.zeros((rows, length), np.float32)
    lengths = np.zeros(rows, np.int32)
    context = None
    if first.context is not None:
        context = np.zeros((rows, length, first.context.shape[1]), np.float32)
    for row, example in enumerate(examples):
        if example is None:
            continue
        steps = example.targets.shape[0]
        if steps > length:
            raise ValueError(f"a sequence of {steps} steps does not fit in a batch of {length}")
        inputs[row, :steps] = example.inputs
        targets[row, :steps] = example.targets
        mask[row, :steps] = 1.0
        input_mask[row, :steps] = example.input_mask
        if context is not None:
            context[row, :steps] = example.context
        lengths[row] = steps
    return Batch(inputs, targets, mask, input_mask, lengths, context)


def train_batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    length: int | None = None,
) -> Iterator[Batch]:
    """Yield this process's rows of the global batches ``start_step``, ``start_step + 1``, ... without end.

    Every epoch is a new permutation of all sequences.  The last batch of an epoch is filled from the next epoch.

    Args:
      source: the training split.
      batch_size: rows of the global batch; a multiple of ``process_count``.
      seed: a non-negative integer below 2**32.
      start_step: the first step: 0, or the step of a checkpoint.
      process_index: the index of this process.
      process_count: the number of processes.
      length: the padded length in steps; None for the smallest bucket that holds the global batch.
    """
    with needs("data"):
        import grain

    rows = _rows(batch_size, process_index, process_count)
    lengths = np.asarray(source.lengths)
    buckets = bucket_lengths(lengths) if length is None else (length,)
    if buckets[-1] < lengths.max():
        raise DataError(f"a padded length of {length} is shorter than the longest sequence, {lengths.max()} steps")

    def assemble(indices) -> Batch:
        indices = np.asarray(indices)
        steps = bucket(int(lengths[indices].max()), buckets)
        return pad([source[int(i)] for i in indices[rows]], steps)

    batches = (
        grain.MapDataset.source(range(len(source)))  # indices: data are read after shuffling
        .seed(seed)
        .shuffle()
        .repeat()
        .batch(batch_size, drop_remainder=True)
        .map(assemble)
    )
    return _read_ahead(batches[start_step:])


def eval_batches(
    source: Source, *, batch_size: int, process_index: int = 0, process_count: int = 1
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Yield (indices ``[B]`` int32 into the split, batch), with every sequence of the split exactly once.

    Sequences are sorted by length, longest first, to save padding and to compile the largest shape first.  The last
    batch is filled with rows of length 0 and index -1, so that every process yields the same number of batches.
    """
    with needs("data"):
        import grain

    rows = _rows(batch_size, process_index, process_count)
    lengths = np.asarray(source.lengths)
    buckets = bucket_lengths(lengths)
    order = np.argsort(-lengths, kind="stable").astype(np.int32)
    template = source[int(order[-1])]
    order = np.concatenate([order, np.full(-len(order) % batch_size, -1, np.int32)]).reshape(-1, batch_size)

    def assemble(step) -> tuple[np.ndarray, Batch]:
        indices = order[step]
        real = indices[indices >= 0]
        steps = bucket(int(lengths[real].max()), buckets)
        mine = indices[rows]
        # A process may have filler rows only; the template gives the shape of a row.
        batch = pad([source[int(i)] if i >= 0 else None for i in mine] + [template], steps)
        return mine, Batch(*(None if leaf is None else leaf[:-1] for leaf in batch))

    return _read_ahead(grain.MapDataset.source(range(len(order))).map(assemble))


def _rows(batch_size: int, process_index: int, process_count: int) -> slice:
    if batch_size < 1 or batch_size % process_count:
        raise DataError(
            f"a global batch of {batch_size} rows cannot be shared by {process_count} processes: "
            "choose a batch_size that is a multiple of their number"
        )
    if not 0 <= process_index < process_count:
        raise DataError(f"process {process_index} is not one of {process_count}")
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)


def _read_ahead(batches) -> Iterator:
    with needs("data"):
        import grain

    # One thread is enough: a batch takes less time than a train step (benchmarks/pipeline.py).
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))
