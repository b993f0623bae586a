"""The train step: what an update changes, what it leaves alone, and that it compiles once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.models_under_test import random_params, take

from zf_jax import Batch, Observation, build_model, init_state, make_optimizer, update
from zf_jax.evaluation.scoring import make_eval_step
from zf_jax.sharding import check_batch_size, data_mesh, global_batch, global_batches, replicated
from zf_jax.training import Schedules, make_train_step, make_train_steps

ROWS, STEPS = 4, 6
OPTIMIZER = make_optimizer(1e-2, 10.0)  # one for all tests: an update is compiled once for a model and an optimiser
SCHEDULES = Schedules(kl_temperature=optax.linear_schedule(0.2, 1.0, 10))


@pytest.fixture(scope="module")
def model():
    return build_model(
        "storn", Observation("frames", 3), emission="gaussian", rnn_dim=5, latent_dim=2, mlp_dim=4, embed_dim=3
    )


@pytest.fixture(scope="module")
def initial(model):
    return jax.device_get(jax.jit(lambda key: init_state(model, OPTIMIZER, key))(jax.random.key(0)))


@pytest.fixture
def batch():
    frames = np.random.default_rng(0).normal(size=(ROWS, STEPS, 3)).astype(np.float32)
    inputs = np.concatenate([np.zeros_like(frames[:, :1]), frames[:, :-1]], axis=1)
    mask = np.ones((ROWS, STEPS), np.float32)
    input_mask = mask.copy()
    input_mask[:, 0] = 0
    return Batch(inputs, frames, mask, input_mask, np.full(ROWS, STEPS, np.int32))


def trees_equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_training_raises_the_elbo_of_a_fixed_batch(model, batch, initial):
    state, first = initial, None
    for _ in range(60):
        state, metrics = update(model, OPTIMIZER, state, batch, jax.random.key(1))
        first = metrics["elbo_nats_per_sequence"] if first is None else first
    assert metrics["elbo_nats_per_sequence"] > first + 1.0
    assert int(state.step) == 60


def test_an_update_that_is_not_finite_changes_nothing_but_the_counters(model, batch, initial):
    state, step = initial, jax.jit(lambda state, batch: update(model, OPTIMIZER, state, batch, jax.random.key(1)))
    broken = batch._replace(targets=np.full_like(batch.targets, np.nan))  # which outside of jit would be refused
    for expected in (1, 2):
        after, metrics = step(state, broken)
        assert trees_equal((after.params, after.opt_state), (state.params, state.opt_state))
        assert int(after.skipped_updates) == int(after.skipped_in_a_row) == expected
        assert int(after.step) == int(state.step) + 1
        assert not np.isfinite(metrics["loss"])
        state = after
    after, _ = step(state, batch)
    assert not trees_equal(after.params, state.params)
    assert (int(after.skipped_updates), int(after.skipped_in_a_row)) == (2, 0)


def test_the_train_step_compiles_once_and_equals_the_pure_update(model, batch, initial):
    mesh, key = data_mesh(jax.devices()[:1]), jax.random.key(1)
    step = make_train_step(model, OPTIMIZER, mesh, SCHEDULES)
    state = jax.device_put(initial, replicated(mesh))
    expected, _ = update(model, OPTIMIZER, state, batch, key, SCHEDULES(jnp.asarray(0)))
    for _ in range(3):
        state, metrics = step(state, batch, key)
        if int(state.step) == 1:
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), state, expected)
    assert step._cache_size() == 1
    np.testing.assert_allclose(metrics["kl_temperature"], 0.2 + 0.8 * 2 / 10, rtol=1e-6)


def test_several_updates_in_one_call_are_those_of_several_calls(model, batch, initial):
    mesh, key = data_mesh(jax.devices()[:1]), jax.random.key(1)
    batches = [
        batch,
        batch._replace(targets=np.full_like(batch.targets, np.nan)),
        batch._replace(targets=batch.targets[::-1]),
    ]

    def start():
        return jax.device_put(initial, replicated(mesh))

    step, expected = make_train_step(model, OPTIMIZER, mesh, SCHEDULES), start()
    for one in batches:
        expected, metrics = step(expected, global_batch(one, mesh), key)  # where no value is checked
    steps = make_train_steps(model, OPTIMIZER, mesh, SCHEDULES)
    found, last = steps(start(), global_batches(batches, mesh), key)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), (found, last), (expected, metrics)
    )
    assert int(found.step) == 3
    assert int(last["skipped_updates"]) == 1


@pytest.mark.parametrize("make", [make_train_step, make_train_steps])
def test_an_update_holds_the_gradients_beside_the_state_and_no_copy_of_it(make, batch):
    # A large table and few data: next to it nothing else counts.
    model = build_model("rnn", Observation("tokens", 4000), emission="categorical", rnn_dim=64, embed_dim=64)
    optimizer, mesh, words = make_optimizer(1e-3), data_mesh(jax.devices()[:1]), np.zeros((ROWS, STEPS), np.int32)
    batch = batch._replace(inputs=words, targets=words)
    state = jax.eval_shape(lambda: init_state(model, optimizer, jax.random.key(0)))
    data = batch if make is make_train_step else global_batches([batch] * 3, mesh)
    compiled = make(model, optimizer, mesh).lower(state, data, jax.random.key(1)).compile()
    memory, of_params = compiled.memory_analysis(), sum(x.size * 4 for x in jax.tree.leaves(state.params))
    assert memory.temp_size_in_bytes < 1.5 * of_params
    assert memory.alias_size_in_bytes >= 3 * of_params


def test_every_update_draws_noise_of_its_own(model, batch, initial):
    _, first = update(model, OPTIMIZER, initial, batch, jax.random.key(1))
    _, second = update(model, OPTIMIZER, initial._replace(step=initial.step + 1), batch, jax.random.key(1))
    assert abs(float(first["elbo_nats_per_sequence"] - second["elbo_nats_per_sequence"])) > 1e-3


@pytest.mark.parametrize("bound", ["elbo", "iwae", "particle"])
def test_an_evaluated_sequence_depends_neither_on_its_place_nor_on_its_padding(model, batch, bound):
    params = random_params(model)
    step = make_eval_step(model, data_mesh(jax.devices()[:1]), bound, num_samples=3)
    key, indices = jax.random.key(2), np.arange(ROWS, dtype=np.uint32)
    whole = step(params, batch, key, indices)
    order = np.asarray([2, 0, 3, 1])
    longer = Batch(*(np.concatenate([leaf, np.full_like(leaf[:, :2], 0)], axis=1) for leaf in batch[:4]), batch.lengths)
    moved = step(params, take(longer, order), key, indices[order])
    for name in whole:
        np.testing.assert_allclose(np.asarray(whole[name])[order], moved[name], rtol=1e-5)


def test_an_unknown_bound_and_an_uneven_batch_are_refused(model):
    mesh = data_mesh(jax.devices()[:1])
    with pytest.raises(ValueError, match="elbo"):
        make_eval_step(model, mesh, "best")
    with pytest.raises(ValueError, match="batch of 0"):
        check_batch_size(0, mesh)
