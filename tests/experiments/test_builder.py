"""What a config says of the objective reaches what is trained."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from helpers.runs import tiny_config
from helpers.saved_runs import arrays_config, write_frames

from experiments.configs import base
from experiments.lib import training_loop
from experiments.lib.cli import UserError
from experiments.lib.experiment import build, build_objective
from zf_jax.objective.settings import Objective

KEY = jax.random.key(0)


def built(**settings):
    """The experiment of the base config, on digits, with these settings of its objective."""
    config = base.get_base()
    config.data.name = "digits"
    config.objective.update(settings)
    return build(config)


CHANGES = {
    "aux_gradient": "backward",
    "free_nats": 0.7,
    "kl_balance": 0.8,
    "word_dropout": 0.3,
    "bag_of_words_weight": 0.4,
    "bound": "iwae",
    "num_samples": 3,
    "doubly_reparametrised": True,
}
NEEDED = {"doubly_reparametrised": {"bound": "iwae"}}


def test_every_setting_of_the_objective_has_a_field_in_a_config():
    assert {field.name for field in dataclasses.fields(Objective)} == {*CHANGES, "unknown_word"}
    assert set(CHANGES) <= set(base.get_base().objective)


@pytest.mark.parametrize("name", CHANGES)
def test_a_field_of_a_config_reaches_the_objective_and_no_other_setting(name):
    settings = NEEDED.get(name, {}) | {name: CHANGES[name]}
    config = base.get_base()
    config.objective.update(settings)
    data = dataclasses.replace(built().data, vocabulary=("the", "<unk>", "<eos>"))
    objective = build_objective(config, data)
    assert dataclasses.asdict(objective) == dataclasses.asdict(Objective()) | settings | {"unknown_word": 1}
    if name != "word_dropout":  # digits have no words to drop
        assert built(**settings).objective == dataclasses.replace(objective, unknown_word=None)


def test_a_field_of_a_config_reaches_the_model_where_it_needs_parameters():
    plain, bag = (built(bag_of_words_weight=weight).model for weight in (0.0, 0.5))
    assert set(jax.eval_shape(bag.init, KEY)) - set(jax.eval_shape(plain.init, KEY)) == {"bag_of_words"}


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ({"kl_temperature": 0.5}, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]),
        ({"kl_temperature_start": 0.2, "kl_temperature_steps": 40}, [0.2, 0.3, 0.6, 0.7, 1.0, 1.0]),
        (
            {"kl_temperature_start": 0.2, "kl_temperature_steps": 40, "kl_temperature_cycles": 2},
            [0.2, 0.6, 0.2, 0.6, 1.0, 1.0],
        ),
        (
            {"kl_temperature_start": 0.2, "kl_temperature_steps": 20, "kl_temperature": 0.6},
            [0.2, 0.3, 0.6, 0.6, 0.6, 0.6],
        ),
    ],
)
def test_the_kl_temperature_follows_the_config(settings, expected):
    schedule = built(**settings).schedules.kl_temperature
    np.testing.assert_allclose([schedule(step) for step in (0, 5, 20, 25, 40, 90)], expected, rtol=1e-6)


def test_alpha_and_beta_are_those_of_the_config():
    weights = built(aux_weight=0.25, reverse_weight=0.125, kl_temperature=0.5).schedules(7)
    assert weights == (0.5, 0.25, 0.125)


@pytest.mark.parametrize("name", ["aux_weight", "reverse_weight"])
def test_alpha_and_beta_may_rise_as_the_kl_temperature_does(name):
    schedule = getattr(built(**{name: 0.8, f"{name}_start": 0.2, f"{name}_steps": 30}).schedules, name)
    np.testing.assert_allclose([schedule(step) for step in (0, 15, 30, 90)], [0.2, 0.5, 0.8, 0.8], rtol=1e-6)
    with pytest.raises(UserError, match=f"{name}_steps must be at least 0"):
        built(**{f"{name}_steps": -1})


def test_the_type_of_products_reaches_the_update_and_a_wrong_one_is_refused():
    config = tiny_config(compute_dtype="bfloat16")
    assert build(config).fit_settings().compute_dtype == "bfloat16"
    with pytest.raises(UserError, match=r"config\.compute_dtype must be one of float32, bfloat16"):
        build(tiny_config(compute_dtype="float16"))


def test_data_without_a_split_to_validate_on_are_refused_with_the_way_to_give_one(tmp_path):
    write_frames(tmp_path / "arrays.npz", split=np.repeat(["train", "test"], 10))
    config = arrays_config(tmp_path / "arrays.npz")
    sentence = (
        r"needs a split 'valid' to validate on, and arrays has only test, train: mark some sequences valid in the"
    )
    with pytest.raises(UserError, match=sentence):
        training_loop.train(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    assert set(build(config, any_batch_size=True).data.splits) == {"train", "test"}  # where nothing is trained
