"""Training from Python: the history, exact resume, a run folder, and wrong arguments refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
import pytest
from helpers.small_fit import MODEL, OBSERVATION, SETTINGS, STILL, data, fit, optimizer, same, settings, whole

import zf_jax
from zf_jax.data import from_arrays
from zf_jax.data.description import changes, fingerprint
from zf_jax.fitting.fit import _plain_text
from zf_jax.objective import trainable
from zf_jax.objective.bag_of_words import with_head
from zf_jax.runs.checkpoints import Checkpoints
from zf_jax.runs.errors import RunError
from zf_jax.runs.held import held
from zf_jax.runs.metrics import read_metrics
from zf_jax.sharding import data_mesh
from zf_jax.training import make_train_step


def test_the_history_has_a_line_a_log_and_a_line_a_validation():
    found = whole()
    assert (int(found.state.step), found.ended_by) == (12, "num_steps")
    steps = {split: [line["step"] for line in found.history if line["split"] == split] for split in ("train", "valid")}
    assert steps == {"train": [2, 4, 6, 8, 10, 12], "valid": [4, 8, 12]}
    elbos = {line["step"]: line["elbo_nats_per_sequence"] for line in found.history if line["split"] == "valid"}
    assert found.best == max(elbos.items(), key=lambda item: item[1])
    assert {"loss", "grad_norm", "kl_temperature", "skipped_updates"} <= found.history[0].keys()


def test_a_second_training_of_an_equal_model_compiles_nothing():
    whole()
    compiled = []

    def listen(event, duration_secs, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        again = zf_jax.fit(dataclasses.replace(MODEL), data(), SETTINGS, optimizer=optimizer())
        first, second = len(compiled), fit(objective=zf_jax.Objective(free_nats=0.5))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert first == 0 < len(compiled)
    same(again.state, whole().state)
    assert second.history[0]["loss"] != again.history[0]["loss"]


def test_an_update_is_kept_unless_it_reads_a_function_of_the_users_own():
    def made(chosen):
        return make_train_step(MODEL, chosen, data_mesh(jax.devices()[:1]))

    for known in (zf_jax.make_optimizer(optax.linear_schedule(0.1, 0.0, 5), 1.0), optax.adam(0.1)):
        assert made(known) is made(known)
    peak = [0.05]  # may have another value by the next training
    own = optax.adam(optax.join_schedules([lambda step: peak[0], optax.constant_schedule(0.1)], [3]))
    assert made(own) is not made(own)


def test_a_state_goes_on_to_the_same_end_and_is_left_whole():
    half = fit(settings(num_steps=6))
    kept = jax.device_get(half.state)
    same(fit(state=half.state).state, whole().state)
    same(half.state, kept)


def test_a_folder_goes_on_to_the_same_end_and_has_the_metrics(tmp_path):
    fit(settings(num_steps=6), workdir=tmp_path)
    again = fit(workdir=tmp_path)
    same(again.state, whole().state)
    assert [line["step"] for line in again.history if line["split"] == "train"] == [8, 10, 12]
    expected = [(line["step"], line["split"], line["elbo_nats_per_sequence"]) for line in whole().history]
    written = [(line["step"], line["split"], line["elbo_nats_per_sequence"]) for line in read_metrics(tmp_path)]
    assert [line for line in written if line[:2] != (6, "valid")] == expected  # 6 was the end of the first
    assert not fit(workdir=tmp_path).history, "a finished training is only read"
    opened = zf_jax.open_run(tmp_path, "latest", model=MODEL)
    jax.tree.map(np.testing.assert_array_equal, opened.params, again.state.params)
    with pytest.raises(RunError, match="keeps no config of its model: open it from Python"):
        zf_jax.open_run(tmp_path)
    with Checkpoints(tmp_path, create=False) as checkpoints:
        assert 12 in checkpoints.steps()
        assert checkpoints.best == whole().best


@pytest.mark.slow
def test_a_batch_in_pieces_and_an_average_go_on_to_the_same_end_and_are_validated(tmp_path):
    options = {"optimizer": zf_jax.with_average(optimizer(), 0.9)}
    once = fit(settings(num_steps=8, accumulate=2), **options)
    fit(settings(num_steps=4, accumulate=2), workdir=tmp_path, **options)
    again = fit(settings(num_steps=8, accumulate=2), workdir=tmp_path, **options)
    same(again.state, once.state)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        once.state.params,
        fit(settings(num_steps=8)).state.params,
    )
    # Scored with the average instead of the last parameters, the last validation reads the same.
    still = zf_jax.with_average(STILL, 0.9)
    averaged = zf_jax.evaluated_params(once.state)
    scored = fit(settings(num_steps=1), params=averaged, optimizer=still).history[-1]
    np.testing.assert_allclose(scored["elbo_nats_per_sequence"], once.history[-1]["elbo_nats_per_sequence"], rtol=1e-6)
    last = fit(settings(num_steps=1), params=once.state.params, optimizer=still).history[-1]
    assert abs(last["elbo_nats_per_sequence"] - scored["elbo_nats_per_sequence"]) > 1e-4


def test_checkpoints_of_every_so_many_updates_stay(tmp_path):
    fit(settings(keep_every=3, eval_every=12), workdir=tmp_path)
    with Checkpoints(tmp_path, create=False) as checkpoints:
        assert checkpoints.steps() == [3, 6, 9, 12]


def test_given_parameters_are_where_it_begins_and_stay_whole():
    params = MODEL.init(jax.random.key(5))
    found = fit(settings(num_steps=1), params=params, optimizer=STILL)
    same(found.state.params, params)


def test_data_without_a_validation_split_are_trained_on():
    found = zf_jax.fit(MODEL, data(("train",)), SETTINGS, optimizer=optimizer())
    assert {line["split"] for line in found.history} == {"train"}
    same(found.state, whole().state)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"state": 1, "params": {}}, "give a state"),
        ({"workdir": "gs://bucket/run"}, "only folders of a file system"),
        (
            {"params": {"prior": np.zeros(2)}},
            r"params are not of this model: \d+ arrays differ, as \S+, given absent, here",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit(**options)


def test_other_data_than_the_models_or_none_to_validate_on_are_refused():
    other = zf_jax.build_model("rnn", zf_jax.Observation("tokens", 4), emission="categorical", rnn_dim=3, embed_dim=2)
    with pytest.raises(ValueError, match="the model is for"):
        zf_jax.fit(other, data(), SETTINGS)
    with pytest.raises(ValueError, match="patience needs a split 'valid'"):
        zf_jax.fit(MODEL, data(("train",)), settings(patience=4))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_steps": 0}, "num_steps must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size must be a whole number"),
        ({"patience": -1}, "patience must be a whole number of at least 0"),
        ({"accumulate": 3}, "batch_size=4 cannot be cut into accumulate=3"),
        ({"keep_every": 4}, "keep_every=4 must be a multiple of checkpoint_every=3"),
        ({"updates_per_call": 3}, "updates_per_call=3 cannot be above log_every=2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)


def test_a_folder_of_another_training_is_refused(tmp_path):
    fit(settings(num_steps=2), workdir=tmp_path)
    with pytest.raises(ValueError, match="holds another training: seed was 0 and is now 1"):
        fit(workdir=tmp_path, seed=1)


def test_other_tokens_of_the_same_shapes_are_other_data(tmp_path):
    fit(settings(num_steps=2), workdir=tmp_path)
    rows = np.random.default_rng(1).integers(0, 3, (24, 5))
    other = from_arrays({"train": rows, "valid": rows[:8]}, observation=OBSERVATION)
    with pytest.raises(ValueError, match="holds another training: training_sample_sha256 was"):
        zf_jax.fit(MODEL, other, SETTINGS, optimizer=optimizer(), workdir=tmp_path)


def test_other_numbers_of_the_same_shapes_are_other_data():
    rng = np.random.default_rng(0)
    first, other = (from_arrays({"train": rng.normal(size=(9, 3, 2))}) for _ in range(2))
    assert changes(fingerprint(first), first) == "" == changes(None, first)
    assert changes(fingerprint(first), other).startswith("normalisation was")
    older = {name: value for name, value in fingerprint(data()).items() if not name.endswith("_sample_sha256")}
    assert changes(older, data()) == "", "runs of older versions have no digest of sequences"


@pytest.mark.parametrize("split", ["valid", "test"])
def test_other_held_out_sequences_are_other_data(split):
    rng = np.random.default_rng(0)
    # Of ones and threes, so that the moments are exact in any order.
    values = {name: rng.permutation(54).reshape(9, 3, 2) % 2 * 2.0 + 1.0 for name in ("train", "valid", "test")}
    other = values | {split: values[split] + np.eye(3, 2)}
    found = changes(fingerprint(from_arrays(values)), from_arrays(other))
    assert found.startswith(f"{split}_sample_sha256 was") and "; " not in found
    swapped = from_arrays(values | {"train": values["train"][::-1]})  # the moments and the lengths are the same
    assert changes(fingerprint(from_arrays(values)), swapped).startswith("training_sample_sha256 was")
    fewer = {name: rows for name, rows in values.items() if name != split}
    for mine, theirs in ((values, fewer), (fewer, values)):
        assert changes(fingerprint(from_arrays(mine)), from_arrays(theirs)) == "", "a split may be left out"
    labels = {name: np.arange(9) % 3 for name in values}
    others = labels | {split: labels[split][::-1]}
    with_labels, relabelled = (from_arrays(values, labels=given) for given in (labels, others))
    assert changes(fingerprint(with_labels), relabelled).startswith(f"{split}_context_sample_sha256 was")


def test_a_record_of_an_older_version_with_numbers_of_numpy_is_that_of_an_equal_model():
    old = "RNN(rnn_dim=np.int64(64), emission_layers=[512], bounds=[np.float64(-3.0), 3.0], layers=[])"
    assert _plain_text(old) == "RNN(rnn_dim=64, emission_layers=(512,), bounds=(-3.0, 3.0), layers=())"


def test_parameters_that_are_no_dict_stay_as_they_are():
    params: Any = [np.zeros(2), np.zeros(3)]  # of a density, which may have any tree
    assert with_head(params, params) is params


def test_a_folder_in_which_another_trains_is_refused(tmp_path):
    with held(tmp_path), pytest.raises(ValueError, match="another training is in"):
        fit(workdir=tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_run_with_the_bag_of_words_goes_on_and_opens_with_the_plain_model_or_the_one_with_its_head(tmp_path):
    objective = zf_jax.Objective(bag_of_words_weight=0.1)
    params = MODEL.init(jax.random.key(5))
    assert not {"bag_of_words"} & params.keys()
    with_head = trainable(MODEL, objective)
    for model, steps in ((MODEL, 2), (with_head, 4)):
        found = zf_jax.fit(model, data(), settings(num_steps=steps), objective=objective, workdir=tmp_path)
        assert int(found.state.step) == steps
    for model in (MODEL, with_head):
        run = zf_jax.open_run(tmp_path, "latest", model=model)
        same(run.params, found.state.params)
        assert np.isfinite(zf_jax.evaluate(run.model, run.params, data().split("valid"))["nats_per_sequence"])
    begun = fit(settings(num_steps=1), objective=objective, params=params, optimizer=STILL).state.params
    same({name: begun[name] for name in params}, params)
    assert "bag_of_words" in begun


def test_numbers_of_numpy_go_on_as_numbers_of_python(tmp_path):
    fit(
        settings(num_steps=2), workdir=tmp_path, seed=np.int64(0), objective=zf_jax.Objective(free_nats=np.float64(0.5))
    )
    model = dataclasses.replace(MODEL, rnn_dim=np.int64(3))
    objective = zf_jax.Objective(free_nats=0.5)
    again = zf_jax.fit(
        model, data(), settings(num_steps=4), optimizer=optimizer(), workdir=tmp_path, objective=objective
    )
    assert int(again.state.step) == 4


@pytest.mark.parametrize(
    "options, match",
    [
        ({"settings": {"num_steps": 3}}, "settings must be a zf_jax.FitSettings, not dict"),
        ({"optimizer": 1e-3}, r"optimizer must be one of optax, such as optax.adam\(1e-3\), not float"),
        ({"objective": "elbo"}, "objective must be a zf_jax.Objective, not str"),
        (
            {"schedules": zf_jax.Schedules(kl_temperature=0.5)},
            "kl_temperature of Schedules must be a function of the step",
        ),
    ],
)
def test_arguments_of_another_kind_are_refused_by_name(options, match):
    with pytest.raises(TypeError, match=match):
        fit(**options)
