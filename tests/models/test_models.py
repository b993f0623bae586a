"""The tree of every model, so that a change of its parameters is seen, and what its configs refuse."""

from __future__ import annotations

import dataclasses
import re

import jax
import numpy as np
import pytest
from helpers.models_under_test import NAMES, random_batch, random_noise, random_params, small

from zf_jax.data import from_arrays
from zf_jax.models import MODELS, build_model
from zf_jax.models.base import unroll
from zf_jax.nn import chunked_softmax
from zf_jax.typing import Observation

HEAD = "hidden mean log_std"
TREES = {
    "rnn": {"embedding": "", "forward": "input recurrent", "emission": "mean log_std"},
    "storn": {
        "embedding": "",
        "recognition": "input recurrent",
        "latent_embedding": "",
        "forward": "input recurrent",
        "posterior": HEAD,
        "emission": "mean log_std",
    },
    "vrnn": {
        "embedding": "",
        "latent_embedding": "",
        "forward": "input recurrent",
        "prior": HEAD,
        "posterior": HEAD,
        "emission": "hidden_0 mean log_std",
    },
    "srnn": {
        "embedding": "",
        "forward": "input recurrent",
        "backward": "input recurrent",
        "prior": HEAD,
        "posterior": HEAD,
        "emission": "hidden_0 mean log_std",
    },
    "zforcing": {
        "embedding": "",
        "backward": "input recurrent",
        "latent_embedding": "",
        "forward": "input recurrent",
        "prior": HEAD,
        "posterior": HEAD,
        "auxiliary": HEAD,
        "emission": "mean log_std",
        "reverse": "mean log_std",
    },
}
TREES["dmm"] = {
    "embedding": "",
    "backward": "input recurrent",
    "prior": "hidden gate proposal mean log_std",
    "posterior": "combiner mean log_std",
    "emission": "hidden_0 mean log_std",
}
TREES["vrnn_i"] = {group: parts for group, parts in TREES["vrnn"].items() if group != "prior"}
# Of the sizes in models_under_test on frames of 2, added up by hand from the equations.
COUNTS = {"rnn": 236, "storn": 586, "vrnn": 488, "vrnn_i": 434, "srnn": 575, "zforcing": 750, "dmm": 390}


@pytest.mark.parametrize("name", NAMES)
def test_the_tree_of_a_model(name):
    shapes = jax.eval_shape(small(name, "frames").init, jax.random.key(0))
    found = {group: set(parts) - {"kernel", "bias"} for group, parts in shapes.items()}
    assert found == {group: set(parts.split()) for group, parts in TREES[name].items()}
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == COUNTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_wrong_configs_are_refused(name):
    frames = Observation("frames", 2)
    for options, words in (
        ({"rnn_dim": 0}, "rnn_dim"),
        ({"width": 3}, "no option 'width'"),
        ({"emission": "categorical"}, "tokens"),
    ):
        with pytest.raises(ValueError, match=words):
            build_model(name, frames, **{"emission": "gaussian"} | options)


@pytest.mark.parametrize("name", NAMES)
def test_bounds_that_cross_are_refused_when_the_model_is_built(name):
    fields = [f.name for f in dataclasses.fields(MODELS[name]) if f.name.endswith("_log_std_bounds")]
    assert "emission_log_std_bounds" in fields
    for field in fields:
        with pytest.raises(ValueError, match=r"5\.0, must be below the upper one, -7\.0"):
            build_model(name, Observation("frames", 2), emission="gaussian", **{field: (5.0, -7.0)})


@pytest.mark.parametrize("name", NAMES)
def test_sizes_that_are_no_whole_numbers_are_refused(name):
    for field in (f.name for f in dataclasses.fields(MODELS[name]) if f.name.endswith(("_dim", "_layers"))):
        for wrong in (("abc",), (1.5,), (2, "3"), (True,)) if field == "emission_layers" else ("abc", 1.5, True):
            with pytest.raises(ValueError, match=f"^{field} must be whole"):
                build_model(name, Observation("frames", 2), emission="gaussian", **{field: wrong})
    for wrong in ((1.0,), ("abc",), ("a", "b"), (0.0, 1.0, 2.0)):
        with pytest.raises(ValueError, match="bounds of a log standard deviation are two numbers"):
            build_model(name, Observation("frames", 2), emission="gaussian", emission_log_std_bounds=wrong)


@pytest.mark.parametrize("name", NAMES)
def test_one_number_in_place_of_several_is_refused(name):
    frames = Observation("frames", 2)
    with pytest.raises(ValueError, match=r"emission_layers must be whole numbers, such as \(512,\), not 5"):
        build_model(name, frames, emission="gaussian", emission_layers=5)
    for field in (f.name for f in dataclasses.fields(MODELS[name]) if f.name.endswith("_log_std_bounds")):
        with pytest.raises(ValueError, match=r"two numbers, \(lower, upper\), not 5\.0"):
            build_model(name, frames, emission="gaussian", **{field: 5.0})


@pytest.mark.parametrize("field", ["size", "context", "labels"])
@pytest.mark.parametrize("wrong", [2.5, True, "3"])
def test_an_observation_is_of_whole_numbers(field, wrong):
    with pytest.raises(ValueError, match=f"the {field} of an observation must be a whole number, not {wrong!r}"):
        Observation(**{"kind": "frames", "size": 2, field: wrong})


@pytest.mark.parametrize("name", NAMES)
def test_emission_layers_without_a_unit_are_refused(name):
    with pytest.raises(ValueError, match=r"emission_layers must be at least 1 each, not \(4, 0\)"):
        build_model(name, Observation("frames", 2), emission="gaussian", emission_layers=(4, 0))


@pytest.mark.parametrize("name", NAMES)
def test_the_logits_of_all_steps_never_exist_at_once(name, monkeypatch):
    monkeypatch.setattr(chunked_softmax, "CHUNK", 1)  # so that five words are a large vocabulary
    model = small(name, "words", rnn_dim=7)  # no size is 5 but the vocabulary's
    words, batch = 5, random_batch(model.observation)
    noise = random_noise(model, batch)

    def score(params):
        features = model.encode(params, batch)
        return model.score(params, features, unroll(model, params, features, noise)[1])

    program = str(jax.make_jaxpr(score)(random_params(model)))
    shapes = [tuple(map(int, s.split(","))) for s in re.findall(r"f32\[([\d,]+)\]", program)]
    logits = [np.prod(shape[:-1]) for shape in shapes if shape[-1] == words]
    assert logits
    assert max(logits) < batch.mask.size


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="choose one of"):
        build_model("transformer", Observation("frames", 2))
    with pytest.raises(ValueError, match="prior"):
        build_model("vrnn", Observation("frames", 2), emission="gaussian", prior="flat")


def test_a_model_of_a_data_set_has_its_observation_and_its_emission():
    sizes = {"rnn_dim": 3, "latent_dim": 2, "mlp_dim": 3, "embed_dim": 2}
    frames = from_arrays({"train": [np.full((4, 2), 2.0), np.zeros((3, 2))]})
    words = from_arrays({"train": [np.array([0, 4, 1])]}, observation=Observation("tokens", 5))
    for data, emission in ((frames, "gaussian"), (words, "categorical")):
        assert build_model("vrnn", data, **sizes) == build_model("vrnn", data.observation, emission=emission, **sizes)
    assert build_model("vrnn", frames, emission="gmm", **sizes).emission.num_components
    with pytest.raises(TypeError, match="or a data set, not tuple"):
        build_model("vrnn", (2,), **sizes)
