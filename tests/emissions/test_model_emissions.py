"""Any model with any emission that fits its data: the head sits rightly on every trunk.

Models and emissions meet in the head alone, so by default an emission meets one or two models, most often Z-Forcing,
whose reverse prediction is a second head; ``-m slow`` takes the rest.
What compiles a program of its own is checked on one model an emission, and on all of them under ``slow``.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.models_under_test import (
    KINDS,
    NAMES,
    random_noise,
    random_params,
    random_targets,
    small,
    targets_batch,
)
from scipy import special

from zf_jax import bounds, generation
from zf_jax.emissions import build_emission, emission_values
from zf_jax.objective.loss import objective, sequence_mean, trajectory
from zf_jax.objective.settings import Objective, Weights
from zf_jax.typing import Array, Batch, StepTerms

pytestmark = pytest.mark.x64

EMISSIONS = {  # the kind of data, the head, its options
    "bernoulli": ("binary", "bernoulli", {}),
    "categorical": ("words", "categorical", {}),
    "gaussian": ("frames", "gaussian", {}),
    "gmm": ("frames", "gmm", {"num_components": 3}),
    "gmm per dimension": ("frames", "gmm", {"num_components": 3, "per_dimension": True}),
    "nade of gmm": ("frames", "nade:gmm", {"num_components": 3, "head_dim": 5}),
    "nade of dmol": ("frames", "nade:dmol", {"num_components": 3, "head_dim": 5, "step": 1e-4, "zero": 0.01}),
    "dmol of 16 bits": ("frames", "dmol", {"num_components": 3, "step": 1e-4, "zero": 0.01}),
    "dmol of 8 bits, mu-law": (
        "frames",
        "dmol",
        {"num_components": 3, "levels": 256, "step": 0.025, "zero": -0.04, "coding": "mu_law"},
    ),
}
# One model an emission, all models among them.
COVER = {
    ("srnn", "bernoulli"),
    ("vrnn", "categorical"),
    ("rnn", "gaussian"),
    ("storn", "gmm"),
    ("zforcing", "gmm per dimension"),
    ("vrnn_i", "dmol of 16 bits"),
    ("srnn", "dmol of 8 bits, mu-law"),
    ("vrnn", "nade of gmm"),
    ("zforcing", "nade of dmol"),
}
SOME = {("vrnn", "categorical"), ("zforcing", "gmm per dimension"), ("srnn", "dmol of 8 bits, mu-law")}
WEIGHTS = Weights(kl_temperature=0.6, aux_weight=0.7, reverse_weight=0.3)
LENGTHS = (6, 3, 5)
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def pairs(usual):
    """Every model with every emission; those that are not among the usual ones are slow."""
    every = [(name, emission) for name in NAMES for emission in EMISSIONS]
    return [pytest.param(*pair, marks=() if pair in usual else pytest.mark.slow) for pair in every]


class Case(NamedTuple):
    """A model, what it was given, and all that one compiled program says about them."""

    model: Any
    params: Any
    batch: Batch
    noise: Array
    loss: Array
    gradient: Any
    terms: StepTerms
    values: Any  # of the emission that each target was scored by
    reverse_values: Any  # of the one that each input was scored by, in Z-Forcing


@functools.cache
def case(name, emission, **options):
    kind, head, settings = EMISSIONS[emission]
    observation = KINDS[kind][0]
    model = small(name, kind, emission=build_emission(head, observation, **settings | options))
    targets = random_targets(observation, len(LENGTHS), max(LENGTHS))
    if observation.kind == "frames":
        targets[0, 1], targets[1, 0] = (-3.6, 0.0), (0.3, 3.6)  # beyond either end of the integers
    batch = targets_batch(observation, targets, LENGTHS)
    # Halved, so that no unit is clipped and no gate is shut at every step.
    params, noise = jax.tree.map(lambda x: 0.5 * x, random_params(model)), random_noise(model, batch)
    for part in ("emission", "reverse"):
        if "hidden_bias" in params.get(
            part, {}
        ):  # so far above 0 that no rectified unit is silent at every step, and no component is out of reach
            params[part]["hidden_bias"]["bias"] = jnp.abs(params[part]["hidden_bias"]["bias"]) + 1.0
            params[part]["kernels"] = jax.tree.map(lambda x: 0.3 * x, params[part]["kernels"])

    def measure(params):
        """The loss as training adds it up, and beside it what the checks are about."""
        features = model.encode(params, batch)
        terms, sites, _ = trajectory(model, params, batch, features, noise, Objective())
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        reverse = None
        if "reverse" in params:
            reverse = emission_values(params["reverse"], model.emission, features.extra)
        return -sequence_mean(objective(terms, WEIGHTS), batch), (terms, values, reverse)

    (loss, aside), gradient = jax.jit(jax.value_and_grad(measure, has_aux=True))(params)
    return Case(model, params, batch, noise, loss, gradient, *aside)


def bent(raw, lower, upper):
    """A scale's logarithm between its smooth bounds."""
    above = lower + np.logaddexp(0.0, raw - lower)
    return upper - np.logaddexp(0.0, upper - above)


def normal(x, mean, raw):
    log_std = bent(raw, -7.0, 5.0)
    return -0.5 * ((x - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2.0 * np.pi)


def components(values, names, size):
    """Each parameter as ``[B, T, D, C]``, dimension by dimension."""
    return [values[k].reshape(*values[k].shape[:2], size, -1) for k in names]


def bernoulli(head, values, x):
    return np.log(special.expit(np.where(x == 1, 1.0, -1.0) * values["logits"][..., 0]))


def categorical(head, values, x):
    probabilities = special.softmax(values["logits"], axis=-1)
    return np.log(np.take_along_axis(probabilities, x[..., None], axis=-1)[..., 0])


def gaussian(head, values, x):
    return normal(x, values["mean"], values["log_std"]).sum(-1)


def gmm(head, values, x):
    mean, log_std = components(values, ("mean", "log_std"), x.shape[-1])
    densities = normal(x[..., None], mean, log_std)
    if head.per_dimension:  # a sum over components in every dimension, and a product over dimensions
        weights = special.softmax(components(values, ("logits",), x.shape[-1])[0], axis=-1)
        return np.log((weights * np.exp(densities)).sum(-1)).sum(-1)
    weights = special.softmax(values["logits"], axis=-1)  # the other way round: [B, T, C]
    return np.log((weights * np.exp(densities.sum(-2))).sum(-1))


def dmol(head, values, x):
    """Differences of distribution functions over the bins of the integers; the end bins have no outer edge."""
    logits, mean, log_scale = components(values, ("logits", "mean", "log_scale"), x.shape[-1])
    half = head.levels // 2
    n = np.clip(np.rint((x - head.zero) / head.step), -half, half - 1)[..., None]
    if head.coding == "mu_law":
        mu = head.levels - 1
        axis = lambda v: half * np.sign(v) * np.log1p(mu * np.abs(v) / half) / np.log1p(mu)  # noqa: E731
        location, unit = half * mean, half
    else:
        axis, location, unit = (lambda v: v), (mean - head.zero) / head.step, 1.0 / head.step
    scale = np.exp(bent(log_scale + np.log(unit), -7.0, 12.0))
    lower = np.where(n == -half, -np.inf, (axis(np.maximum(n - 0.5, -half)) - location) / scale)
    upper = np.where(n == half - 1, np.inf, (axis(np.minimum(n + 0.5, half)) - location) / scale)
    # On the right of the centre from the right, so that no digits are lost.
    right = lower > 0.0
    mass = special.expit(np.where(right, -lower, upper)) - special.expit(np.where(right, -upper, lower))
    return np.log((special.softmax(logits, axis=-1) * mass).sum(-1)).sum(-1)


def nade(head, values, x):
    """The conditional of each of the two dimensions in turn, the second's moved by the first."""
    kernels = dict(values["kernels"])
    first = np.maximum(values["hidden_bias"], 0.0)
    second = np.maximum(values["hidden_bias"] + x[..., :1] * kernels.pop("frame")[0], 0.0)
    moved = {k: np.concatenate([first @ v[0], second @ v[1]], axis=-1) for k, v in kernels.items()}
    conditional = gmm if head.is_density else dmol
    return conditional(head.conditional, {k: values[k] + v for k, v in moved.items()}, x)


ORACLES = {
    "bernoulli": bernoulli,
    "categorical": categorical,
    "gaussian": gaussian,
    "gmm": gmm,
    "dmol": dmol,
    "nade:gmm": nade,
    "nade:dmol": nade,
}


def by_hand(emission, head, values, x, mask):
    """log p(x) of every real step, in numpy."""
    values, x, mask = jax.tree.map(np.asarray, (values, x, mask))
    x = np.where(mask.reshape(mask.shape + (1,) * (x.ndim - 2)) > 0, x, 0)
    return np.where(mask > 0, ORACLES[EMISSIONS[emission][1]](head, values, x), 0.0)


@pytest.mark.parametrize("name, emission", pairs(COVER))
def test_the_emissions_terms_are_those_of_numpy(name, emission):
    found = case(name, emission)
    model, batch = found.model, found.batch
    expected = by_hand(emission, model.emission, found.values, batch.targets, batch.mask)
    np.testing.assert_allclose(found.terms.emission_log_prob, expected, **CLOSE)
    if found.reverse_values is not None:
        expected = by_hand(emission, model.emission, found.reverse_values, batch.inputs, batch.input_mask)
        assert np.all((expected != 0.0) == (np.asarray(batch.input_mask) > 0))
        np.testing.assert_allclose(found.terms.reverse_log_prob, expected, **CLOSE)


def without_gradient(gradient):
    """Where a gradient is exactly zero: the path of the leaf and, of its elements, their indices."""
    leaves = jax.tree_util.tree_leaves_with_path(gradient)
    zeros = {"/".join(key.key for key in path): np.argwhere(np.asarray(leaf) == 0.0).tolist() for path, leaf in leaves}
    return {path: indices for path, indices in zeros.items() if indices}


@pytest.mark.parametrize("name, emission", pairs(COVER))
def test_every_single_parameter_is_trained(name, emission):
    found = case(name, emission)
    observation = found.model.observation
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found.loss, found.gradient, found.terms)))
    expected = {}
    if observation.kind == "tokens":
        read = np.asarray(found.batch.inputs)[np.asarray(found.batch.mask) > 0]
        assert set(read.tolist()) == set(range(observation.size + 1)), "every token is an input somewhere"
        # VRNN's state skips a start token, and a DMM reads no inputs: its row in the table is never read.
        if name in ("vrnn", "vrnn_i", "dmm"):
            width = found.model.embed_dim
            expected = {"embedding/embedding": [[observation.start_token, i] for i in range(width)]}
    assert without_gradient(found.gradient) == expected


@pytest.mark.parametrize("emission", ["gmm", "gmm per dimension", "dmol of 8 bits, mu-law"])
def test_the_weight_of_a_single_component_is_the_one_thing_that_is_not(emission):
    found = case("rnn", emission, num_components=1)
    logits = found.gradient["emission"]["logits"]
    none = {f"emission/logits/{part}": np.argwhere(np.isfinite(logits[part])).tolist() for part in ("kernel", "bias")}
    assert without_gradient(found.gradient) == none


@pytest.mark.parametrize("name, emission", pairs(SOME))
def test_a_sequence_of_a_padded_batch_is_worth_what_it_is_alone(name, emission):
    found, row = case(name, emission), 1
    length = LENGTHS[row]
    alone = Batch(*(x[row : row + 1, :length] for x in found.batch[:4]), found.batch.lengths[row : row + 1])
    assert alone.mask.all()
    noise = found.noise[row : row + 1, :length]
    terms = jax.jit(functools.partial(bounds.step_terms, found.model))(found.params, alone, noise=noise)
    for name, together, term in zip(terms._fields, found.terms, terms, strict=True):
        np.testing.assert_allclose(term[0], together[row, :length], **CLOSE, err_msg=name)
        assert np.all(np.asarray(together)[row, length:] == 0.0), name


@pytest.mark.parametrize("name, emission", pairs(SOME))
def test_iwae_of_one_sample_is_the_weight_of_that_sample(name, emission):
    found = case(name, emission)
    emitted = by_hand(emission, found.model.emission, found.values, found.batch.targets, found.batch.mask)
    weight = (emitted + found.terms.prior_log_prob - found.terms.posterior_log_prob).sum(axis=1)
    iwae = jax.jit(functools.partial(bounds.iwae, found.model))(found.params, found.batch, noise=found.noise[None])
    np.testing.assert_allclose(iwae, weight, **CLOSE)


@pytest.mark.parametrize("name, emission", pairs(COVER))
def test_samples_lie_where_data_can(name, emission):
    rows, steps = 200, 6
    found = case(name, emission)
    model, params, observation = found.model, found.params, found.model.observation
    if "log_scale" in params["emission"]:  # so wide that some draws fall beyond either end of the integers
        wide = params["emission"]["log_scale"] | {"bias": params["emission"]["log_scale"]["bias"] + 1.0}
        params = params | {"emission": params["emission"] | {"log_scale": wide}}
    draw = jax.jit(functools.partial(generation.sample, model, num_samples=rows, length=steps))
    drawn = np.asarray(draw(params, jax.random.key(0)).values)
    assert drawn.shape == (rows, steps, *((observation.size,) if observation.kind == "frames" else ()))
    if observation.kind == "tokens":
        assert np.issubdtype(drawn.dtype, np.integer)
        assert set(np.unique(drawn)) == set(range(observation.size))
    elif "log_scale" in params["emission"]:
        head = getattr(model.emission, "conditional", model.emission)
        integers = (drawn - head.zero) / head.step
        np.testing.assert_allclose(integers, np.rint(integers), rtol=0, atol=1e-6)
        integers = np.rint(integers)
        assert (integers.min(), integers.max()) == (-head.levels // 2, head.levels // 2 - 1)
        assert len(np.unique(integers)) > 50
    else:
        assert np.isfinite(drawn).all()
        assert len(np.unique(drawn)) == drawn.size
