"""Several updates in one call of the device: which ones, and that nothing else changes."""

import dataclasses
import itertools
import signal

import jax
import numpy as np
import pytest
from helpers.few import few

from experiments.configs import base
from experiments.lib import console, training_loop
from experiments.lib.experiment import build, initial_state
from experiments.lib.run_folder import restore
from zf_jax import Batch
from zf_jax.fitting import loop
from zf_jax.fitting.calls import grouped
from zf_jax.runs.metrics import read_metrics


def of_length(steps):
    return Batch(*(np.zeros((2, steps)) for _ in range(4)), np.full(2, steps))


def sizes(lengths, step, size, due):
    """How many updates each call holds, from ``step`` on, of batches padded to ``lengths``."""
    batches = (of_length(length) for length in itertools.chain(lengths[step:], itertools.repeat(lengths[-1])))
    groups = grouped(batches, step, size, due)
    found = []
    while step < len(lengths):
        group = next(groups)
        assert [batch.mask.shape[1] for batch in group] == lengths[step : step + len(group)]
        found.append(len(group))
        step += len(group)
    return found


def test_no_group_runs_past_a_step_at_which_something_is_due():
    every_five = lambda step: step % 5 == 0  # noqa: E731
    assert sizes([9] * 15, 0, 3, every_five) == [3, 1, 1] * 3
    assert sizes([9] * 15, 0, 5, every_five) == [5, 5, 5]
    assert sizes([9] * 15, 0, 6, every_five) == [1] * 15
    assert sizes([9] * 4, 0, 1, every_five) == [1] * 4


def test_no_group_mixes_padded_lengths():
    assert sizes([9, 9, 9, 4, 4, 9, 9, 9, 9], 0, 3, lambda step: step == 9) == [3, 1, 1, 3, 1]


def test_groups_that_start_where_a_group_started_are_the_same_groups():
    lengths = [int(n) for n in np.random.default_rng(0).choice([4, 9], 60, p=[0.1, 0.9])]
    due = lambda step: step % 11 == 0 or step == 60  # noqa: E731
    whole = sizes(lengths, 0, 4, due)
    assert set(whole) == {1, 4}
    for calls, start in enumerate(itertools.accumulate(whole[:-1]), 1):
        assert sizes(lengths, start, 4, due) == whole[calls:]


def tiny_config(updates_per_call):
    config = base.get_base()
    config.data.name = "digits"
    config.model.update(name="storn", rnn_dim=8, latent_dim=2, mlp_dim=8, embed_dim=4)
    config.objective.update(kl_temperature_start=0.2, kl_temperature_steps=12, aux_weight=0.01, reverse_weight=0.01)
    config.train.update(num_steps=20, batch_size=8, log_every=5, eval_every=20, checkpoint_every=10, eval_sequences=8)
    config.train.update(updates_per_call=updates_per_call, pictures=False)
    return config


def state_of(workdir):
    return jax.device_get(restore(str(workdir), "latest").state)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run with three updates a call, never interrupted."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    training_loop.train(tiny_config(3), str(workdir))
    return workdir


def test_three_updates_a_call_give_the_parameters_and_the_metrics_of_one(whole_run, tmp_path):
    training_loop.train(tiny_config(1), str(tmp_path))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state_of(whole_run), state_of(tmp_path)
    )
    for three, one in zip(read_metrics(whole_run), read_metrics(tmp_path), strict=True):
        for name in ("step", "split", "loss", "kl_temperature", "grad_norm", "skipped_updates", "learning_rate"):
            assert (name in three) == (name in one)
            if isinstance(three.get(name), float):
                np.testing.assert_allclose(three[name], one[name], rtol=1e-3)
            else:
                assert three.get(name) == one.get(name)


def test_no_more_than_two_calls_wait_for_the_device(monkeypatch):
    """A slow device is given work of three updates at most: else a signal, or the end of a job, waits for dozens."""
    given, done = [], []
    monkeypatch.setattr(loop, "make_train_step", lambda *_: lambda state, batch, key: update(state))
    monkeypatch.setattr(loop, "make_eval_step", lambda *_: None)
    waited = jax.block_until_ready

    def update(state):
        given.append(len(given))
        assert len(given) - len(done) <= 3
        return state._replace(step=state.step + 1), {"number": given[-1], "param_norm": np.float32(1.0)}

    def wait(tree):
        if isinstance(tree, dict) and "number" in tree:
            done.append(tree["number"])
        return waited(tree)

    monkeypatch.setattr(jax, "block_until_ready", wait)
    experiment = build(tiny_config(1))
    rarely = dict.fromkeys(("log_every", "eval_every", "checkpoint_every"), 100)
    settings = dataclasses.replace(experiment.fit_settings(), num_steps=9, **rarely)
    parts = experiment.model, experiment.data, experiment.optimizer, experiment.mesh
    alone = loop.Loop(*parts, settings)
    monkeypatch.setattr(alone, "_log", lambda *_: None)
    monkeypatch.setattr(alone, "_validate_and_save", lambda *_: None)
    assert int(alone.run(initial_state(experiment)).state.step) == 9
    assert given == list(range(9)) and done == list(range(7)), "each in its turn, two behind"


def test_a_signal_stops_the_run_after_the_call_and_it_goes_on_to_the_same_end(whole_run, tmp_path, monkeypatch):
    real, calls = loop.make_train_steps, []

    def make_signalled(*parts):
        updates = real(*parts)

        def signalled(*arguments):
            calls.append(1)
            if len(calls) == 2:
                signal.raise_signal(signal.SIGTERM)
            return updates(*arguments)

        return signalled

    monkeypatch.setattr(loop, "make_train_steps", make_signalled)
    stopped = training_loop.train(tiny_config(3), str(tmp_path))
    assert (stopped["interrupted"], stopped["step"]) == (True, 8)  # the calls: 1-3, 4, 5, 6-8
    assert training_loop.train(tiny_config(3), str(tmp_path))["step"] == 20
    jax.tree.map(np.testing.assert_array_equal, state_of(whole_run), state_of(tmp_path))


def test_a_signal_after_the_last_update_is_not_lost(tmp_path, monkeypatch):
    """The run is finished, and a program that trains several runs must not begin the next."""
    real = training_loop.plotting.draw_curves

    def draw_curves(path):
        signal.raise_signal(signal.SIGTERM)
        real(path)

    monkeypatch.setattr(training_loop.plotting, "draw_curves", draw_curves)
    config = tiny_config(3)
    config.train.num_steps = 3
    found = training_loop.train(config, str(tmp_path))
    assert (found["step"], found["interrupted"]) == (3, True)
    monkeypatch.undo()
    assert training_loop.train(config, str(tmp_path))["interrupted"] is False


def test_a_picture_that_cannot_be_drawn_ends_no_run_and_loses_no_checkpoint(tmp_path, monkeypatch, capsys):
    def draw(gallery, params, folder, seed):
        if seed == 4:
            raise KeyboardInterrupt
        raise ValueError("no such glyph")

    monkeypatch.setattr(console.Gallery, "draw", draw)
    config = tiny_config(1)
    config.train.update(num_steps=6, eval_every=2, checkpoint_every=2, pictures=True)
    with pytest.raises(KeyboardInterrupt):
        training_loop.train(config, str(tmp_path))
    assert "the pictures of step 2 are not written: ValueError: no such glyph" in capsys.readouterr().err
    assert int(restore(str(tmp_path), "latest").state.step) == 4


@pytest.mark.parametrize("patience, last, best", few([(0, 20, 4), (4, 8, 4), (6, 16, 10)], (4, 8, 4)))
def test_patience_ends_a_run_whose_validation_no_longer_gains(patience, last, best, tmp_path, monkeypatch):
    elbos = [-5.0, -4.0, -4.5, -4.25, -3.0 if patience == 6 else -4.4, -4.5, -4.6, -4.5, -4.6, -4.1]

    def validation(loop, state):
        elbo = elbos[int(state.step) // loop.settings.eval_every - 1]
        return {"elbo_nats_per_sequence": elbo, "kl_nats_per_sequence": 0.0}

    monkeypatch.setattr(loop.Loop, "_validate", validation)
    config = tiny_config(1)
    config.train.update(patience=patience, eval_every=2, checkpoint_every=2)
    found = training_loop.train(config, str(tmp_path))
    assert (found["step"], found["stopped_early"], found["interrupted"]) == (last, last < 20, False)
    assert int(restore(str(tmp_path), "best").state.step) == best
    again = training_loop.train(config, str(tmp_path))
    assert (again["step"], again["stopped_early"]) == (last, last < 20), "a finished run is only read"
    if patience == 4:
        config.train.patience = 0
        assert training_loop.train(config, str(tmp_path))["step"] == 20, "and goes on where it may"
