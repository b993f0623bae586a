"""What was not observed is no truth that a forecast is held against."""

from types import SimpleNamespace

import numpy as np
from helpers.models_under_test import random_params

import zf_jax
from experiments.lib import forecast_draws
from zf_jax.data import from_arrays
from zf_jax.data.description import DataDescription


def test_a_missing_token_of_two_is_no_truth():
    rows = np.array([[0, 1, -1, 1], [1, 0, 1, -1], [0, 0, 1, 1]])
    data = from_arrays({"train": rows, "valid": rows}, observation=zf_jax.Observation("tokens", 2), missing=True)
    model = zf_jax.build_model("rnn", data.observation, emission="bernoulli", rnn_dim=2, embed_dim=2)
    run = SimpleNamespace(model=model, params=random_params(model), data=DataDescription.of(data))
    found = forecast_draws.draw(run, data.split("valid"), 2, 2, 3, 2, 0)
    np.testing.assert_array_equal(found.truth, [[np.nan, 1], [1, np.nan], [1, 1]])
