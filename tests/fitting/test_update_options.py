"""Updates of a batch in pieces, with an average of the parameters, and with any optimiser of optax."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import optax
import pytest
from helpers.models_under_test import random_batch, random_params, small

import zf_jax
from zf_jax.averaging import averaged_params
from zf_jax.objective.gradient import Gradient

MODEL = small("storn", "words")
PARAMS = random_params(MODEL)
# Rows of several lengths, two of them fillers: the pieces of the batch do not count alike.
BATCH = random_batch(MODEL.observation, lengths=(4, 1, 0, 3, 2, 4, 0, 1), num_steps=4)
KEY = jax.random.key(3)
WEIGHTS = zf_jax.Weights(kl_temperature=0.7)


@functools.cache
def found(accumulate, settings=zf_jax.Objective()):
    """Loss, metrics and gradient of the batch, and the loss's own value and derivative."""

    params = jax.tree.map(lambda x: np.asarray(x, jax.numpy.result_type(float)), PARAMS)

    def both(params):
        of = Gradient(MODEL, BATCH, KEY, WEIGHTS, settings, accumulate=accumulate)
        return of.value_and_gradient(params), jax.value_and_grad(of.value)(params)

    return jax.device_get(jax.jit(both)(params))


def close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


@pytest.mark.x64
@pytest.mark.parametrize(
    "settings",
    [zf_jax.Objective(), pytest.param(zf_jax.Objective(bound="iwae", num_samples=2), marks=pytest.mark.slow)],
)
def test_a_batch_in_pieces_has_the_gradient_and_the_metrics_of_the_whole(settings):
    whole, _ = found(1, settings)
    pieces, _ = found(4, settings)
    close(pieces, whole, rtol=1e-9, atol=1e-12)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(whole[1])) > 0.1


@pytest.mark.x64
@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_loss_that_a_line_search_evaluates_is_the_loss_of_the_update(accumulate):
    ((loss, _), gradients), own = found(accumulate)
    close(own, (loss, gradients), rtol=1e-9, atol=1e-12)


def test_a_batch_that_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="8 rows cannot be cut into accumulate=3"):
        Gradient(MODEL, BATCH, KEY, WEIGHTS, zf_jax.Objective(), accumulate=3)


PLAIN = small("rnn", "words")  # the quickest to compile
PLAIN_PARAMS = random_params(PLAIN)


def state_of(optimizer):
    zeros = [jax.numpy.zeros((), jax.numpy.int32) for _ in range(3)]
    return zf_jax.TrainState(zeros[0], PLAIN_PARAMS, optimizer.init(PLAIN_PARAMS), *zeros[1:])


def updates(optimizer, number=1, **options):
    """The states after each of ``number`` updates."""
    states = [state_of(optimizer)]
    for _ in range(number):
        states.append(zf_jax.update(PLAIN, optimizer, states[-1], BATCH, KEY, WEIGHTS, **options)[0])
    return states[1:]


@pytest.mark.slow
def test_an_update_in_pieces_is_the_update():
    (one,), (four,) = updates(optax.sgd(0.1)), updates(optax.sgd(0.1), accumulate=4)
    close(one, four)


def test_the_average_weighs_the_last_parameters_most_and_leaves_the_first_out():
    states = updates(zf_jax.with_average(optax.sgd(0.1), 0.5), 3)
    # 0.5^n of the last but n, divided by the sum of the weights: 1/7, 2/7, 4/7.
    expected = jax.tree.map(lambda *x: np.average(x, axis=0, weights=[1, 2, 4]), *(state.params for state in states))
    close(zf_jax.evaluated_params(states[-1]), expected)
    plain = updates(optax.sgd(0.1), 3)
    jax.tree.map(np.testing.assert_array_equal, states[-1].params, plain[-1].params)
    assert zf_jax.evaluated_params(plain[-1]) is plain[-1].params


def test_the_average_is_found_inside_a_chain_and_kept_in_single_precision():
    optimizer = optax.chain(optax.clip(1.0), zf_jax.with_average(optax.sgd(1e-4), 0.9))
    half = jax.tree.map(lambda x: x.astype(jax.numpy.bfloat16), PARAMS)
    state: Any = optimizer.init(half)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state[1].average)} == {"float32"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(averaged_params(half, state))} == {"bfloat16"}


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, float("nan")])
def test_a_decay_that_makes_no_sense_is_refused(decay):
    with pytest.raises(ValueError, match="between 0 and 1"):
        zf_jax.with_average(optax.sgd(0.1), decay)


@functools.cache
def loss_and_gradient():
    """Of the first update, whose key is folded from its step."""
    of = Gradient(PLAIN, BATCH, jax.random.fold_in(KEY, 0), WEIGHTS, zf_jax.Objective())
    (loss, _), gradients = jax.jit(of.value_and_gradient)(PLAIN_PARAMS)
    return loss, gradients


def test_an_optimiser_is_given_the_loss():
    (state,) = updates(optax.contrib.reduce_on_plateau(factor=0.5, patience=1, accumulation_size=1))
    loss, gradients = loss_and_gradient()
    np.testing.assert_allclose(state.opt_state.best_value, loss, rtol=1e-5)
    (polyak,) = updates(optax.polyak_sgd(max_learning_rate=1.0))
    rate = min(1.0, loss / sum(np.sum(leaf**2) for leaf in jax.tree.leaves(gradients)))
    close(polyak.params, jax.tree.map(lambda x, g: x - rate * g, PLAIN_PARAMS, gradients))


def test_a_line_search_is_given_the_function():
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=6)
    (state,) = updates(optax.chain(optax.sgd(0.5), search))
    of = Gradient(PLAIN, BATCH, jax.random.fold_in(KEY, 0), WEIGHTS, zf_jax.Objective())
    after = jax.jit(of.value)(state.params)
    np.testing.assert_allclose(state.opt_state[1].value, after, rtol=1e-4)


def test_an_optimiser_that_wants_what_an_update_has_not_is_refused():
    def update(updates, state, params=None, *, hessian, **extra):
        return updates, state

    wanting: Any = update
    optimizer = optax.GradientTransformationExtraArgs(lambda params: (), wanting)
    with pytest.raises(ValueError, match="the optimiser wants 'hessian'"):
        updates(optimizer)
