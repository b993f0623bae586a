"""The baselines, against sums written out and against scipy."""

import types

import numpy as np
import pytest
from scipy import stats

from zf_jax.data import load
from zf_jax.evaluation import baselines
from zf_jax.protocols import Example


def source(*sequences, given=None):
    class Source(list):
        lengths = np.asarray([len(s) for s in sequences])

    examples = []
    for targets in sequences:
        targets = np.asarray(targets)
        inputs = np.zeros_like(targets)
        input_mask = np.ones(len(targets), np.float32)
        input_mask[0] = given is not None
        if given is not None:
            inputs[0] = given
        examples.append(Example(inputs, targets, input_mask))
    return Source(examples)


def test_independent_pixels_score_a_position_by_its_training_frequency():
    found = baselines.independent_pixels(source([0, 1], [0, 1]), source([0, 0], [1, 1]))
    np.testing.assert_allclose(found.bound, np.log([0.75 * 0.25, 0.25 * 0.75]))


def test_notes_share_their_frequency_over_time():
    train = source([[1, 0], [1, 0]], [[0, 0]])
    found = baselines.independent_notes(train, source([[1, 0]]))
    np.testing.assert_allclose(found.bound, np.log([3 / 5 * 4 / 5]))


def test_a_unigram_knows_the_training_counts():
    found = baselines.unigram(source([0, 0, 1]), source([0, 2]), 3)
    np.testing.assert_allclose(found.bound, np.log([3 / 6 * 1 / 6]))


def test_the_unit_gaussian_is_scipys():
    frames = np.random.default_rng(0).normal(size=(3, 4))
    example = source(frames)[0]
    assert baselines.unit_gaussian(example) == pytest.approx(stats.norm.logpdf(frames).sum())


def test_the_linear_predictor_finds_an_autoregression_and_its_entropy():
    rng = np.random.default_rng(0)
    wave = np.zeros(40_000)
    for t in range(2, wave.size):
        wave[t] = 1.2 * wave[t - 1] - 0.5 * wave[t - 2] + 0.3 * rng.normal()
    train, test = wave[:20_000].reshape(100, -1, 20), wave[20_000:].reshape(1, -1, 20)
    found = baselines.linear_predictor(source(*train), source(*test), order=4)
    # The exact conditional density of the process, but for the first two samples.
    exact = stats.norm.logpdf(test.ravel()[2:], 1.2 * test.ravel()[1:-1] - 0.5 * test.ravel()[:-2], 0.3).sum()
    assert found.bound[0] == pytest.approx(exact, rel=5e-3)


def test_a_given_first_frame_is_history():
    frames = np.zeros((1, 4)) + 2.0
    with_given, without = source(frames, given=np.full(4, 2.0)), source(frames)
    fit = source(np.full((50, 4), 2.0) + np.random.default_rng(0).normal(size=(50, 4)) * 0.1)
    assert (
        baselines.linear_predictor(fit, with_given, 2).bound[0] > baselines.linear_predictor(fit, without, 2).bound[0]
    )


def test_every_kind_of_data_has_its_baselines():
    tokens = types.SimpleNamespace(kind="tokens", size=2, missing=False)
    for description, expected in [
        ({"observation": tokens, "image_shape": (1, 2), "normalisation": None}, {"independent pixels"}),
        ({"observation": tokens, "image_shape": None, "normalisation": None}, {"unigram"}),
    ]:
        data = types.SimpleNamespace(**description)
        assert set(baselines.baselines(source([0, 1]), source([0, 1]), data)) == expected


def test_images_row_by_row_have_the_baseline_of_their_pixels():
    digits = load("digits", view="rows")
    train, test = (np.stack([s[i].targets for i in range(len(s))]) for s in map(digits.split, ("train", "test")))
    found = baselines.baselines(digits.split("train"), digits.split("test"), digits)
    probability = (1 + train.sum(axis=0)) / (len(train) + 2)
    expected = stats.bernoulli.logpmf(test.astype(int), probability).sum(axis=(1, 2))
    np.testing.assert_allclose(found["independent pixels"].bound, expected, rtol=1e-6)
