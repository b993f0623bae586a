"""Context and labels of a data set: normalised by the training split, cut, padded and refused with their sequences."""

from __future__ import annotations

import numpy as np
import pytest

import zf_jax
from zf_jax import Observation
from zf_jax.checks import check_batch
from zf_jax.data import DataError, eval_batches, from_arrays, load, train_batches
from zf_jax.data.arrays import source_of
from zf_jax.data.description import DataDescription
from zf_jax.data.foreign import foreign_source

RNG = np.random.default_rng(0)
ROWS = [RNG.normal(7.0, 3.0, (size, 2)) for size in (4, 2, 5, 3)]
GIVEN = [RNG.normal(50.0, 9.0, (len(row), 3)) * [1, 100, 0] for row in ROWS]  # the last is a constant
SPLITS = {"train": slice(0, 2), "valid": slice(2, 3), "test": slice(3, 4)}
LABELS = np.array([1, 0, 2, 1])


def by_split(rows):
    return {split: rows[where] for split, where in SPLITS.items()}


def data_of(**changes):
    return from_arrays(by_split(ROWS), **{"context": by_split(GIVEN), "labels": by_split(LABELS)} | changes)


def normal(row):
    train = np.concatenate(GIVEN[:2])
    return (row - train.mean(axis=0)) / [*train.std(axis=0)[:2], 1.0]


def test_each_number_is_normalised_by_the_training_split_and_a_label_is_one_of_its_classes():
    data = data_of()
    assert data.observation == Observation("frames", 2, context=3, labels=3)
    for split, places in SPLITS.items():
        for index, place in enumerate(range(4)[places]):
            found = data.split(split)[index].context
            assert found.dtype == np.float32
            np.testing.assert_allclose(found[:, :3], normal(GIVEN[place]), rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(found[:, 3:], np.eye(3)[[LABELS[place]] * len(ROWS[place])])
    assert data.describe()["observation"] == {"kind": "frames", "size": 2, "context": 3, "labels": 3}


def test_batches_hold_what_is_given_beside_each_of_their_sequences_and_zeros_behind():
    data = data_of()
    batch = next(train_batches(data.split("train"), batch_size=2, seed=0))
    indices, batches = next(iter(eval_batches(data.split("train"), batch_size=4)))
    model = zf_jax.build_model("rnn", data.observation, emission="gaussian", rnn_dim=2, embed_dim=2)
    for found in (batch, batches):
        check_batch(model, found)
        for row, length in enumerate(found.lengths):
            place = [len(r) for r in ROWS[:2]].index(length) if length else None
            expected = normal(GIVEN[place]) if place is not None else np.zeros((0, 3))
            np.testing.assert_allclose(found.context[row, :length, :3], expected, rtol=1e-5, atol=1e-6)
            assert not found.context[row, length:].any()
    assert (indices < 0).sum() == 2


def test_the_context_goes_with_the_scored_frames_with_pieces_and_with_time():
    data = data_of(protocol="srnn", piece_steps=2)
    contexts = [data.split("train")[i].context for i in range(3)]
    for found, part in zip(contexts, (GIVEN[0][1:2], GIVEN[0][3:4], GIVEN[1][1:2]), strict=True):
        np.testing.assert_allclose(found[:, :3], normal(part), rtol=1e-5, atol=1e-6)
    long = from_arrays([np.arange(20.0)[:, None]], context=[np.arange(20.0)[:, None]], split_by="time")
    scale = long.context_normalisation or {}
    np.testing.assert_allclose([scale["mean"], scale["std"]], [[7.5], [np.arange(16.0).std()]])
    found = long.split("test")[0].context[:, 0] * scale["std"] + scale["mean"]
    np.testing.assert_allclose(found, [18, 19], rtol=1e-5)


def test_padded_arrays_a_file_and_a_description_that_was_saved_are_the_same(tmp_path):
    """Of tokens, with labels alone where there is no context."""
    values, lengths = np.array([[0, 1, 2], [2, 1, 0], [1, 1, 0]]), np.array([3, 2, 3])
    context = np.arange(9.0).reshape(3, 3, 1)
    split, labels = np.array(["train", "train", "valid"]), np.array([0, 1, 1])
    path = str(tmp_path / "mine.npz")
    np.savez(path, values=values, lengths=lengths, split=split, context=context, labels=labels)
    data = load("arrays", data_dir=path)
    assert data.observation == Observation("tokens", 3, context=1, labels=2)
    scale = data.context_normalisation or {}
    np.testing.assert_allclose([scale["mean"], scale["std"]], [[2.0], [np.arange(5.0).std()]])  # of 5 real steps
    saved = DataDescription.from_json(DataDescription.of(data).as_json())
    assert saved == DataDescription.of(data)
    source = source_of(list(values[:1]), None, saved, context=list(context[:1]), labels=[0])
    np.testing.assert_array_equal(source[0].context, data.split("train")[0].context)
    np.testing.assert_array_equal(saved.context(context[:1], [0]), source[0].context[None])
    np.testing.assert_array_equal(foreign_source(path, saved)[2].context, data.split("valid")[0].context)
    alone = from_arrays(values, lengths, observation=Observation("tokens", 3, labels=4), labels=labels)
    assert alone.split("train")[0].context.shape[1] == 4
    assert alone.context_normalisation is None


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (dict(context=GIVEN), "context must be a dict by split"),
        (dict(labels=by_split(np.array([0, 1, 2]))), r"labels\['test'\] holds 0 entries, and there are 1 sequences"),
        (
            dict(context=by_split([row[:-1] for row in GIVEN])),
            r"context\['train'\]\[0\] is float64 \[3, 3\], and must be",
        ),
        (dict(context=by_split([row * np.nan for row in GIVEN])), r"context\['train'\]\[0\]\[0, 0\] is nan"),
        (dict(context=by_split([row[0] for row in GIVEN])), r"context holds float64 \[3\]: give real numbers \[T, K\]"),
        (dict(labels=by_split(LABELS / 2)), r"labels\['train'\] must be integers"),
        (
            dict(labels=by_split(LABELS), observation=Observation("frames", 2, labels=2)),
            r"\['valid'\]\[0\] is 2: a label",
        ),
        (dict(context=None, observation=Observation("frames", 2, context=3)), "context must be given"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_sequence(changes, match):
    with pytest.raises(DataError, match=match):
        data_of(**changes)


def test_a_file_with_entries_for_other_sequences_is_refused(tmp_path):
    np.savez(tmp_path / "arrays.npz", values=np.zeros((2, 3, 1)), lengths=[3, 3], labels=[0])
    with pytest.raises(DataError, match="holds 1 entries of labels and 2 sequences: give one each"):
        load("arrays", data_dir=str(tmp_path))


def test_the_context_of_a_padded_array_has_its_steps_and_lengths_that_do_not_fit_are_refused():
    observation, given = Observation("frames", 2, context=1), np.ones((2, 4, 1))
    found = zf_jax.context_of(observation, given, lengths=[2, 3])
    assert found is not None
    np.testing.assert_array_equal(found[..., 0], [[1, 1, 0, 0], [1, 1, 1, 0]])
    for arguments, match in (
        (dict(context=[given[0]], num_steps=3), "sequence 0 has 4 steps, and there are 3"),
        (dict(context=given, lengths=[2, 5]), "sequence 1 has 5 steps, and there are 4"),
        (dict(context=given, lengths=[2.0, 3.0]), "lengths must be integers, one a sequence, not float64"),
    ):
        with pytest.raises(ValueError, match=match):
            zf_jax.context_of(observation, **arguments)
