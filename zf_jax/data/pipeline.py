"""From sources to batches with grain: the batch is a pure function of (seed, step, process).

``grain.MapDataset.source(...).seed(...).shuffle().repeat()`` is random access, so the position in the data *is* the
step: nothing is saved with a checkpoint, a resumed run and a run on another number of processes see the same global
batches.  grain moves indices; the padded length is chosen from the lengths of the whole global batch, which every
process knows, so that all processes compile the same shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from zf_jax.data.dataset import DataError
from zf_jax.extras import needs
from zf_jax.protocols import Example, Source
from zf_jax.typing import Batch

_BUCKETS = 4  # compiled shapes at most: the longest sequence, and its half, quarter and eighth


def bucket_lengths(lengths: np.ndarray) -> tuple[int, ...]:
    """Return the few padded lengths, ascending, that a set of sequence lengths ``[N]`` is served with."""
    longest, shortest = int(np.max(lengths)), int(np.min(lengths))
    found = {longest}
    for halvings in range(1, _BUCKETS):
        bucket = -(-longest // 2**halvings)
        if bucket >= shortest:
            found.add(bucket)
    return tuple(sorted(found))


def bucket(length: int, buckets: Sequence[int]) -> int:
    """Return the smallest of the ascending ``buckets`` that holds ``length`` steps; ``ValueError`` where none does."""
    for size in buckets:
        if length <= size:
            return size
    raise ValueError(f"a sequence of {length} steps does not fit in the longest bucket, {buckets[-1]} steps")


def pad(examples: Sequence[Example | None], length: int) -> Batch:
    """Stack examples into a numpy ``Batch`` of ``[B, length, ...]``, zeros behind each; None makes a row of length 0.

    Raises ``ValueError`` where an example is longer than ``length`` or no row is an example.
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
        lengths[row] = steps
    return Batch(inputs, targets, mask, input_mask, lengths)


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
    """Yield this process's rows of global batches ``start_step``, ``start_step + 1``, … without end, read ahead.

    Every epoch is a fresh permutation of all sequences, and the last batch of an epoch is completed from the next.

    Args:
      source: the training split.
      batch_size: rows of the global batch; a multiple of ``process_count``.
      seed: a non-negative integer below 2**32.
      start_step: the first step to serve: 0, or where a checkpoint stopped.
      process_index: this process.
      process_count: all processes.
      length: steps to pad every batch to; None takes the smallest bucket that holds the global batch.
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
        grain.MapDataset.source(range(len(source)))  # indices: what to read is decided before anything is read
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
    """Yield (indices ``[B]`` int32 into the split, batch) until every sequence was served exactly once.

    Sequences come in order of length, longest first, to save padding and to meet the largest shape at once.  The last
    batch is filled with rows of length 0 and index -1, so that every process serves the same number of batches.
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
        # The template gives a process whose rows are all filler the shape of a row.
        batch = pad([source[int(i)] if i >= 0 else None for i in mine] + [template], steps)
        return mine, Batch(*(leaf[:-1] for leaf in batch))

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

    # One thread keeps the order of work plain and is many times faster than a train step (benchmarks/pipeline.py).
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))
