"""The pipeline: a batch is a pure function of (seed, step, process), and evaluation counts every sequence once."""

import jax
import numpy as np
import pytest

from zf_jax import data
from zf_jax.data.pipeline import bucket_lengths
from zf_jax.data.sources import RaggedFrames, RaggedTokens, frame_example, token_example

START = 1000


def ragged(count=23, longest=11, seed=0):
    """Sequences whose every token names the sequence it belongs to: token = 20 * sequence + position."""
    lengths = np.random.default_rng(seed).integers(1, longest + 1, count)
    lengths[0] = longest
    flat = np.concatenate([20 * i + np.arange(n) for i, n in enumerate(lengths)]).astype(np.int32)
    return RaggedTokens(flat, np.cumsum(lengths) - lengths, lengths, START)


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_a_token_example_scores_every_element_and_never_the_start_token():
    example = token_example(np.array([5, 6, 7]), START)
    assert example.inputs.tolist() == [START, 5, 6]
    assert example.targets.tolist() == [5, 6, 7]
    assert example.input_mask.tolist() == [0, 1, 1]


def test_the_full_protocol_scores_every_frame_and_srnn_takes_the_first_as_given():
    frames = np.arange(1, 9, dtype=np.float32).reshape(4, 2)
    full, srnn = frame_example(frames, "full"), frame_example(frames, "srnn")
    assert np.array_equal(full.targets, frames)
    assert np.array_equal(full.inputs, np.concatenate([np.zeros((1, 2)), frames[:-1]]))
    assert full.input_mask.tolist() == [0, 1, 1, 1]
    assert np.array_equal(srnn.targets, frames[1:])
    assert np.array_equal(srnn.inputs, frames[:-1])
    assert srnn.input_mask.tolist() == [1, 1, 1]


def test_srnn_lengths_are_the_scored_steps():
    source = RaggedFrames(np.zeros((7, 3), np.float32), np.array([0, 4]), np.array([4, 3]), "srnn")
    assert source.lengths.tolist() == [3, 2]
    assert [len(source[i].targets) for i in range(2)] == [3, 2]


def test_a_resumed_run_sees_the_batches_of_an_unbroken_one():
    unbroken = take(data.train_batches(ragged(), batch_size=4, seed=3), 20)
    resumed = take(data.train_batches(ragged(), batch_size=4, seed=3, start_step=13), 7)
    assert all(same(a, b) for a, b in zip(unbroken[13:], resumed, strict=True))


@pytest.mark.parametrize("processes", [2, 3])
def test_the_global_batches_are_the_same_on_any_number_of_processes(processes):
    alone = take(data.train_batches(ragged(), batch_size=6, seed=1), 12)
    shares = [
        take(data.train_batches(ragged(), batch_size=6, seed=1, process_index=p, process_count=processes), 12)
        for p in range(processes)
    ]
    for step, batch in enumerate(alone):
        assert same(batch, jax.tree.map(lambda *leaves: np.concatenate(leaves), *(s[step] for s in shares)))


def test_every_epoch_is_another_permutation_of_all_sequences():
    count = 24
    stream = data.train_batches(ragged(count), batch_size=6, seed=0)
    epochs = [[int(t) // 20 for b in take(stream, 4) for t in b.targets[:, 0]] for _ in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(count))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_another_seed_is_another_order():
    batches = [take(data.train_batches(ragged(), batch_size=6, seed=s), 3) for s in (0, 1)]
    assert not all(same(a, b) for a, b in zip(*batches, strict=True))


def test_padding_changes_nothing_but_the_shape():
    source = ragged()
    short = take(data.train_batches(source, batch_size=4, seed=0), 10)
    long = take(data.train_batches(source, batch_size=4, seed=0, length=40), 10)
    for a, b in zip(short, long, strict=True):
        steps = a.mask.shape[1]
        assert same([leaf[:, :steps] for leaf in b[:4]] + [b.lengths], a)
        assert not np.any(b.mask[:, steps:])
        assert not np.any(b.targets[:, steps:])


def test_masks_and_lengths_agree_and_padding_is_only_at_the_end():
    for batch in take(data.train_batches(ragged(), batch_size=4, seed=0), 10):
        assert np.array_equal(batch.mask, np.arange(batch.mask.shape[1]) < batch.lengths[:, None])
        expected = batch.mask.copy()
        expected[:, 0] = 0
        assert np.array_equal(batch.input_mask, expected)
        assert np.all((batch.inputs == START) == (np.arange(batch.mask.shape[1]) == 0))


def test_few_shapes_are_compiled_and_they_fit_the_batch():
    lengths = np.random.default_rng(0).integers(1, 500, 1000)
    buckets = bucket_lengths(lengths)
    assert len(buckets) <= 4
    assert buckets[-1] == lengths.max()
    source = ragged(200, 19)
    shapes = {b.mask.shape[1] for b in take(data.train_batches(source, batch_size=2, seed=0), 100)}
    assert shapes <= set(bucket_lengths(source.lengths))
    assert len(shapes) > 1


def test_a_padded_length_that_is_too_short_is_refused():
    with pytest.raises(data.DataError, match="shorter than the longest sequence"):
        next(data.train_batches(ragged(), batch_size=4, seed=0, length=3))


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 6, 23])
def test_evaluation_serves_every_sequence_exactly_once(processes, count):
    source, served, shapes = ragged(count), [], []
    for process in range(processes):
        batches = list(data.eval_batches(source, batch_size=6, process_index=process, process_count=processes))
        shapes.append([b.mask.shape for _, b in batches])
        for indices, batch in batches:
            assert np.array_equal(indices < 0, batch.lengths == 0)
            for index, target, length in zip(indices, batch.targets, batch.lengths, strict=True):
                if index >= 0:
                    assert np.array_equal(target[:length], source[int(index)].targets)
                    served.append(int(index))
    assert sorted(served) == list(range(count))
    assert all(shape == shapes[0] for shape in shapes)  # or the processes would wait for each other for ever


def test_a_filler_row_is_zero_throughout():
    *_, (indices, batch) = data.eval_batches(ragged(5), batch_size=4)
    assert (indices == -1).sum() == 3
    for leaf in jax.tree.leaves(batch):
        assert not np.any(leaf[indices == -1])


def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(data.DataError, match="multiple"):
        next(data.train_batches(ragged(), batch_size=4, seed=0, process_count=3))


def test_an_unknown_set_or_option_is_named_with_what_there_is():
    with pytest.raises(data.DataError, match="choose one of arrays, audio_folder"):
        data.load("cifar")
    with pytest.raises(data.DataError, match="digits has no option 'colour'"):
        data.load("digits", colour=1)
    with pytest.raises(data.DataError, match="no split 'validation': choose one of test, train, valid"):
        data.load("digits").split("validation")
