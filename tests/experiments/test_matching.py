"""Widths chosen so that models have equally many parameters."""

import numpy as np
import pytest

from examples import new_model
from experiments.configs import digits
from experiments.lib.cli import UserError
from experiments.lib.experiment import build_config_model
from experiments.lib.matching import match, parameter_count
from zf_jax.data import load
from zf_jax.models import MODELS


@pytest.fixture(scope="module")
def data():
    return load("digits")


@pytest.mark.parametrize("target", [2_100, 50_000])
def test_no_other_width_comes_nearer(data, target):
    config = digits.get_config("pixels")
    config.model.name = "rnn"
    matched = match(config, data, target)
    assert matched.model.rnn_dim != config.model.rnn_dim

    def count(width):
        config.model.rnn_dim = width
        return parameter_count(build_config_model(config, data))

    widths = [*range(1, 10, 4), *range(matched.model.rnn_dim - 2, matched.model.rnn_dim + 3), 500]
    gaps = [abs(count(width) - target) for width in widths]
    assert widths[np.argmin(gaps)] == matched.model.rnn_dim


def test_a_model_without_a_width_is_refused(data, monkeypatch):
    monkeypatch.setitem(MODELS, "markov", new_model.Markov)
    config = digits.get_config("pixels")
    config.model.name = "markov"
    with pytest.raises(UserError, match="'markov' has no rnn_dim"):
        match(config, data, 50_000)
