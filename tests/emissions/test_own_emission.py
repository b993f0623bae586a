"""A head of the user's own, with the members of ``Emission`` and no more, works wherever a registered one does."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import NAMES, random_batch, random_noise, random_params, small
from scipy import stats

import zf_jax
from zf_jax import generation
from zf_jax.data import from_arrays
from zf_jax.emissions import (
    EMISSIONS,
    EmissionDefaults,
    build_emission,
    emission_log_prob,
    emission_values,
    init_emission,
    member,
)
from zf_jax.evaluation.latents import inspect
from zf_jax.evaluation.scoring import make_eval_step
from zf_jax.models.base import unroll
from zf_jax.protocols import Emission, Source
from zf_jax.sharding import data_mesh

FRAMES, BITS = zf_jax.Observation("frames", 2), zf_jax.Observation("tokens", 2)
KEY = jax.random.key(0)


@dataclasses.dataclass(frozen=True)
class Laplace:
    """Independent Laplace elements."""

    observation: zf_jax.Observation
    is_density = True

    @property
    def outputs(self):
        return {"mean": self.observation.size, "log_scale": self.observation.size}

    def log_prob(self, values, x):
        scaled = jnp.abs(x - values["mean"]) * jnp.exp(-values["log_scale"])
        return jnp.sum(-scaled - values["log_scale"] - jnp.log(2.0), axis=-1)

    def noise(self, key, shape):
        return jax.random.laplace(key, (*shape, self.observation.size), jnp.result_type(float))

    def sample(self, values, noise):
        return values["mean"] + jnp.exp(values["log_scale"]) * noise

    def mean(self, values):
        return values["mean"]


@dataclasses.dataclass(frozen=True)
class Coin:
    """One of two values, of which the mean is one number."""

    observation: zf_jax.Observation
    is_density = False
    outputs = {"logit": 1}  # noqa: RUF012

    def log_prob(self, values, x):
        return jax.nn.log_sigmoid(jnp.where(x > 0, 1.0, -1.0) * values["logit"][..., 0])

    def noise(self, key, shape):
        return jax.random.uniform(key, shape)

    def sample(self, values, noise):
        return (noise < self.mean(values)).astype(jnp.int32)

    def mean(self, values):
        return jax.nn.sigmoid(values["logit"][..., 0])


def traced(model, batch):
    """Trace training, bounds, sampling and diagnostics; nothing is compiled."""
    params, optimizer = jax.eval_shape(model.init, KEY), zf_jax.make_optimizer(1e-3)
    state = jax.eval_shape(functools.partial(zf_jax.init_state, model, optimizer), KEY)
    calls = {
        "update": (functools.partial(zf_jax.update, model, optimizer), state, batch, KEY),
        "elbo": (functools.partial(zf_jax.elbo, model), params, batch, KEY),
        "iwae": (functools.partial(zf_jax.iwae, model, num_samples=2), params, batch, KEY),
        "particle_bound": (functools.partial(zf_jax.particle_bound, model, num_particles=2), params, batch, KEY),
        "inspect": (functools.partial(inspect, model, quantisation_step=0.1), params, batch, KEY),
        "sample": (functools.partial(zf_jax.sample, model, num_samples=2, length=4), params, KEY),
        "reconstruct": (functools.partial(zf_jax.reconstruct, model), params, batch, KEY),
    }
    return {name: jax.eval_shape(*call) for name, call in calls.items()}


def traced_generation(model, batch):
    params = jax.eval_shape(model.init, KEY)
    ends = jax.tree.map(lambda x: x[:2], batch)
    return {
        "reconstruct": jax.eval_shape(functools.partial(zf_jax.reconstruct, model), params, batch, KEY),
        "interpolate": jax.eval_shape(functools.partial(generation.interpolate, model), params, ends, jnp.zeros(3)),
    }


@pytest.mark.parametrize("name", few(NAMES, "zforcing", "srnn", "rnn"))
def test_an_own_head_runs_in_every_model_also_where_types_are_promoted_by_hand_alone(name):
    with jax.numpy_dtype_promotion("strict"):
        found = traced(small(name, "frames", emission=Laplace(FRAMES)), random_batch(FRAMES))
    assert found["sample"].values.shape == (2, 4, 2)
    assert found["inspect"].small_scale_share is None  # the head names no scales


def test_sequences_are_reconstructed_and_evaluated_with_an_own_head():
    frames, bits = (small("storn", "frames", emission=Laplace(FRAMES)), small("storn", "binary", emission=Coin(BITS)))
    found = traced_generation(frames, random_batch(FRAMES))
    assert (found["reconstruct"].values.shape, found["interpolate"].values.shape) == ((3, 6, 2), (3, 6, 2))
    found = traced_generation(bits, random_batch(BITS))
    assert found["reconstruct"].values.dtype == found["interpolate"].values.dtype == jnp.int32
    step = make_eval_step(frames, data_mesh(jax.devices()[:1]), quantisation_step=0.1)
    params = jax.eval_shape(frames.init, KEY)
    assert "small_scale_share" not in jax.eval_shape(step, params, random_batch(FRAMES), KEY, jnp.arange(3))


def test_the_log_probability_is_the_head_s_and_so_are_samples():
    model = small("rnn", "frames", emission=Laplace(FRAMES))
    params, batch = random_params(model), random_batch(FRAMES, (5, 3, 5), 5)

    @jax.jit
    def run(params, noise):
        features = model.encode(params, batch)
        sites = unroll(model, params, features, noise)[1]
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        one = jax.tree.map(lambda x: jnp.broadcast_to(x[0, 0], (4000, 2)), values)
        drawn = model.emission.sample(one, model.emission.noise(KEY, (4000,)))
        return values, model.score(params, features, sites).emission_log_prob, drawn

    values, log_prob, drawn = jax.tree.map(np.asarray, run(params, random_noise(model, batch)))
    expected = stats.laplace.logpdf(batch.targets, values["mean"], np.exp(values["log_scale"])).sum(-1) * batch.mask
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5, atol=1e-5)
    for d in range(2):
        law = stats.laplace(values["mean"][0, 0, d], np.exp(values["log_scale"][0, 0, d]))
        assert stats.kstest(drawn[:, d], law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", ["log_prob", "noise", "sample", "mean", "outputs", "observation", "is_density"])
def test_a_head_that_lacks_a_member_is_refused_by_its_name(name):
    class Part:
        def __getattr__(self, asked):
            if asked == name:
                raise AttributeError(asked)
            return getattr(Laplace(FRAMES), asked)

    with pytest.raises(ValueError, match=f"the emission Part has no (method|attribute) '{name}'"):
        zf_jax.build_model("vrnn", FRAMES, emission=Part())


@dataclasses.dataclass(frozen=True)
class Sizeless(Laplace):
    outputs = {"mean": 0}  # noqa: RUF012


def test_what_is_no_head_is_refused():
    for wrong, words in (
        (Laplace, "not a class: Laplace"),
        (3, "int has no"),
        (Sizeless(FRAMES), "sizes"),
        (Laplace(zf_jax.Observation("frames", 3)), "the model for"),
    ):
        with pytest.raises(ValueError, match=words):
            zf_jax.build_model("vrnn", FRAMES, emission=wrong)


def test_every_registered_head_and_source_keeps_its_contract():
    for name in EMISSIONS:
        observation = BITS if name == "categorical" else FRAMES
        assert isinstance(build_emission(name, observation), Emission), name
    assert isinstance(Laplace(FRAMES), Emission)
    assert not isinstance(object(), Emission)
    data = from_arrays(np.random.default_rng(0).normal(size=(20, 4, 2)))
    assert all(isinstance(source, Source) for source in data.splits.values())


def test_an_optional_member_takes_the_place_of_the_default():
    @dataclasses.dataclass(frozen=True)
    class Shifted(Laplace):
        def values_from_hidden(self, params, hidden):
            values = EmissionDefaults.values_from_hidden(self, params, hidden)
            return values | {"mean": values["mean"] + 1.0}

    plain, shifted = Laplace(FRAMES), Shifted(FRAMES)
    params, hidden = init_emission(KEY, plain, 3), jnp.ones((2, 3))
    moved = [emission_values(params, head, hidden)["mean"] for head in (plain, shifted)]
    np.testing.assert_allclose(moved[1], moved[0] + 1.0)
    assert member(plain, "levels") is None
    assert member(build_emission("made:dmol", FRAMES, levels=16), "levels") == 16


@pytest.mark.parametrize("name", [*EMISSIONS, "nade:gmm", "made:dmol"])
def test_registered_heads_run_where_types_are_promoted_by_hand_alone(name):
    observation = zf_jax.Observation("tokens", 5) if name == "categorical" else FRAMES
    head, hidden = build_emission(name, observation, levels=16, num_components=2, head_dim=4), jnp.ones((3, 4))
    x = jnp.zeros(3, jnp.int32) if name == "categorical" else jnp.zeros((3, 2))

    def run(key):
        params = init_emission(key, head, 4, (5,))
        values = emission_values(params, head, hidden)
        drawn = head.sample(values, head.noise(key, (3,)))
        share = member(head, "small_scale_share")(values, 0.1, x)
        gradient = jax.grad(lambda p: emission_log_prob(p, head, hidden, x).sum())(params)
        return gradient, drawn, head.mean(values), member(head, "likeliest")(values), share

    with jax.numpy_dtype_promotion("strict"):
        assert jax.eval_shape(run, KEY)[1].shape == x.shape
