"""A data set of plain arrays: its splits, normalisation and examples; wrong input is refused by sequence."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

import zf_jax
from zf_jax import Observation, plotting
from zf_jax.data import DataError, eval_batches, from_arrays, load, prepare, registry, train_batches
from zf_jax.data.arrays import source_of
from zf_jax.data.description import DataDescription
from zf_jax.evaluation.baselines import baselines
from zf_jax.runs.build import build_config_emission
from zf_jax.sharding import data_mesh

TOKENS = Observation("tokens", 5)
ONE = np.array([[0.0], [1.0]])


def some_frames(number=20, dimension=2):
    rng = np.random.default_rng(0)
    return [rng.normal(7.0, 3.0, (size, dimension)) for size in rng.integers(2, 6, size=number)]


def all_targets(data, split):
    source = data.split(split)
    return [source[index].targets for index in range(len(source))]


def test_frames_are_normalised_by_the_training_split_alone():
    rows = some_frames()
    data = from_arrays({"train": rows[:12], "valid": rows[12:16], "test": [row * 100 for row in rows[16:]]})
    train = np.concatenate(rows[:12])
    assert data.normalisation == pytest.approx({"mean": train.mean(), "std": train.std()}, rel=1e-12)
    for row, seen in zip(rows[16:], all_targets(data, "test"), strict=True):
        np.testing.assert_allclose(seen, (row * 100 - train.mean()) / train.std(), rtol=1e-6)
        assert seen.dtype == np.float32
    assert (data.observation, data.default_emission) == (Observation("frames", 2), "gaussian")


@pytest.mark.parametrize("missing", [False, True])
def test_dimensions_of_several_units_are_normalised_each_and_scored_in_their_own(missing):
    rows = [row * [1.0, 1e4] - [0.0, 5e5] for row in some_frames()]
    if missing:
        for row in rows:
            row[0, 1] = np.nan
    data = from_arrays(
        {"train": rows[:15], "test": rows[15:]}, missing=missing, normalise="dimension", columns=["depth", "price"]
    )
    train = np.concatenate(rows[:15])
    mean, std = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    assert data.normalisation == {"mean": pytest.approx(mean), "std": pytest.approx(std)}
    described = DataDescription.from_json(json.loads(json.dumps(DataDescription.of(data).as_json())))
    assert described == DataDescription.of(data)
    assert described.columns == ("depth", "price")
    for row, seen in zip(rows[15:], all_targets(data, "test"), strict=True):
        np.testing.assert_allclose(described.to_own_unit(seen), row, rtol=1e-5)
        np.testing.assert_array_equal(described.normalise(row), seen)
        np.testing.assert_array_equal(source_of([row], None, described)[0].targets, seen)
    # A unit Gaussian of the normalised numbers is, by the change of variables, this density of the numbers themselves.
    unit = baselines(data.split("train"), data.split("test"), data)["unit Gaussian"]
    found = zf_jax.summarise(unit, zf_jax.units_of(described))
    own = [np.nansum(stats.norm.logpdf(row, mean, std)) for row in rows[15:]]
    assert found["raw_nats_per_sequence"] == pytest.approx(np.mean(own), rel=1e-5)
    alone = zf_jax.summarise(jax.tree.map(lambda values: values[1:2], unit), zf_jax.units_of(data))
    assert alone["raw_nats_per_sequence"] == pytest.approx(own[1], rel=1e-5)


def test_a_padded_array_is_the_list_of_its_rows():
    rows = some_frames()
    padded = np.full((20, 5, 2), np.nan)
    for row, into in zip(rows, padded, strict=True):
        into[: len(row)] = row
    ours, theirs = from_arrays(padded, [len(row) for row in rows]), from_arrays(rows)
    for split in ("train", "valid", "test"):
        for one, other in zip(all_targets(ours, split), all_targets(theirs, split), strict=True):
            np.testing.assert_array_equal(one, other)


def test_splits_are_whole_and_follow_the_seed():
    rows = [np.full(2, index) for index in range(40)]
    found = []
    for seed in (0, 0, 1):
        data = from_arrays(
            rows, observation=Observation("tokens", 40), valid_fraction=0.1, test_fraction=0.2, seed=seed
        )
        parts = {split: [int(row[0]) for row in all_targets(data, split)] for split in data.splits}
        assert list(map(len, parts.values())) == [28, 4, 8]
        assert list(parts) == ["train", "valid", "test"]
        assert sorted(x for part in parts.values() for x in part) == list(range(40))
        found.append(parts)
    assert found[0] == found[1] != found[2]
    assert found[0]["valid"] == [29, 30, 38, 39]  # on every machine


def test_protocols_and_tokens_make_the_examples_of_other_sets():
    data = from_arrays({"train": [np.array([[1.0], [3.0]])]}, protocol="srnn")
    example = data.split("train")[0]
    assert (example.inputs.tolist(), example.targets.tolist(), example.input_mask.tolist()) == ([[-1]], [[1]], [1])
    example = from_arrays({"train": [[4, 0, 2]]}, observation=TOKENS).split("train")[0]
    assert (example.inputs.tolist(), example.targets.tolist()) == ([5, 4, 0], [4, 0, 2])


def test_two_updates():
    data = from_arrays(some_frames())
    model = zf_jax.build_model("rnn", data.observation, emission="gaussian", rnn_dim=3, embed_dim=2)
    optimizer = zf_jax.make_optimizer(1e-2)
    state = zf_jax.init_state(model, optimizer, jax.random.key(0))
    before = jax.tree.map(np.asarray, state.params)
    step = zf_jax.make_train_step(model, optimizer, data_mesh())
    batches = train_batches(data.split("train"), batch_size=4, seed=0, length=5)
    for _ in range(2):
        state, metrics = step(state, next(batches), jax.random.key(1))
        assert np.isfinite(metrics["loss"])
    assert int(state.step) == 2
    assert int(state.skipped_updates) == 0
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(state.params), strict=True))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (dict(values=[]), "at least one"),
        (dict(values={"valid": [ONE]}), "must hold 'train'"),
        (dict(values={"train": [ONE], "test": []}), r"values\['test'\] must hold"),
        (dict(values={"train": [ONE], "test": [ONE, ONE[:0]]}), r"values\['test'\]\[1\] has 0 steps"),
        (dict(values={"train": [ONE], "test": [ONE, ONE[:, [0, 0]]]}), r"values\['test'\]\[1\] is float64 \[2, 2\]"),
        (dict(values=[ONE, np.array([[0.0], [np.inf]])]), r"values\[1\]\[1\] is not finite"),
        (dict(values=[ONE, ONE[:1]], protocol="srnn"), r"values\[1\] has 1 steps"),
        (dict(values=[ONE, [0.0, 1.0]]), r"values\[1\] is float64 \[2\]"),
        (dict(values=[np.zeros(3)]), r"give real numbers \[T, D\]"),
        (dict(values=[1.0, 2.0], observation=Observation("frames", 1)), r"values\[0\] is float64 \[\]"),
        (dict(values=[ONE, ONE * 1e200]), r"values\[1\]\[1\] is not finite in float32"),
        (dict(values=[ONE, []]), r"values\[1\] has 0 steps"),
        (dict(values=[ONE[:, :0]]), r"values\[0\] is float64 \[2, 0\]"),
        (dict(values=[ONE > 0]), r"values\[0\] is bool"),
        (dict(values=[ONE, [[0.0], [1.0, 2.0]]]), r"values\[1\] is no array"),
        (dict(values=[ONE] * 3, observation=Observation("frames", 2)), r"values\[0\] .*\[T, 2\]"),
        (dict(values=[ONE] * 3, observation=TOKENS), r"values\[0\] .*integers \[T\]"),
        (dict(values=[[0, 1]]), "give the observation"),
        (dict(values=[[0, 1], [3, 5]], observation=TOKENS), r"values\[1\]\[1\] is 5"),
        (dict(values=[[0, 1], [3, -1]], observation=TOKENS), r"values\[1\]\[1\] is -1"),
        (dict(values=[[0, 1]], observation=TOKENS, protocol="srnn"), "start token"),
        (dict(values=[ONE], protocol="half"), "'half'"),
        (dict(values=np.zeros((2, 3, 1)), lengths=[3, 4]), r"lengths\[1\] is 4"),
        (dict(values=np.zeros((2, 3, 1)), lengths=[3]), "2 integers"),
        (dict(values=np.zeros(3)), r"\[N, T, D\]"),
        (dict(values=[ONE], lengths=[2]), "padded array"),
        (dict(values={"train": [ONE]}, lengths=[2]), "dict by split"),
        (dict(values=[ONE, ONE]), "cannot be divided"),
        (dict(values=[ONE] * 9, valid_fraction=0.5, test_fraction=0.5), "leave nothing to train on"),
        (dict(values={"train": [ONE * 0]}), "nothing to learn"),
        (dict(values={"train": [ONE * [1, 0]]}, normalise="dimension"), "all numbers of dimension 1 of the training"),
        (
            dict(values={"train": [ONE * [1, np.nan]]}, missing=True, normalise="dimension", columns=["a", "b"]),
            "no number of dimension 'b' of the training split was observed",
        ),
        (dict(values=[ONE], normalise="row"), "'all', 'dimension' or 'none', not 'row'"),
        (dict(values=[ONE], columns=["a", "b"]), "2 columns and 1 dimensions"),
        (dict(values=[[0, 1]], observation=TOKENS, normalise="dimension"), "tokens have no dimensions"),
    ],
)
def test_what_is_no_data_set_is_refused_by_name(arguments, match):
    with pytest.raises(DataError, match=match):
        from_arrays(**arguments)


def save(path, **arrays: Any):
    np.savez(path, **arrays)
    return str(path)


def test_a_file_of_arrays_is_the_arrays(tmp_path):
    values, lengths = np.random.default_rng(0).normal(size=(20, 4, 2)), np.arange(20) % 4 + 1
    save(tmp_path / "arrays.npz", values=values, lengths=lengths)
    ours, theirs = load("arrays", data_dir=str(tmp_path), split_seed=3), from_arrays(values, lengths, seed=3)
    split = np.where(lengths == 4, "valid", "train")
    given = load("arrays", data_dir=save(tmp_path / "mine.npz", values=values, lengths=lengths, split=split))
    expected = from_arrays(
        {name: values[split == name] for name in ("train", "valid")},
        {name: lengths[split == name] for name in ("train", "valid")},
    )
    for one, other in ((ours, theirs), (given, expected)):
        assert one.describe() == other.describe()
        for name in one.splits:
            for a, b in zip(all_targets(one, name), all_targets(other, name), strict=True):
                np.testing.assert_array_equal(a, b)


def test_tokens_of_a_file_are_counted_without_the_padding(tmp_path):
    path = save(tmp_path / "a.npz", values=np.array([[1, 9], [2, 3], [0, 0]]), lengths=[1, 2, 2])
    assert load("arrays", data_dir=path).observation == Observation("tokens", 4)
    assert load("arrays", data_dir=path, num_tokens=7).observation == Observation("tokens", 7)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        (dict(values=np.zeros((3, 2, 1))), "lacks lengths"),
        (dict(values=np.zeros((3, 2)), lengths=[2, 2, 2]), r"values are float64 \[3, 2\]"),
        (dict(values=np.zeros((3, 2), int), lengths=[2, 2]), r"a\.npz: lengths must be 3 integers"),
        (dict(values=np.ones((3, 2, 1)) * np.nan, lengths=[2, 2, 2]), r"a\.npz: values\[0\]\[0\] is not finite"),
        (dict(values=np.zeros((2, 2, 1)), lengths=[2, 2], split=["train", "dev"]), r"split\[1\] is 'dev'"),
        (dict(values=np.zeros((2, 2, 1)), lengths=[2, 2], split=["train"]), r"one entry for each sequence, \[2\]"),
        (dict(values=1.0, lengths=[2], split=["train"]), "one entry for each sequence"),
        (dict(values=ONE[None], lengths=[2], labels=[0, 1]), "holds 2 entries of labels and 1 sequences"),
        (dict(values=ONE[None], lengths=[2], labels=[[0]]), r"holds labels int64 \[1, 1\], and it must be integers"),
        (dict(values=np.zeros((2, 2, 1)), lengths=[2, 2], split=["test"] * 2), "must hold 'train'"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(arrays, match, tmp_path):
    with pytest.raises(DataError, match=match):
        load("arrays", data_dir=save(tmp_path / "a.npz", **arrays))


def test_tokens_without_words_are_drawn(tmp_path):
    data = from_arrays({"train": [[4, 0, 2]]}, observation=TOKENS)
    plotting.draw_grids({"real": all_targets(data, "train")}, data, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_dollars_in_sentences_are_drawn_as_dollars(tmp_path):
    words = ("<eos>", "$", "5", "%", "#")
    data = dataclasses.replace(from_arrays({"train": [[1, 2, 3, 1, 4]]}, observation=TOKENS), vocabulary=words)
    real = all_targets(data, "train")
    plotting.draw_grids({"$5 # $": real}, data, tmp_path / "a.png")
    plotting.draw_rows({"real": real}, data, tmp_path / "b.png")


def test_frames_that_are_no_audio_have_no_grid_of_integers():
    with pytest.raises(ValueError, match=r"needs audio.*gaussian"):
        build_config_emission({"emission": "dmol"}, from_arrays(some_frames()))


def test_gaps_train_and_are_evaluated_by_what_was_observed(tmp_path):
    rows = some_frames()
    for row in rows:
        row[0, 0] = np.nan
    rows[3][1] = np.nan
    values = np.zeros((20, 5, 2))
    for row, into in zip(rows, values, strict=True):
        into[: len(row)] = row
    lengths = np.array([len(row) for row in rows])
    np.savez(tmp_path / "arrays.npz", values=values, lengths=lengths)
    with pytest.raises(DataError, match="pass missing=True if NaN means not observed"):
        load("arrays", data_dir=str(tmp_path))
    data = load("arrays", data_dir=str(tmp_path), missing=True, valid_fraction=0.2)
    assert (data.observation, data.counts) == (Observation("frames", 2, missing=True), {"missing": 22})
    train = np.concatenate(all_targets(data, "train"))
    assert (np.nanmean(train), np.nanstd(train)) == pytest.approx((0, 1), abs=1e-6)

    model = zf_jax.build_model("rnn", data.observation, emission="gaussian", rnn_dim=3, embed_dim=2)
    optimizer, mesh = zf_jax.make_optimizer(1e-2), data_mesh(jax.devices()[:1])
    state = zf_jax.init_state(model, optimizer, jax.random.key(0))
    step = zf_jax.make_train_step(model, optimizer, mesh)
    batches = train_batches(data.split("train"), batch_size=4, seed=0, length=5)
    losses = []
    for _ in range(30):
        state, metrics = step(state, next(batches), jax.random.key(1))
        losses.append(float(metrics["loss"]))
    assert int(state.skipped_updates) == 0
    assert np.mean(losses[-5:]) < np.mean(losses[:5])

    valid = data.split("valid")
    totals = zf_jax.evaluate_split(
        zf_jax.make_eval_step(model, mesh), state.params, eval_batches(valid, batch_size=2), jax.random.key(0), mesh
    )
    elements = [np.isfinite(target) for target in all_targets(data, "valid")]
    observed_steps = np.asarray(totals.observed_steps)
    np.testing.assert_array_equal(totals.observed_elements, [seen.sum() for seen in elements])
    np.testing.assert_array_equal(observed_steps, [seen.any(axis=1).sum() for seen in elements])
    found = zf_jax.summarise(totals, zf_jax.Units("step", frame_size=2, std=2.0))
    count = sum(seen.sum() for seen in elements)
    assert found["num_observed_elements"] == count
    assert found["nats_per_sample"] == pytest.approx(totals.bound.sum() / count)
    assert found["raw_nats_per_sequence"] == pytest.approx((totals.bound.sum() - count * np.log(2.0)) / len(valid))
    assert found["nats_per_step"] == pytest.approx(totals.bound.sum() / observed_steps.sum())
    assert found["kl_nats_per_step"] == pytest.approx(totals.kl.sum() / totals.lengths.sum())
    ((name, unit),) = baselines(valid, valid, data).items()
    seen = np.concatenate([target[np.isfinite(target)] for target in all_targets(data, "valid")])
    assert (name, unit.bound.sum()) == ("unit Gaussian", pytest.approx(stats.norm.logpdf(seen).sum()))
    assert unit.samples(2).sum() == count


def test_marks_beside_the_arrays_are_marks_in_them():
    rows = [[4, 0, 2], [1, 1]]
    observed = [[1, 0, 1], [1, 1]]
    source = from_arrays({"train": rows}, observed={"train": observed}, observation=TOKENS).split("train")
    assert (source[0].inputs.tolist(), source[0].targets.tolist()) == ([5, 4, -1], [4, -1, 2])
    source = from_arrays({"train": [[4, -1, 2], [1, 1]]}, missing=True, observation=TOKENS).split("train")
    assert source[0].targets.tolist() == [4, -1, 2]
    for wrong, match in (([[1, 0, 1]], "as many sequences"), ([[1, 0], [1, 1]], r"observed\['train'\]\[0\] has the")):
        with pytest.raises(DataError, match=match):
            from_arrays({"train": rows}, observed={"train": wrong}, observation=TOKENS)
    with pytest.raises(DataError, match="all elements of the valid split are missing"):
        from_arrays({"train": rows, "valid": [[-1]]}, missing=True, observation=TOKENS)


def test_a_data_set_of_ones_own_is_loaded_by_name(monkeypatch):
    def load_mine(*, data_dir: str | None = None, name: str, number: int = 20):
        assert data_dir == "here"
        return from_arrays(some_frames(number), name=name)

    monkeypatch.setitem(registry.DATA_SETS, "mine", registry.Entry(load_mine, options={"name": "mine"}))
    data = load("mine", data_dir="here", number=10, skip_bad_files=True)
    assert (data.name, sum(map(len, data.splits.values()))) == ("mine", 10)
    for options, words in (
        ({"wide": 3}, "mine has no option 'wide': it takes number"),
        ({"number": "3"}, "whole number"),
    ):
        with pytest.raises(DataError, match=words):
            load("mine", data_dir="here", **options)
    assert prepare("mine", manual_dir=None, data_dir="here") is None
    with pytest.raises(DataError, match=r"no data set 'yours': choose one of .*mine"):
        load("yours")


def test_binary_frames_stay_as_they_are_and_are_no_real_numbers():
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 2, (5, 3)).astype(np.float32) for _ in range(12)]
    data = from_arrays(values, normalise="none", valid_fraction=0.2, test_fraction=0.2)
    assert data.normalisation is None and data.default_emission == "bernoulli"
    kept = [data.splits[split][i].targets for split in data.splits for i in range(len(data.splits[split]))]
    assert sorted(map(bytes, kept)) == sorted(map(bytes, values))
    assert not plotting.is_music(data), "three dimensions are no piano"
    assert set(baselines(data.splits["train"], data.splits["test"], data)) == {"independent dimensions"}
    with pytest.raises(DataError, match=r"every number is 0 or 1.*normalise='none'"):
        from_arrays(values)
    with pytest.raises(DataError, match="neither 0 nor 1"):
        from_arrays([*values, np.full((5, 3), 0.5, np.float32)], normalise="none")
