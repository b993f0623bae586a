"""LSTMs on top of each other: a loop agrees, probabilities sum to 1, and one layer is the model as it was."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from helpers.models_under_test import random_noise, random_params, small, targets_batch
from reference import brute_force

from zf_jax import bounds, generation
from zf_jax.models import rnn
from zf_jax.nn import recurrence
from zf_jax.typing import Observation

pytestmark = pytest.mark.x64


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def by_hand(params, inputs, targets):
    """log p(y) of one sequence of bits, layer by layer and step by step."""
    layers = [params["forward"], params["forward_1"], params["forward_2"]]
    states = [(np.zeros(5), np.zeros(5)) for _ in layers]
    total = 0.0
    for u, y in zip(inputs, targets, strict=True):
        x = params["embedding"]["embedding"][u]
        for index, layer in enumerate(layers):
            hidden, cell = states[index]
            gates = x @ layer["input"]["kernel"] + layer["input"]["bias"] + hidden @ layer["recurrent"]["kernel"]
            i, f, g, o = np.split(gates, 4)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            x = sigmoid(o) * np.tanh(cell)
            states[index] = x, cell
        logit = x @ params["emission"]["logits"]["kernel"][:, 0] + params["emission"]["logits"]["bias"][0]
        total += np.log(sigmoid(logit if y else -logit))
    return total


def test_three_layers_are_those_of_a_loop_and_of_total_probability_one():
    model = small("rnn", num_layers=3)
    params = random_params(model)
    sequences = brute_force.all_binary_sequences(5)
    batch = targets_batch(Observation("tokens", 2), sequences)
    found = jax.jit(lambda p: bounds.elbo(model, p, batch, noise=random_noise(model, batch)))(params)
    held = jax.tree.map(np.asarray, params)
    expected = [by_hand(held, *pair) for pair in zip(np.asarray(batch.inputs), sequences, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.exp(found).sum() == pytest.approx(1.0, rel=1e-9)


def test_what_is_drawn_has_the_probabilities_of_what_is_scored():
    model = small("rnn", num_layers=2)
    params = random_params(model)
    drawn = generation.sample(model, params, jax.random.key(0), num_samples=3, length=5)
    batch = targets_batch(model.observation, np.asarray(drawn.values))
    again = generation.reconstruct(model, params, batch, noise=random_noise(model, batch))
    np.testing.assert_allclose(drawn.mean, again.mean, rtol=1e-9)


def test_no_two_layers_share_a_key(monkeypatch):
    """Each layer draws from the two halves of its key and the four quarters of the second half."""
    layers = []
    monkeypatch.setattr(rnn, "init_lstm", lambda key, *sizes: layers.append(key) or recurrence.init_lstm(key, *sizes))
    small("rnn", num_layers=4).init(jax.random.key(0))
    used = []
    for key in layers:
        halves = jax.random.split(key)
        used += [key, *halves, *jax.random.split(halves[1], 4)]
    assert len(layers) == 4
    assert len({jax.random.key_data(key).tobytes() for key in used}) == 4 * 7


def test_one_layer_has_the_parameters_that_it_had():
    model = small("rnn")
    assert set(model.init(jax.random.key(0))) == {"embedding", "forward", "emission"}
    more = small("rnn", num_layers=2).init(jax.random.key(0))
    jax.tree.map(
        np.testing.assert_array_equal,
        {k: more[k] for k in model.init(jax.random.key(0))},
        model.init(jax.random.key(0)),
    )
    with pytest.raises(ValueError, match="num_layers"):
        small("rnn", num_layers=0)
