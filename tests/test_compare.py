"""The comparison: every model by the same evaluation, floors beside them, parameter counts matched on request."""

import json

import numpy as np
import pytest
from test_experiments import tiny_config

from experiments import comparison
from experiments.command_line import UserError
from experiments.tables import table
from zf_jax.data import DataError


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("compare")
    config = tiny_config(**{"train.num_steps": 2, "train.log_every": 1})
    found = comparison.compare(
        config, workdir, models=["zforcing", "rnn"], seeds=[0], num_samples=2, split="valid", match_parameters=True
    )
    assert json.loads((workdir / "compare.json").read_text()) == found
    return {row["model"]: row for row in found}


def test_models_and_floors_stand_in_one_table(rows):
    assert set(rows) == {"zforcing", "rnn", "independent pixels"}
    text = table(list(rows.values())).splitlines()
    assert len(text) == 5
    assert len({len(line) for line in text}) == 1
    assert "IWAE-2" in text[0]


def test_a_model_without_latents_has_an_exact_likelihood(rows):
    np.testing.assert_allclose(rows["rnn"]["elbo.nats_per_sequence"], rows["rnn"]["iwae.nats_per_sequence"], rtol=1e-6)
    assert rows["rnn"]["elbo.kl_nats_per_sequence"] == 0.0
    assert rows["zforcing"]["iwae.nats_per_sequence"] > rows["zforcing"]["elbo.nats_per_sequence"]


def test_parameter_counts_are_matched(rows):
    assert abs(rows["rnn"]["parameters"] / rows["zforcing"]["parameters"] - 1) < 0.1


def test_a_comparison_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="at least one model"):
        comparison.compare(tiny_config(), tmp_path, models=[], seeds=[0], num_samples=2)
    with pytest.raises(DataError, match="no split 'dev'"):
        comparison.compare(tiny_config(), tmp_path, models=["rnn"], seeds=[0], num_samples=2, split="dev")


def test_an_unknown_model_is_refused_before_any_is_trained(tmp_path):
    with pytest.raises(UserError, match="unknown model"):
        comparison.compare(tiny_config(), tmp_path, models=["zforcing", "nonesuch"], seeds=[0], num_samples=2)
    assert not list(tmp_path.iterdir())
