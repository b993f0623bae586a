"""The tree of every model, so that a change of its parameters is seen, and what its configs refuse."""

from __future__ import annotations

import jax
import pytest
from models_under_test import NAMES, small

from zf_jax.models import build_model
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
TREES["vrnn_i"] = {group: parts for group, parts in TREES["vrnn"].items() if group != "prior"}
# Of the sizes in models_under_test on frames of 2, added up by hand from the equations.
COUNTS = {"rnn": 236, "storn": 586, "vrnn": 488, "vrnn_i": 434, "srnn": 575, "zforcing": 750}


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


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="choose one of"):
        build_model("transformer", Observation("frames", 2))
    with pytest.raises(ValueError, match="prior"):
        build_model("vrnn", Observation("frames", 2), emission="gaussian", prior="flat")
