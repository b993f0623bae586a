"""The public functions compile once a shape, also where their caller did not."""

from __future__ import annotations

import collections
import dataclasses
import inspect
from typing import Any

import jax
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import KINDS, random_batch, random_params

import zf_jax
from zf_jax import bounds, generation
from zf_jax.models.storn import STORN

TRACES = collections.Counter()
OPTIMIZER = zf_jax.make_optimizer(1e-3)


@dataclasses.dataclass(frozen=True)
class Counted(STORN):
    """STORN that counts how often Python runs through its step."""

    def step(self, params, carry, features, noise):
        TRACES["step"] += 1
        return STORN.step(self, params, carry, features, noise)


class Plain:
    """A user's own object around a model, hashed by its address."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)


class Unhashable(Plain):
    """The same, without a hash."""

    __hash__ = None  # pyright: ignore[reportAssignmentType]


MODEL = Counted(*KINDS["frames"], rnn_dim=4, embed_dim=3, latent_dim=2, mlp_dim=4)
KEY = jax.random.key(1)
PARAMS = random_params(MODEL)
CALLS = {
    "elbo": lambda model, batch, key: bounds.elbo(model, PARAMS, batch, key),
    "step_terms": lambda model, batch, key: bounds.step_terms(model, PARAMS, batch, key),
    "iwae": lambda model, batch, key: bounds.iwae(model, PARAMS, batch, key, num_samples=3),
    "iwae_log_weights": lambda model, batch, key: bounds.iwae_log_weights(model, PARAMS, batch, key, num_samples=3),
    "particle_bound": lambda model, batch, key: bounds.particle_bound(model, PARAMS, batch, key, num_particles=3),
    "sample": lambda model, batch, key: generation.sample(model, PARAMS, key, num_samples=2, length=3),
    "reconstruct": lambda model, batch, key: generation.reconstruct(model, PARAMS, batch, key),
    "continue_prefix": lambda model, batch, key: generation.continue_prefix(model, PARAMS, batch, key, length=2),
    "update": lambda model, batch, key: zf_jax.update(
        model, OPTIMIZER, zf_jax.init_state(MODEL, OPTIMIZER, jax.random.key(0)), batch, key
    ),
}


def a_batch(rows=2):
    return random_batch(KINDS["frames"][0], (3,) * rows, 3)


@pytest.mark.parametrize("name", few([*CALLS], "update", "elbo", "iwae", "sample"))
def test_a_second_call_compiles_nothing_and_another_shape_does(name, caplog):
    batch, batches = a_batch(), [random_batch(KINDS["frames"][0], (3, 3), 3, seed) for seed in range(5)]
    CALLS[name](MODEL, batch, KEY)
    once = TRACES["step"]
    with jax.log_compiles():
        for each in batches:  # an equal model that is another object, and other values of the same shapes
            CALLS[name](dataclasses.replace(MODEL), each, KEY)
    assert TRACES["step"] == once > 0
    assert f"Compiling jit({name})" not in caplog.text
    if name != "sample":  # whose shapes are no batch's
        with jax.log_compiles():
            CALLS[name](MODEL, a_batch(rows=3), KEY)
        assert TRACES["step"] > once
        assert f"Compiling jit({name})" in caplog.text


def test_values_are_those_of_the_function_itself_and_follow_the_arguments():
    batch = a_batch()
    for key in (KEY, jax.random.key(7)):
        found = bounds.elbo(MODEL, PARAMS, batch, key)
        np.testing.assert_allclose(found, inspect.unwrap(bounds.elbo)(MODEL, PARAMS, batch, key), rtol=1e-5)
    one, more = (bounds.iwae_log_weights(MODEL, PARAMS, batch, KEY, num_samples=n) for n in (1, 2))
    assert (one.shape, more.shape) == ((1, 2), (2, 2))


def test_a_model_that_may_change_is_never_remembered():
    batch, other = a_batch(), dataclasses.replace(MODEL, latent_log_std_bounds=(-1.0, 0.0))
    for kind in (Plain, Unhashable):
        own: Any = kind(MODEL)
        np.testing.assert_allclose(
            bounds.elbo(own, PARAMS, batch, KEY), bounds.elbo(MODEL, PARAMS, batch, KEY), rtol=1e-5
        )
        own.model = other
        changed = bounds.elbo(own, PARAMS, batch, KEY)
        np.testing.assert_allclose(changed, bounds.elbo(other, PARAMS, batch, KEY), rtol=1e-5)
        assert not np.allclose(changed, bounds.elbo(MODEL, PARAMS, batch, KEY), rtol=1e-3)


def test_inside_a_transformation_the_function_itself_is_traced():
    def program(function):
        return str(jax.make_jaxpr(lambda p: function(MODEL, p, a_batch(), KEY))(PARAMS))

    assert program(bounds.elbo) == program(inspect.unwrap(bounds.elbo))


def test_what_was_refused_is_refused():
    wrongs: list[Any] = [None, jax.random.PRNGKey(0), 3, "key"]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="key"):
            bounds.elbo(MODEL, PARAMS, a_batch(), wrong)
    with pytest.raises(ValueError, match="num_samples"):
        bounds.iwae(MODEL, PARAMS, a_batch(), KEY, num_samples=0)
