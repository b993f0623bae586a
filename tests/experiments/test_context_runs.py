"""From arrays with context and labels to a trained run: what it learns from them, and what programs draw given them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import optax
import pytest
from helpers.models_under_test import random_params
from helpers.saved_runs import arrays_config, save_run, write_frames

import zf_jax
from experiments.lib import forecast_draws, forecast_scores, interpolation
from experiments.lib.cli import UserError
from experiments.lib.context import context_of_steps, context_past_end
from experiments.lib.gallery import Gallery
from experiments.lib.sequence_scoring import sequences
from zf_jax.data import DataError, from_arrays, load
from zf_jax.data.description import DataDescription
from zf_jax.protocols import Example
from zf_jax.runs.build import ConfigError, build_config_model

T = 6


def some_series(number=60, seed=0):
    """Series that are their covariate, in another unit, and five more where the label is 1."""
    rng = np.random.default_rng(seed)
    context, labels = rng.normal(100.0, 20.0, (number, T, 1)), rng.integers(0, 2, number)
    values = (context - 100.0) / 20.0 + 5.0 * labels[:, None, None] + 0.1 * rng.normal(size=(number, T, 1))
    return values, context, labels


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    values, context, labels = some_series()
    data = from_arrays(values, context=context, labels=labels)
    model = zf_jax.build_model("rnn", data.observation, emission="gaussian", rnn_dim=8, embed_dim=8)
    folder = tmp_path_factory.mktemp("context") / "run"
    settings = zf_jax.FitSettings(num_steps=300, batch_size=16, log_every=100, eval_every=300, updates_per_call=50)
    zf_jax.fit(model, data, settings, optimizer=optax.adam(2e-2), workdir=folder)
    return zf_jax.open_run(folder, model=model)


def test_a_trained_run_scores_and_draws_by_the_context_and_label_it_is_given(trained):
    values, context, labels = some_series(8, seed=1)
    right = trained.score(list(values), context=list(context), labels=labels).bound
    wrong_context = trained.score(list(values), context=list(context[::-1]), labels=labels).bound
    wrong_label = trained.score(list(values), context=list(context), labels=1 - labels).bound
    assert (right > wrong_context + T).all()
    assert (right > wrong_label + T).all()
    drawn = trained.sample(8, T, context=context, labels=labels)
    expected = (context - 100.0) / 20.0 + 5.0 * labels[:, None, None]
    assert np.abs(np.stack(drawn.values) - expected).mean() < 1.0  # of a standard deviation of 2.7
    options = {"num_samples": 20, "num_particles": 4, "labels": labels}
    ahead = trained.forecast(
        list(values[:, :3]), T - 3, context=context[:, :3], future_context=context[:, 3:], **options
    )
    np.testing.assert_allclose(ahead.mean(axis=1), expected[:, 3:], atol=1.5)
    with pytest.raises(ValueError, match="context"):
        trained.forecast(list(values[:, :3]), T - 3, context=context[:, :3], **options)
    with pytest.raises(ValueError, match="labels must be given: the observation has labels=2"):
        trained.sample(8, T, context=context)
    with pytest.raises(ValueError, match=r"context\[0\] is float64 \[6, 1\], and must be real numbers \[5, 1\]"):
        trained.sample(8, T - 1, context=context, labels=labels)
    with pytest.raises(ValueError, match="a Source holds what is given beside its sequences"):
        trained.score(trained.source(values, context=context, labels=labels), labels=labels)
    with pytest.raises(DataError, match="context must be given"):
        trained.score(list(values))


def test_a_forecast_is_given_the_context_of_the_steps_to_come(trained):
    """It is then nearer to the truth than one that is given another series' context from the prefix on."""
    values, context, labels = some_series(8, seed=2)

    def crps(context):
        source = trained.source(values, context=context, labels=labels)
        return forecast_scores.scores(forecast_draws.draw(trained, source, 2, 4, 30, 4, 0))["crps"]

    other = np.concatenate([context[:, :2], context[::-1, 2:]], axis=1)
    assert crps(context) < 0.5 * crps(other)


def test_past_the_end_a_program_draws_what_the_opened_run_draws(trained):
    values, context, labels = some_series(8, seed=3)
    come = context[::-1, :2]
    source = trained.source(values, context=context, labels=labels)
    beside = trained.data.context(come, labels, 2)
    found = forecast_draws.draw_past_end(trained, source, 2, 20, 4, 0, beside)
    options = {"num_samples": 20, "num_particles": 4, "labels": labels}
    expected = trained.forecast(values, 2, context=context, future_context=come, **options)
    np.testing.assert_allclose(found.draws, expected, rtol=1e-5, atol=1e-5)
    assert np.isnan(found.truth).all()
    assert [len(row) for row in found.given] == [T] * 8


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("saved"), np.random.default_rng(0)
    write_frames(folder / "mine.npz", context=rng.normal(size=(20, 7, 2)), labels=rng.integers(0, 3, 20))
    config = arrays_config(folder / "mine.npz", "vrnn")
    return folder / "run", save_run(folder / "run", config)


def test_a_run_of_a_file_with_context_is_opened_and_interpolates_nothing(saved):
    path, experiment = saved
    run = zf_jax.open_run(path)
    assert run.data.observation == zf_jax.Observation("frames", 2, context=2, labels=3)
    np.testing.assert_array_equal(sequences(run, "test", None)[1].context, experiment.data.split("test")[1].context)
    with pytest.raises(UserError, match="arrays has a context, and between two sequences there is none to decode with"):
        interpolation.interpolate(str(path))


def test_the_context_to_come_is_read_by_the_names_of_the_sequences(saved, tmp_path):
    run, test = zf_jax.open_run(saved[0]), saved[1].data.split("test")
    come, file = np.random.default_rng(1).normal(size=(20, 3, 2)), tmp_path / "come.npz"
    np.savez(file, context=come)
    found = context_past_end(run, test, 2, str(file))
    for index, name in enumerate(test.names):
        label = test[index].context[0, 2:]
        given = run.data.context(come[[int(name)], :2], labels=[int(label.argmax())])
        np.testing.assert_array_equal(found[index], given[0])
    np.savez(file, context=come[:2], names=np.array(["a", "b"]))
    for path, steps, told in (
        (None, 2, "must be known of the steps to come: pass it with --future_context=PATH"),
        (file, 2, f"holds nothing of the sequence '{test.names[0]}', but of 'a', 'b'"),
    ):
        with pytest.raises(UserError, match=told):
            context_past_end(run, test, steps, None if path is None else str(path))
    np.savez(file, context=come[:2], names=np.array(["a", "a"]))
    with pytest.raises(DataError, match=r"holds 2 contexts called 'a': give each sequence a name of its own"):
        context_past_end(run, test, 2, str(file))
    np.savez(file, context=come)
    values = np.zeros((2, 4, 2))
    twice = run.source(values, context=values, labels=[0, 1], names=["a", "a"])
    with pytest.raises(UserError, match="2 sequences of these data are called 'a'"):
        context_past_end(run, twice, 2, str(file))
    with pytest.raises(UserError, match=f"holds 3 steps of the sequence '{test.names[0]}', fewer than --steps=4"):
        context_past_end(run, test, 4, str(file))
    np.savez(file, context=come[..., :1])
    with pytest.raises(DataError, match=r"must be real numbers \[3, 2\]"):
        context_past_end(run, test, 2, str(file))


def test_of_tables_the_context_to_come_is_that_of_the_whole_sequence(tmp_path):
    """Of a split in time the test split is the end of each sequence, called "a[18:20]"."""
    whole = [(name, t, 10 * (name == "b") + t) for name in "ab" for t in range(25)]
    before = [f"{name},{t},{t % 7},{price}" for name, t, price in whole if t < 20]
    come = [f"{name},{t},{price}" for name, t, price in whole if t >= 20]
    (tmp_path / "all.csv").write_text("\n".join(["city,day,y,price", *before]))
    (tmp_path / "come.csv").write_text("\n".join(["city,day,price", *come]))
    options = {"columns": "y", "context_columns": "price", "sequence_column": "city", "order_column": "day"}
    data = load("arrays", data_dir=str(tmp_path / "all.csv"), split_by="time", **options)
    run: Any = SimpleNamespace(data=DataDescription.of(data), config={"data": options})
    found = context_past_end(run, data.split("test"), 3, str(tmp_path / "come.csv"))
    assert data.context_normalisation is not None
    mean, std = (data.context_normalisation[name][0] for name in ("mean", "std"))
    np.testing.assert_allclose(found[..., 0] * std + mean, [[20, 21, 22], [30, 31, 32]], rtol=1e-5)


def test_what_follows_a_sequence_is_not_given_beside_what_follows_a_piece_before_its_end(tmp_path):
    """Validation steps end where those of the test begin: a file must have the piece's own name, "s[16:18]"."""
    context = np.arange(20.0).reshape(1, 20, 1)
    values = np.random.default_rng(0).normal(size=(1, 20, 1))
    data = from_arrays(values, context=context, names=["s"], split_by="time")
    run: Any = SimpleNamespace(data=DataDescription.of(data), config={"data": {}})
    file, come, valid = tmp_path / "come.npz", np.array([[[18.0], [19.0]]]), data.split("valid")
    for name in ("s", "other"):  # one sequence alone needs no name, where it ends
        np.savez(file, context=come, names=np.array([name]))
        assert context_past_end(run, data.split("test"), 2, str(file)) is not None
        with pytest.raises(UserError, match=r"of the sequence 's\[16:18\]', but of '\w+'; its sequence goes on"):
            context_past_end(run, valid, 2, str(file), whole=False)
    np.savez(file, context=come, names=valid.names)
    assert context_past_end(run, valid, 2, str(file), whole=False) is not None


def test_an_image_density_is_refused_for_data_with_a_context(saved):
    with pytest.raises(
        ConfigError, match=r"model\.name must be a model of sequences, as the data have a context: draw"
    ):
        build_config_model({"name": "draw"}, saved[1].data)


@pytest.mark.slow
def test_samples_are_drawn_beside_the_contexts_of_the_sequences_that_they_are_shown_with(saved, tmp_path):
    Gallery(saved[1], 2, length=9).draw(random_params(saved[1].model), tmp_path / "drawn", seed=0)
    with np.load(tmp_path / "drawn" / "samples.npz") as arrays:
        assert arrays["samples"].shape == (2, 9, 2)
        assert all(np.isfinite(arrays[name]).all() for name in ("samples", "reconstructions", "completions"))


def test_behind_its_end_a_series_keeps_its_last_context():
    context = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    examples = [Example(context, context, np.ones(5), context[:length]) for length in (5, 3)]
    found = context_of_steps(examples, [1, 2], 3)
    np.testing.assert_array_equal(found, [context[1:4], context[[2, 2, 2]]])
    assert context_of_steps([Example(context, context, np.ones(5))], [0], 2) is None
