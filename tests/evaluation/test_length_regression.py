"""The regression of length: features by the equations in plain numpy, least squares and R² by scikit-learn."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from helpers.models_under_test import random_params, small
from reference import numpy_zforcing as reference
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from zf_jax.bounds.noise import seed_key
from zf_jax.data import from_arrays
from zf_jax.evaluation.length_regression import length_regression, r_squared

pytestmark = pytest.mark.x64
STEPS = 2


def read_by_hand(params, model, targets, noise):
    """Return z_1, z_2 as one vector, and h_2, of one sequence; ``noise`` ``[>= 2, Z]`` is that of its latents."""
    b = reference.backward_states(params, model, targets)
    h = c = np.zeros(model.rnn_dim)
    latents = []
    for t, u in enumerate([model.observation.start_token, *targets[: STEPS - 1]]):
        mean, log_sigma = reference.posterior(params, model, h, b[t], u)
        z = reference.draw(mean, log_sigma, noise[t])
        h, c = reference.forward_state(params, model, u, z, h, c)
        latents.append(z)
    return np.concatenate(latents), h


def test_r2_of_latents_and_state_by_hand():
    model = small("zforcing", "words")
    params = random_params(model)
    rng = np.random.default_rng(0)
    sequences = {
        split: [rng.integers(0, 5, size=length) for length in rng.integers(2, 6, size=number)]
        for split, number in (("train", 40), ("test", 20))
    }
    data = from_arrays(sequences, observation=model.observation)
    key = seed_key(3)
    found = length_regression(
        model, params, data.split("train"), data.split("test"), key=key, num_steps=STEPS, batch_size=32
    )
    # Each sequence with the noise of its own key: the same numbers whatever batch it comes in.
    longer = {
        split: [
            (one, jax.random.normal(jax.random.fold_in(own, index), (STEPS, model.latent_dim), float))
            for index, one in enumerate(sequences[split])
            if len(one) > STEPS
        ]
        for split, own in zip(("train", "test"), jax.random.split(key), strict=True)
    }
    assert (found["num_train"], found["num_test"]) == (len(longer["train"]), len(longer["test"]))
    for place, name in enumerate(("latents", "state")):
        x, new_x = ([read_by_hand(params, model, *one)[place] for one in longer[s]] for s in ("train", "test"))
        y, new_y = ([len(one) for one, _ in longer[s]] for s in ("train", "test"))
        expected = r2_score(new_y, LinearRegression().fit(x, y).predict(new_x))
        assert found[name] == pytest.approx(expected, abs=1e-8), name


def test_a_column_that_varies_by_rounding_alone_is_a_constant_one():
    rng = np.random.default_rng(0)
    x, new_x = rng.normal(size=(30, 2)), rng.normal(size=(20, 2))
    y, new_y = (each.sum(axis=1) + rng.normal(size=len(each)) for each in (x, new_x))
    rounded, new_rounded = (1 + 1e-9 * rng.normal(size=(n, 20)) for n in (30, 20))
    expected = r_squared(x, y, new_x, new_y)
    found = r_squared(np.concatenate([x, rounded], axis=1), y, np.concatenate([new_x, new_rounded], axis=1), new_y)
    assert expected is not None and found == pytest.approx(expected, abs=1e-12)


def test_a_feature_that_is_the_length_has_r2_of_one_and_equal_lengths_have_none():
    rng = np.random.default_rng(0)
    y, new_y = rng.integers(3, 9, size=30), rng.integers(3, 9, size=20)
    x, new_x = (np.stack([length, np.ones_like(length)], axis=1) for length in (y, new_y))  # a constant column too
    assert r_squared(x, y, new_x, new_y) == pytest.approx(1.0)
    assert r_squared(x, y, new_x, np.full(20, 4)) is None
