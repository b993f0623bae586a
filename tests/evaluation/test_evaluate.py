"""A bound on a split in one call, against the bound of each sequence alone."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.models_under_test import random_params, small

import zf_jax
from zf_jax.bounds.noise import seed_key
from zf_jax.data import from_arrays
from zf_jax.evaluation.sequences import score_sequences

LENGTHS, SAMPLES = (4, 2, 4, 3, 4, 1), 3


@functools.cache
def data():
    rng = np.random.default_rng(0)
    rows = [3.0 + 2.5 * rng.normal(size=(n, 2)) for n in LENGTHS]
    return from_arrays({"train": rows, "test": rows[:4]})


@functools.cache
def model_and_params():
    model = small("storn", "frames")
    return model, random_params(model)


iwae = functools.partial(zf_jax.iwae, num_samples=SAMPLES)


def evaluate(**options):
    model, params = model_and_params()
    return zf_jax.evaluate(model, params, data().split("test"), units=zf_jax.units_of(data()), **options)


def test_the_mean_over_sequences_is_that_of_each_alone_in_the_units_of_the_data():
    model, params = model_and_params()
    source, std = data().split("test"), data().normalisation["std"]
    one = jax.jit(functools.partial(iwae, model))
    expected = []
    for index in range(4):
        example = source[index]
        steps = 4 - len(example.targets)
        batch = zf_jax.batch_of(np.pad(example.targets, ((0, steps), (0, 0)))[None], [len(example.targets)])
        key = jax.random.fold_in(seed_key(0), index)
        expected.append(float(one(params, batch, key[None])[0]))
    found = evaluate(bound="iwae", num_samples=SAMPLES, batch_size=2)
    total, steps = np.sum(expected), sum(LENGTHS[:4])
    assert found["nats_per_sequence"] == pytest.approx(total / 4, rel=1e-5)
    assert found["raw_nats_per_sequence"] == pytest.approx((total - steps * 2 * np.log(std)) / 4, rel=1e-5)
    assert (found["bound"], found["num_samples"], found["exact"], found["density"]) == ("iwae", SAMPLES, False, True)
    assert (found["num_sequences"], found["num_steps"]) == (4, steps)
    assert "levels" not in found
    own = evaluate(bound=iwae, batch_size=4)
    assert own["nats_per_sequence"] == pytest.approx(found["nats_per_sequence"], rel=1e-5)
    assert "num_samples" not in own


def test_units_of_probabilities_do_not_hang_on_the_unit_of_the_data():
    units = zf_jax.units_of(data())
    assert units.std == data().normalisation["std"]
    assert units.under(is_density=True) == units
    assert units.under(is_density=False) == units._replace(std=None)


def test_scores_of_single_sequences_have_the_units_that_their_split_has():
    """Probabilities of a discretised head do not change with the unit; densities lose log std of each number."""
    of_a_frame = 2 * np.log(data().normalisation["std"])
    for name, options in (("gaussian", {}), ("dmol", {"levels": 256, "step": 0.1})):
        head = zf_jax.build_emission(name, data().observation, **options)
        model = zf_jax.build_model("rnn", data().observation, emission=head, rnn_dim=3, embed_dim=2)
        params, split, units = random_params(model), data().split("test"), zf_jax.units_of(data())
        whole = zf_jax.evaluate(model, params, split, units=units)
        found = score_sequences(model, params, split, units)
        for row, bound in zip(found.rows(), found.bound, strict=True):
            volume = row["length"] * of_a_frame if name == "gaussian" else 0.0
            assert row["raw_nats_per_sequence"] == pytest.approx(bound - volume, rel=1e-5)
        mean = np.mean([row["raw_nats_per_sequence"] for row in found.rows()])
        assert mean == pytest.approx(whole["raw_nats_per_sequence"], rel=1e-5)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"bound": "iwea"}, "unknown bound 'iwea'"),
        ({"num_samples": 0}, "num_samples must be at least 1"),
        ({"chunk_size": 0}, "chunk_size must be at least 1"),
        ({"batch_size": 0}, "a batch of 0"),
        ({"bound": lambda model, params, batch, key: jnp.zeros(())}, r"one number a sequence, \[B\], not \[\]"),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        evaluate(**options)


def test_what_is_no_split_is_refused_by_its_type():
    with pytest.raises(TypeError, match=r"one split.*not DataSet"):
        zf_jax.evaluate(*model_and_params(), data())
