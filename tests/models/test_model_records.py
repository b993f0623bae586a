"""A model is a value: equal ones are interchangeable, also as static arguments, and any dtype of parameters works."""

from __future__ import annotations

import dataclasses
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.models_under_test import CASES, KINDS, NAMES, random_batch, random_params, small, x64

import zf_jax
from zf_jax.emissions import NADE, build_emission
from zf_jax.models import build_model
from zf_jax.models.base import unroll
from zf_jax.objective import Objective, trainable


def test_equal_models_compile_once_and_others_again():
    compiled = []

    @functools.partial(jax.jit, static_argnums=0)
    def latent_size(model, x):
        compiled.append(model)
        return x * model.latent_dim

    for size in (3, 3, 4):
        latent_size(build_model("vrnn", KINDS["binary"][0], latent_dim=size), 1.0)
    assert len(compiled) == 2


@pytest.mark.parametrize("name", NAMES)
def test_equal_models_are_equal_and_hash_and_pickle_alike(name):
    models = [small.__wrapped__(name, "frames") for _ in range(2)]
    models.append(pickle.loads(pickle.dumps(models[0])))
    assert len(set(models)) == 1
    assert small(name, "frames", embed_dim=9) not in models
    assert len({small(other, "frames") for other in NAMES}) == len(NAMES)


def test_new_bounds_of_the_emission_reach_a_head_that_is_built():
    for emission, head in (("gaussian", lambda e: e), ("nade:gmm", lambda e: e.conditional)):
        model = small("storn", "frames", emission=emission)
        assert head(model.emission).log_std_bounds == model.emission_log_std_bounds == (-7.0, 5.0)
        changed = dataclasses.replace(model, emission_log_std_bounds=(-1.0, 0.0))
        assert head(changed.emission).log_std_bounds == changed.emission_log_std_bounds == (-1.0, 0.0)
        assert dataclasses.replace(changed, emission_log_std_bounds=(-7.0, 5.0)) == model
        assert dataclasses.replace(changed, latent_dim=4).emission == changed.emission
    own = build_emission("gmm", KINDS["frames"][0], log_std_bounds=(-2.0, 1.0))
    assert small("storn", "frames", emission=own).emission is own


def test_the_bounds_of_the_emission_are_those_that_its_head_has():
    frames, wanted = KINDS["frames"][0], (-1.0, 0.0)
    unbounded = build_emission("gmm", frames, log_std_bounds=None, per_dimension=True)
    for emission, head in ((unbounded, lambda e: e), (NADE(frames, unbounded), lambda e: e.conditional)):
        model = small.__wrapped__("storn", "frames", emission=emission)
        assert (head(model.emission).log_std_bounds, model.emission_log_std_bounds) == (None, None)
        bounded = dataclasses.replace(model, emission_log_std_bounds=wanted)
        assert head(bounded.emission).log_std_bounds == bounded.emission_log_std_bounds == wanted
    for kind, emission in (
        ("frames", "bernoulli"),
        ("frames", "dmol"),
        ("frames", "made:dmol"),
        ("words", "categorical"),
    ):
        model = small("storn", kind, emission=emission, emission_log_std_bounds=wanted)
        assert model.emission_log_std_bounds is None, "the head has no log standard deviations"
        assert model == small("storn", kind, emission=emission)


def test_a_model_with_an_emission_around_another_pickles():
    model = small("storn", "frames", emission="made:dmol")
    again = pickle.loads(pickle.dumps(model))
    assert again == model
    assert again.emission.conditional == model.emission.conditional


def test_a_model_with_a_bag_of_words_is_a_value_too():
    settings = Objective(bag_of_words_weight=1.0)
    models = [trainable(small.__wrapped__("storn", "words"), settings) for _ in range(2)]
    models.append(pickle.loads(pickle.dumps(models[0])))
    assert len(set(models)) == 1
    assert models[0] != small("storn", "words")


@pytest.mark.parametrize("params_dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_parameters_of_another_precision_run(name, kind, params_dtype):
    with x64():  # where noise and frames are of double precision
        model = small(name, kind)
        params = jax.tree.map(lambda x: x.astype(params_dtype), random_params(model))
        batch = random_batch(KINDS[kind][0])
        features = jax.eval_shape(model.encode, params, batch)
        noise = jax.ShapeDtypeStruct((*batch.mask.shape, model.latent_dim), jnp.float64)
        carry, sites = jax.eval_shape(functools.partial(unroll, model), params, features, noise)
        assert {leaf.dtype for leaf in jax.tree.leaves(carry)} == {jnp.dtype(params_dtype)}
        jax.eval_shape(model.score, params, features, sites)
        draw = functools.partial(zf_jax.sample, model, num_samples=2, length=3)
        jax.eval_shape(draw, params, jax.random.key(0))


def test_numbers_of_numpy_and_lists_make_the_same_model():
    plain = build_model("rnn", zf_jax.Observation("tokens", 2), emission_layers=(4,), rnn_dim=5, embed_dim=2)
    observation = zf_jax.Observation("tokens", np.asarray([0, 1]).max() + 1)
    other = build_model("rnn", observation, emission_layers=[4], rnn_dim=np.int64(5), embed_dim=np.int32(2))
    assert (other, hash(other), repr(other)) == (plain, hash(plain), repr(plain))
    bounded = [build_model("vrnn", observation, latent_log_std_bounds=bounds) for bounds in ([-3.0, 3.0], (-3.0, 3.0))]
    assert len(set(bounded)) == 1
    mixture = build_emission("gmm", zf_jax.Observation("frames", np.int64(2)), num_components=np.int64(3))
    assert repr(mixture) == repr(build_emission("gmm", zf_jax.Observation("frames", 2), num_components=3))
    for record, numbers in ((Objective, {"free_nats": 0.5, "num_samples": 2}), (zf_jax.FitSettings, {"num_steps": 5})):
        given = {name: np.asarray(value)[()] for name, value in numbers.items()}
        assert repr(record(**given)) == repr(record(**numbers))


def test_counts_of_a_head_that_are_not_whole_are_refused():
    frames = zf_jax.Observation("frames", 2)
    for emission, number in (("gmm", "num_components"), ("dmol", "levels"), ("nade:gmm", "head_dim")):
        with pytest.raises(ValueError, match=f"{number} must be whole, not 2.5"):
            build_emission(emission, frames, **{number: 2.5})
