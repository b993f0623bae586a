"""A batch that breaks its contract is refused by name at every door; what stands behind the mask is not looked at."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.models_under_test import random_batch, random_params, small

import zf_jax
from zf_jax import Observation, bounds, generation
from zf_jax.checks import check_batch
from zf_jax.evaluation.mutual_information import mutual_information
from zf_jax.sharding import data_mesh

KEY = jax.random.key(0)
OPTIMIZER = zf_jax.make_optimizer(1e-3)
NOTES = zf_jax.build_model("rnn", Observation("frames", 2), emission="bernoulli", rnn_dim=3, embed_dim=2)
GRID = zf_jax.build_model(
    "zforcing",
    Observation("frames", 2),
    emission=zf_jax.build_emission("nade:dmol", Observation("frames", 2), levels=256, step=0.5, zero=0.25),
    **{"rnn_dim": 3, "latent_dim": 1, "mlp_dim": 2, "embed_dim": 2},
)
WORDS, FRAMES = small("storn", "words"), small("storn", "frames")
LENGTHS = (4, 2, 3)


@functools.cache
def good(model, device=False):
    batch = random_batch(model.observation, LENGTHS, 4)
    if model in (NOTES, GRID):
        ones = {name: (np.asarray(getattr(batch, name)) > 0).astype(np.float32) for name in ("targets", "inputs")}
        batch = batch._replace(**ones)
    if model is GRID:
        batch = batch._replace(targets=batch.targets / 2 + 0.25, inputs=batch.inputs / 2 + 0.25)
    batch = jax.tree.map(np.asarray, batch)
    return jax.tree.map(jnp.asarray, batch) if device else batch


def put(name, index, value):
    """A change of one number of one field."""

    def change(batch):
        array = np.array(getattr(batch, name))
        array[index] = value
        return batch._replace(**{name: array})

    return change


def recast(name, function):
    return lambda batch: batch._replace(**{name: function(getattr(batch, name))})


WRONG_VALUES = [
    (FRAMES, put("mask", (0, 1), 0), r"mask\[0, 2\] is 1.0: the step before is padding"),
    (FRAMES, put("mask", (1, 0), 0.5), r"mask\[1, 0\] is 0.5"),
    (FRAMES, put("mask", (1, 0), np.nan), r"mask\[1, 0\] is nan"),
    (FRAMES, put("lengths", 2, 4), r"lengths\[2\] is 4"),
    (FRAMES, put("input_mask", (2, 1), 2), r"input_mask\[2, 1\] is 2.0"),
    (WORDS, put("targets", (2, 1), -1), r"targets\[2, 1\] is -1: a token lies in 0 .. 4"),
    (WORDS, put("targets", (2, 2), 5), r"targets\[2, 2\] is 5"),
    (WORDS, put("inputs", (0, 3), -1), r"inputs\[0, 3\] is -1"),
    (WORDS, put("inputs", (0, 3), 5), r"inputs\[0, 3\] is 5: a token lies"),
    (WORDS, put("inputs", (0, 0), 6), r"inputs\[0, 0\] is 6: where input_mask is 0"),
    (FRAMES, put("targets", (1, 1, 0), np.nan), r"targets\[1, 1, 0\] is nan: a frame is of finite"),
    (FRAMES, put("inputs", (0, 2, 1), np.inf), r"inputs\[0, 2, 1\] is inf"),
    (NOTES, put("targets", (0, 3, 1), 2), r"targets\[0, 3, 1\] is 2.0: the Bernoulli emission"),
    (NOTES, put("targets", (0, 3, 1), 0.5), r"targets\[0, 3, 1\] is 0.5"),
    (GRID, put("targets", (0, 3, 1), 64.25), r"targets\[0, 3, 1\] is 64.25: the NADE emission"),
    (GRID, put("inputs", (0, 3, 1), -64.25), r"inputs\[0, 3, 1\] is -64.25: the NADE emission"),
]
WRONG_SHAPES = [
    (FRAMES, recast("targets", lambda x: x[..., 0]), r"targets must be real numbers \[B, T, D\] = \[3, 4, 2\]"),
    (FRAMES, recast("inputs", lambda x: x[..., :1]), r"inputs must be .* not float32 \[3, 4, 1\]"),
    (FRAMES, recast("targets", lambda x: x.astype(np.int32)), "targets must be real numbers .* not int32"),
    (WORDS, recast("targets", lambda x: x[..., None]), r"targets must be integers \[B, T\] = \[3, 4\]"),
    (WORDS, recast("inputs", lambda x: x.astype(np.float32)), "inputs must be integers .* not float32"),
    (WORDS, recast("mask", lambda x: x[0]), r"mask must be \[B, T\]"),
    (WORDS, recast("input_mask", lambda x: x[:, :3]), r"input_mask must be \[B, T\] = \[3, 4\]"),
    (WORDS, recast("lengths", lambda x: x[:2]), r"lengths must be integers \[B\] = \[3\]"),
    (WORDS, recast("lengths", lambda x: x.astype(np.float32)), "lengths must be integers .* float32"),
    (WORDS, recast("targets", lambda x: x.tolist()), "targets must be an array, not list: use batch_of"),
]


@pytest.mark.parametrize(("model", "change", "match"), WRONG_VALUES, ids=lambda x: x if isinstance(x, str) else "")
def test_a_wrong_number_is_named_on_the_host_and_on_a_device(model, change, match):
    wrong = change(good(model))
    for batch in (wrong, jax.tree.map(jnp.asarray, wrong)):
        with pytest.raises(ValueError, match=match):
            check_batch(model, batch)
        with pytest.raises(ValueError, match=match):  # known values, though a transformation is under way
            jax.jit(lambda x, batch=batch: (check_batch(model, batch), x)[1])(1.0)


@pytest.mark.parametrize(("model", "change", "match"), WRONG_SHAPES, ids=lambda x: x if isinstance(x, str) else "")
def test_a_wrong_shape_or_type_is_named_also_while_values_are_unknown(model, change, match):
    wrong = change(good(model))
    with pytest.raises(ValueError, match=match):
        check_batch(model, wrong)
    if "list" not in match:
        with pytest.raises(ValueError, match=match):
            jax.jit(lambda batch: (check_batch(model, batch), 0)[1])(wrong)


@pytest.mark.parametrize("model", [WORDS, FRAMES, NOTES, GRID])
def test_a_sound_batch_passes_whatever_stands_behind_its_mask(model):
    batch = good(model)
    check_batch(model, batch)
    padding = batch.mask == 0
    garbage = 99 if model is WORDS else np.nan
    for name, value in (("targets", garbage), ("inputs", garbage), ("input_mask", 7)):
        array = np.array(getattr(batch, name))
        array[padding] = value
        batch = batch._replace(**{name: array})
    check_batch(model, batch)
    check_batch(model, jax.tree.map(jnp.asarray, batch))
    grid = put("targets", (0, 0, 0), 0.5 * 32767 / 256 + 0.25)(good(GRID))  # the ends of 16 bits on 256 levels
    check_batch(GRID, put("targets", (0, 1, 0), -0.5 * 128 + 0.25)(grid))


PARAMS = random_params(FRAMES)
DOORS = {
    "elbo": lambda batch: bounds.elbo(FRAMES, PARAMS, batch, KEY),
    "iwae": lambda batch: bounds.iwae(FRAMES, PARAMS, batch, KEY),
    "iwae_log_weights": lambda batch: bounds.iwae_log_weights(FRAMES, PARAMS, batch, KEY),
    "particle_bound": lambda batch: bounds.particle_bound(FRAMES, PARAMS, batch, KEY),
    "step_terms": lambda batch: bounds.step_terms(FRAMES, PARAMS, batch, KEY),
    "reconstruct": lambda batch: generation.reconstruct(FRAMES, PARAMS, batch, KEY),
    "continue_prefix": lambda batch: generation.continue_prefix(FRAMES, PARAMS, batch, KEY, length=2),
    "interpolate": lambda batch: generation.interpolate(FRAMES, PARAMS, batch, [0.5]),
    "loss_and_metrics": lambda batch: zf_jax.loss_and_metrics(FRAMES, PARAMS, batch, KEY),
    "gradient": lambda batch: jax.grad(lambda p: zf_jax.loss_and_metrics(FRAMES, p, batch, KEY)[0])(PARAMS),
    "inspect": lambda batch: zf_jax.inspect(FRAMES, PARAMS, batch, KEY),
    "mutual_information": lambda batch: mutual_information(FRAMES, PARAMS, batch, KEY),
    "update": lambda batch: zf_jax.update(FRAMES, OPTIMIZER, state(), batch, KEY),
    "train step": lambda batch: zf_jax.make_train_step(FRAMES, OPTIMIZER, data_mesh())(state(), batch, KEY),
    "train steps": lambda batch: zf_jax.make_train_steps(FRAMES, OPTIMIZER, data_mesh())(
        state(), jax.tree.map(lambda x: np.stack([x, x]), batch), KEY
    ),
    "eval step": lambda batch: zf_jax.make_eval_step(FRAMES, data_mesh())(PARAMS, batch, KEY, jnp.arange(3)),
}


@functools.cache
def state():
    return zf_jax.init_state(FRAMES, OPTIMIZER, KEY)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_refuses(door):
    with pytest.raises(ValueError, match=r"mask\[0, 2\] is 1.0"):
        DOORS[door](put("mask", (0, 1), 0)(good(FRAMES)))
    if not door.startswith("train"):  # whose batches on devices are not waited for
        with pytest.raises(ValueError, match=r"mask\[0, 2\] is 1.0"):
            DOORS[door](put("mask", (0, 1), 0)(good(FRAMES, device=True)))


def test_transformations_of_a_batch_pass_the_door():
    model = small("rnn", "frames")
    batch, params, noise = good(model, device=True), random_params(model), jnp.zeros((3, 4, 0))

    def bound(batch):
        return bounds.elbo(model, params, batch, noise=noise)

    def total(targets):
        return bound(batch._replace(targets=targets)).sum()

    slopes = jax.jit(jax.vmap(jax.value_and_grad(total)))(jnp.stack([batch.targets, batch.targets + 1]))
    np.testing.assert_allclose(slopes[0][0], bound(batch).sum(), rtol=1e-5)
    assert np.isfinite(slopes[1]).all()


class Unhashable:
    """A head of one's own that is no value."""

    outside = staticmethod(NOTES.emission.outside)
    __hash__ = None  # pyright: ignore[reportAssignmentType]


def test_an_emission_that_cannot_be_hashed_is_asked_all_the_same():
    own = type("Own", (), {"observation": Observation("frames", 2), "emission": Unhashable()})()
    wrong = put("targets", (0, 3, 1), 2)(good(NOTES))
    for batch in (wrong, jax.tree.map(jnp.asarray, wrong)):
        with pytest.raises(ValueError, match=r"targets\[0, 3, 1\] is 2.0: the Unhashable emission"):
            check_batch(own, batch)
