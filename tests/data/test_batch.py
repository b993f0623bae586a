"""Plain arrays to a batch, beside the batches of the data pipeline; wrong input is refused by name."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zf_jax
from zf_jax import Observation, batch_of
from zf_jax.data import DataError, from_arrays, pad
from zf_jax.data.sources import frame_example, token_example

TOKENS = Observation("tokens", 5)


def assert_same(batch, examples):
    expected = pad(examples, max(len(e.targets) for e in examples))
    for name in ("inputs", "targets", "mask", "input_mask", "lengths"):
        ours, theirs = (np.asarray(getattr(b, name)) for b in (batch, expected))
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
        assert ours.dtype == theirs.dtype, name


def test_tokens_of_several_lengths_are_those_of_the_pipeline():
    rows = [np.array([1, 4, 0]), np.array([2]), np.array([3, 3])]
    assert_same(batch_of(rows, observation=TOKENS), [token_example(row, 5) for row in rows])


@pytest.mark.parametrize("protocol", ["full", "srnn"])
def test_frames_are_those_of_the_pipeline_as_a_list_and_as_an_array(protocol):
    rows = [np.random.default_rng(i).normal(size=(n, 2)).astype(np.float32) for i, n in enumerate((4, 2, 3))]
    expected = [frame_example(row, protocol) for row in rows]
    assert_same(batch_of(rows, protocol=protocol), expected)
    padded = np.full((3, 4, 2), np.nan, np.float32)
    for row, into in zip(rows, padded, strict=True):
        into[: len(row)] = row
    assert_same(batch_of(padded, [4, 2, 3], protocol=protocol), expected)


def test_a_batch_of_plain_arrays_has_a_bound():
    model = zf_jax.build_model("rnn", Observation("frames", 2), emission="gaussian", rnn_dim=3, embed_dim=2)
    batch = batch_of([np.zeros((3, 2)), np.ones((2, 2))])
    assert np.isfinite(zf_jax.elbo(model, model.init(jax.random.key(0)), batch, jax.random.key(1))).all()


@pytest.mark.parametrize(("size", "dtype"), [(256, np.uint8), (128, np.int8)])
@pytest.mark.parametrize("missing", [False, True])
def test_tokens_of_a_small_type_have_the_start_token(size, dtype, missing):
    rows, observation = np.array([[0, 1, size - 1]], dtype), Observation("tokens", size, missing=missing)
    for given in (rows, list(rows)):
        batch = batch_of(given, observation=observation)
        assert_same(batch, [token_example(row, size) for row in rows])
        assert batch.inputs[0, 0] == size


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_frames_of_a_small_type_are_those_of_float32(dtype):
    rows = np.random.default_rng(0).normal(size=(2, 3, 1)).astype(dtype)
    wide = rows.astype(np.float32)
    for given, expected in ((rows, wide), (jnp.asarray(rows), wide), (list(rows), list(wide))):
        jax.tree.map(np.testing.assert_array_equal, batch_of(given), batch_of(expected))
    data, same = (from_arrays({"train": given}) for given in (rows, wide))
    np.testing.assert_array_equal(data.split("train")[1].targets, same.split("train")[1].targets)
    broken = np.where(np.arange(6).reshape(2, 3, 1) == 4, np.inf, wide).astype(dtype)
    with pytest.raises(DataError, match=r"values\['train'\]\[1\]\[1\] is not finite"):
        from_arrays({"train": broken})


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (dict(targets=[[1, 5]], observation=TOKENS), r"targets\[0, 1\] is 5"),
        (dict(targets=np.array([[1, 2], [-1, 0]]), observation=TOKENS), r"targets\[1, 0\] is -1"),
        (dict(targets=[[1, 2]]), "give the observation"),
        (dict(targets=np.zeros((2, 3))), r"\[B, T, D\]"),
        (dict(targets=np.zeros((2, 3, 1)), lengths=[3, 4]), r"lengths\[1\] is 4"),
        (dict(targets=np.zeros((2, 3, 1)), lengths=[3]), "2 integers"),
        (dict(targets=[[[0.0]], [[np.nan]]]), r"targets\[1, 0\] is not finite"),
        (dict(targets=[[[0.0]], [[1e39]]]), r"targets\[1, 0\] is not finite in float32: \[1.e\+39\]"),
        (dict(targets=[np.zeros((2, 2)), np.zeros((2, 3))]), r"targets\[1\]"),
        (dict(targets=np.zeros((1, 2, 2)), observation=Observation("frames", 3)), "frames of 2"),
        (dict(targets=[]), "at least one"),
        (dict(targets=[[1, 2]], observation=TOKENS, protocol="srnn"), "start token"),
        (dict(targets=[[1, 2]], observation=TOKENS, protocol="half"), "'half'"),
    ],
)
def test_what_is_no_batch_is_refused_by_name(arguments, match):
    with pytest.raises(ValueError, match=match):
        batch_of(**arguments)
