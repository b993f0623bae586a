"""The programs take a density where they take a model: train, evaluate, sample and compare; diagnose refuses."""

from __future__ import annotations

import dataclasses
import importlib

import jax
import numpy as np
import pytest
from helpers.runs import tiny_config

from experiments.lib import comparison
from experiments.lib.cli import UserError
from experiments.lib.diagnosis import diagnose
from experiments.lib.experiment import build, build_config_model
from experiments.lib.gallery import Gallery, loudest
from experiments.lib.interpolation import interpolate
from experiments.lib.matching import parameter_count
from experiments.lib.run_folder import restore
from experiments.lib.scoring import evaluate
from experiments.lib.tables import table
from zf_jax.data import load
from zf_jax.densities import DENSITIES

CONFIGS = ("pixel_rnn", "nade", "eonade", "pixel_cnn", "pixel_vae", "draw")
SIZES = {"model.mlp_dim": 8, "model.num_orderings": 2, "train.num_steps": 4, "train.log_every": 2}


def density_config(name, **changes):
    config = tiny_config(**SIZES | {"train.eval_every": 4, "train.checkpoint_every": 4} | changes)
    config.objective.update(aux_weight=0.0, reverse_weight=0.0)
    config.model.name = name
    return config


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("densities")
    found = comparison.compare(
        density_config("nade"), workdir, models=["nade", "eonade"], seeds=[0], num_samples=3, split="valid"
    )
    return workdir, {row["model"]: row for row in found}


def test_densities_are_trained_scored_and_compared(rows):
    found = rows[1]
    assert [found[name]["kind"] for name in ("nade", "eonade")] == ["exact", "exact"]
    for name in ("nade", "eonade"):
        assert found[name]["elbo.nats_per_sequence"] == found[name]["iwae.nats_per_sequence"] < 0
        assert found[name]["elbo.kl_nats_per_sequence"] == 0.0
        assert "active_units" not in found[name]
    assert "| kind" in table(list(found.values()))


def test_an_ensemble_is_drawn_and_completes_images_and_reconstructs_none(rows, tmp_path):
    experiment, state, _ = restore(str(rows[0] / "eonade-seed0"))
    gallery = Gallery(experiment, 4)
    gallery.draw(state.params, tmp_path, seed=0)
    assert {path.name for path in tmp_path.iterdir()} == {"samples.png", "completions.png", "samples.npz"}
    arrays = np.load(tmp_path / "samples.npz")
    assert arrays["samples"].shape == (4, 64) and arrays["completions"].shape == (3, 4, 64)
    given = int(arrays["given"])
    assert np.all(arrays["completions"][:, :, :given] == arrays["real"][:, :given])


def test_the_orderings_of_an_evaluation_are_of_the_seed_of_the_config_and_not_of_the_evaluation(rows):
    folder = str(rows[0] / "eonade-seed0")
    first, second = (evaluate(folder, split="valid", seed=seed)["nats_per_sequence"] for seed in (0, 1))
    assert first == second == rows[1]["eonade"]["elbo.nats_per_sequence"]
    assert evaluate(folder, split="valid")["kind"] == "exact"


def test_what_looks_at_steps_refuses_a_density_with_a_sentence(rows):
    folder = str(rows[0] / "nade-seed0")
    with pytest.raises(UserError, match="nade has no latents of steps to look at"):
        diagnose(folder)
    with pytest.raises(UserError, match="nade has no latents of steps to interpolate between"):
        interpolate(folder)
    with pytest.raises(UserError, match="the particle bound goes step by step"):
        evaluate(folder, bound="particle")


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"data.view": "rows"}, "nade is of binary images, a token a pixel"),
        ({"model.emission": "nade"}, "nade has no emission but its own"),
        ({"objective.bound": "iwae"}, "objective bound='iwae' is of a model's steps"),
        ({"model.mlp_dim": 0}, "mlp_dim must be at least 1"),
    ],
)
def test_a_config_that_does_not_fit_a_density_is_refused(changes, sentence):
    config = density_config("nade")
    with config.unlocked():
        config.data.view = "pixels"
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=sentence):
        build(config)


# Counted from the equations: D = 784 pixels; see each config's sizes.
PARAMETERS = {
    ("pixel_rnn", ""): 49 * 32 + 32 + 7 * (2 * (33 * 64 + 32 * 64) + 17 * 32) + 33 * 32 + 33 * 32 + 33,
    ("pixel_rnn", "one_layer"): 49 * 64 + 64 + 2 * (65 * 128 + 64 * 128) + 33 * 64 + 65 * 32 + 33 * 32 + 33,
    ("nade", ""): 783 * 500 + 500 + 784 * 500 + 784,
    ("eonade", ""): 784 + 784 * 500 + 784 * 500 + 500 + 500 * 501 + 501 * 784,
}


@pytest.mark.parametrize("name, variant", PARAMETERS)
def test_the_published_sizes_have_the_parameters_of_the_equations(name, variant):
    config = importlib.import_module(f"experiments.configs.{name}").get_config(variant)
    assert config.data.name == "mnist"
    density = DENSITIES[name](
        image_shape=(28, 28),
        **{field.name: config.model[field.name] for field in dataclasses.fields(DENSITIES[name])[1:]},
    )
    assert parameter_count(density) == PARAMETERS[name, variant]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_density_has_a_config_of_the_published_size_a_small_one_and_one_of_digits(name):
    module = importlib.import_module(f"experiments.configs.{name}")
    published, small = (module.get_config(variant).model.to_dict() for variant in ("", "small"))
    assert published != small
    model = build_config_model(module.get_config("digits"), load("digits"))
    assert isinstance(model, DENSITIES[name]) and model.image_shape == (8, 8)
    assert jax.eval_shape(model.init, jax.random.key(0))
    with pytest.raises(ValueError, match=f"{name}.py has no variant 'gru': use {name}.py or .*{name}.py:small"):
        module.get_config("gru")


def test_every_registered_density_has_a_config():
    assert set(DENSITIES) == set(CONFIGS)


def test_the_loudest_sequence_is_that_of_the_largest_mean_square_whatever_its_length():
    quiet, loud = np.full((40, 2), 0.1), np.array([[-1.0, 1.0]])
    assert loudest([quiet, loud]) == 1 and loudest([loud, quiet]) == 0
