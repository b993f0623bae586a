"""What ends a training from Python: a callback, patience, and updates that are not finite."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small_fit import MODEL, STILL, fit, same, settings, whole

import zf_jax
from zf_jax.fitting.result import Diverged
from zf_jax.runs.checkpoints import Checkpoints
from zf_jax.training import _norm


@pytest.mark.parametrize("split, at", [("train", 6), ("valid", 8)])
def test_a_callback_sees_the_state_of_its_step_and_may_stop(split, at):
    seen = []

    def callback(report):
        seen.append((report.split, report.step, int(report.state.step), report.metrics["elbo_nats_per_sequence"]))
        return report.split == split and report.step >= at

    found = fit(callbacks=[lambda report: "not True", callback])
    assert (int(found.state.step), found.ended_by) == (at, "callback")
    assert [line[1] for line in seen] == [line[2] for line in seen]
    assert [(line[0], line[1], line[3]) for line in seen] == [
        (line["split"], line["step"], line["elbo_nats_per_sequence"]) for line in found.history
    ]
    same(fit(state=found.state).state, whole().state)


def test_a_stopped_training_is_saved_where_it_stopped(tmp_path):
    found = fit(callbacks=[lambda report: report.step >= 2], workdir=tmp_path)
    with Checkpoints(tmp_path, create=False) as checkpoints:
        assert checkpoints.steps() == [2]
    same(fit(workdir=tmp_path).state, whole().state)
    assert int(found.state.step) == 2


def test_patience_ends_a_training_that_does_not_gain():
    for optimizer in (STILL, optax.sgd(-0.1)):  # every validation equals the first, or is below it
        found = fit(settings(num_steps=40, patience=8), optimizer=optimizer)
        assert found.ended_by == "patience"
        assert int(found.state.step) == 12
        assert found.best is not None
        assert found.best[0] == 4


def test_patience_counts_on_where_a_run_was_stopped(tmp_path):
    fit(settings(num_steps=8, patience=12), optimizer=STILL, workdir=tmp_path)
    again = fit(settings(num_steps=40, patience=12), optimizer=STILL, workdir=tmp_path)
    assert (int(again.state.step), again.ended_by) == (16, "patience")
    with Checkpoints(tmp_path, create=False) as checkpoints:
        assert checkpoints.best == again.best
        assert checkpoints.best_step == 4, "of equal validations the first is the best, and stays"
        assert 4 in checkpoints.steps()


def test_patience_counts_from_where_a_state_goes_on():
    half = fit(settings(num_steps=8), optimizer=STILL)
    found = fit(settings(num_steps=40, patience=8), optimizer=STILL, state=half.state)
    assert (int(found.state.step), found.ended_by) == (20, "patience")  # the first validation there is at 12
    found = fit(settings(num_steps=40, patience=8), optimizer=optax.sgd(-0.1), state=half.state)
    assert int(found.state.step) >= 16 and found.ended_by == "patience"


def test_parameters_that_begin_not_finite_end_it():
    params = jax.tree.map(lambda x: x * np.nan, MODEL.init(jax.random.key(0)))
    with pytest.raises(Diverged, match=r"the parameters are not finite at step 2: .*; no checkpoint was written"):
        fit(params=params)


def test_parameters_that_are_not_finite_are_saved_nowhere_after_skipped_updates(tmp_path):
    params = jax.tree.map(lambda x: x * np.nan, MODEL.init(jax.random.key(0)))
    rare = settings(log_every=4, eval_every=12, checkpoint_every=12, max_skipped_in_a_row=4)
    with pytest.raises(Diverged, match=r"the parameters are not finite at step 4: .* no checkpoint was written"):
        fit(rare, params=params, workdir=tmp_path)


def test_the_norm_of_half_precision_does_not_overflow():
    assert _norm({"kernel": jnp.ones((400, 400), jnp.float16)}) == 400.0


def test_updates_that_are_not_finite_end_it():
    schedule = optax.constant_schedule(np.nan)  # of a weight: the loss is not finite
    with pytest.raises(Diverged, match="4 updates in a row were not finite, up to step 4; no checkpoint was written"):
        fit(settings(max_skipped_in_a_row=4), schedules=zf_jax.Schedules(kl_temperature=schedule))


@pytest.mark.parametrize("stop", [np.True_, np.array(True), jnp.array(True)])
def test_a_callback_stops_with_a_true_of_any_library(stop):
    found = fit(callbacks=[lambda report: stop])
    assert (int(found.state.step), found.ended_by) == (2, "callback")
    for answer in (np.float32(1.0), jnp.array([True, False]), np.array([True])):
        assert fit(callbacks=[lambda report, answer=answer: answer]).ended_by == "num_steps"


@pytest.mark.parametrize("eval_every, left", [(4, "best validation, step 4"), (12, "newest checkpoint is of step 6")])
def test_parameters_that_are_not_finite_end_it_and_are_not_saved(eval_every, left, tmp_path):
    broken = optax.sgd(lambda step: jnp.where(step < 6, 0.01, jnp.inf))  # the seventh update's own step is not finite
    options = {"workdir": tmp_path, "settings": settings(eval_every=eval_every)}
    with pytest.raises(Diverged, match=f"parameters are not finite at step 8: .* {left}"):
        fit(optimizer=broken, **options)
    with Checkpoints(tmp_path, create=False) as checkpoints:
        saved = checkpoints.restore_newest(fit(settings(num_steps=1), optimizer=broken).state)
    assert saved is not None
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved[0].params))
    assert fit(optimizer=optax.sgd(lambda step: 0.01), **options).ended_by == "num_steps"


def test_a_first_update_that_breaks_the_parameters_leaves_no_checkpoint(tmp_path):
    broken = optax.adam(lambda step: 1e-3 / jnp.sqrt(step))
    for options in ({}, {"workdir": tmp_path}):
        with pytest.raises(Diverged, match=r"parameters are not finite at step 1: .*no checkpoint was written"):
            fit(settings(num_steps=1), optimizer=broken, **options)
    assert fit(workdir=tmp_path).ended_by == "num_steps"
