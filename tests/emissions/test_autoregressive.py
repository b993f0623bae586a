"""Heads that draw a frame dimension by dimension: right by the equations, causal, and of total probability 1."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import random_noise, random_params, small, targets_batch, wrap
from jax.sharding import Mesh, PartitionSpec
from reference import brute_force

from zf_jax import bounds, generation
from zf_jax.bounds.particle import particle_bound
from zf_jax.emissions import MADE, NADE, Bernoulli, GaussianMixture, build_emission, emission_values, init_emission
from zf_jax.typing import Observation

pytestmark = pytest.mark.x64

STATE, HIDDEN = 3, 7
CONDITIONALS = {
    "bernoulli": {},
    "gmm": {"num_components": 2},
    "dmol": {"num_components": 2, "levels": 4, "step": 0.5, "zero": 0.25},
}
HEADS = [f"{kind}:{conditional}" for kind in ("nade", "made") for conditional in CONDITIONALS]


@functools.cache
def built(name, size, hidden=HIDDEN, rows=4):
    """A head over frames of ``size``, and its values at random states ``[rows, ...]``."""
    head = build_emission(name, Observation("frames", size), head_dim=hidden, **CONDITIONALS[name.split(":")[1]])
    shapes = jax.eval_shape(lambda: init_emission(jax.random.key(0), head, STATE))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.6), shapes)
    return head, emission_values(params, head, jnp.asarray(rng.normal(size=(rows, STATE))))


def frames(head, rows, seed=1):
    """Frames that the head may be asked about, ``[rows, D]``."""
    rng, shape = np.random.default_rng(seed), (rows, head.observation.size)
    return jnp.asarray(rng.normal(size=shape) if head.is_density else rng.integers(0, 2, shape) * 1.0)


def loop(head, kind, values, x, read=None):
    """Dimension by dimension and unit by unit, from the equations: the conditional's parameters ``{name: [D, P]}``.

    Args:
      values: of one state.
      x: one frame, of which only the dimensions before are read.
      read: chooses a dimension from its parameters in place of ``x``.
    """
    size, x = head.observation.size, np.array(x)
    frame, kernels = np.asarray(values["kernels"]["frame"]), values["kernels"]
    names = head.conditional.outputs
    found = {name: np.array(values[name]).reshape(size, -1) for name in names}
    limits = np.arange(HIDDEN) % size if kind == "made" else np.full(HIDDEN, size)
    for d in range(size):
        for k in range(HIDDEN):
            if kind == "made" and limits[k] > d:
                continue
            total = np.asarray(values["hidden_bias"])[k] + sum(frame[e, k] * x[e] for e in range(min(d, limits[k])))
            unit = 1.0 / (1.0 + np.exp(-total)) if "logits" in names and len(names) == 1 else max(total, 0.0)
            for name in names:
                found[name][d] += unit * np.asarray(kernels[name])[d, k]
        if read is not None:
            x[d] = read({name: found[name][d] for name in names})
    return found, x


def of_row(values, row):
    return {name: leaf if name == "kernels" else leaf[row] for name, leaf in values.items()}


@pytest.mark.parametrize("name", HEADS)
def test_the_conditionals_are_those_of_a_loop(name):
    head, values = built(name, 19)
    x = frames(head, 4)
    found = jax.jit(head.conditionals)(values, x)
    for row in range(4):
        expected, _ = loop(head, name[:4], of_row(values, row), x[row])
        for key in expected:
            np.testing.assert_allclose(found[key][row].reshape(19, -1), expected[key], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        jax.jit(head.log_prob)(values, x), jax.jit(head.conditional.log_prob)(found, x), rtol=1e-13
    )


@pytest.mark.parametrize("name", few([*HEADS], "nade:bernoulli", "made:bernoulli", "nade:dmol", "made:gmm"))
def test_a_dimension_reads_all_those_before_it_and_no_other(name):
    size = 5
    head, values = built(name, size, hidden=40)
    first = next(iter(head.conditional.outputs))
    x = jnp.asarray(np.random.default_rng(2).normal(size=size))
    jacobian = jax.jit(jax.jacrev(lambda x: head.conditionals(of_row(values, 0), x)[first].reshape(size, -1)))(x)
    moved = np.abs(jacobian).max(axis=1)  # [D, D]: the parameters of a row by the dimension of a column
    assert np.all(moved[np.triu_indices(size)] == 0.0)
    assert np.all(moved[np.tril_indices(size, -1)] > 0.0)


@pytest.mark.parametrize("name", few([name for name in HEADS if "gmm" not in name], "nade:bernoulli", "made:dmol"))
def test_the_probabilities_of_all_frames_sum_to_one(name):
    size = 6 if "bernoulli" in name else 4
    head, values = built(name, size)
    levels = [0.0, 1.0] if "bernoulli" in name else 0.5 * np.arange(-2, 2) + 0.25
    every = jnp.asarray(list(itertools.product(levels, repeat=size)))
    values = {k: v if k == "kernels" else v[:, None] for k, v in values.items()}
    log_probs = jax.jit(jax.vmap(lambda x: head.log_prob(values, x[None, None])))(every)
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=0), 1.0, rtol=1e-9)


@pytest.mark.parametrize("name", ["nade:gmm", "made:gmm"])
def test_the_density_integrates_to_one(name):
    head, values = built(name, 2, rows=1)
    values = jax.tree.map(lambda v: 0.3 * v, values)  # no narrow peak between the points of the grid
    grid = np.linspace(-9, 9, 160)
    x = jnp.asarray(np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2))
    tiled = {k: v if k == "kernels" else jnp.broadcast_to(v, (len(x), v.shape[-1])) for k, v in values.items()}
    assert np.exp(jax.jit(head.log_prob)(tiled, x)).sum() * (grid[1] - grid[0]) ** 2 == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", few([*HEADS], "nade:bernoulli", "made:bernoulli", "nade:gmm", "made:dmol"))
def test_a_draw_is_the_conditionals_own_given_itself(name):
    head, values = built(name, 19)
    noise = head.noise(jax.random.key(3), (4,))
    x = jax.jit(head.sample)(values, noise)
    assert x.shape == (4, 19)
    again = jax.jit(lambda x: head.conditional.sample(head.conditionals(values, x), noise))(x)
    np.testing.assert_allclose(again, x, rtol=1e-9, atol=1e-9)
    assert len(np.unique(x)) > 1


@pytest.mark.parametrize("name", few([*HEADS], "nade:bernoulli", "made:gmm", "nade:dmol"))
def test_the_mean_is_that_of_each_dimension_given_the_means_before(name):
    head, values = built(name, 6)
    one = build_emission(name.split(":")[1], Observation("frames", 1), per_dimension=True, **CONDITIONALS[name[5:]])
    for row, mean in enumerate(jax.jit(head.mean)(values)):
        _, expected = loop(head, name[:4], of_row(values, row), np.zeros(6), read=lambda v: one.mean(v)[0])
        np.testing.assert_allclose(mean, expected, rtol=1e-9, atol=1e-9)


def sizes_of(jaxpr):
    """The number of elements of everything that a program computes, inner programs included."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                yield from sizes_of(getattr(inner, "jaxpr", inner))


def test_the_units_of_all_dimensions_never_exist_at_once():
    rows, size, hidden = 30, 160, 50
    head, values = built("nade:bernoulli", size, hidden=hidden, rows=rows)
    x = frames(head, rows)
    program = jax.make_jaxpr(jax.value_and_grad(lambda values: head.log_prob(values, x).sum()))(values)
    sizes = list(sizes_of(program.jaxpr))
    assert rows * hidden in sizes, "those of one dimension do"
    assert max(sizes) <= max(size * hidden, rows * size)


@pytest.mark.parametrize("name", ["nade:bernoulli", "nade:gmm"])
@pytest.mark.parametrize("batched", [None, 0], ids=["once", "for each row"])
def test_the_gradient_that_walks_back_is_that_of_stored_sums(name, batched):
    head, values = built(name, 19)
    x, names = frames(head, 4), head.conditional.outputs
    weights = {key: np.random.default_rng(3).normal(size=values[key].shape) for key in names}

    def walked(values, x):
        sums, frame, kernels, biases = head._parts(values)
        found = {key: [] for key in names}
        for d in range(19):
            units = jax.nn.relu(sums) if "gmm" in name else jax.nn.sigmoid(sums)
            for key in names:
                found[key].append(biases[key][..., d, :] + units @ kernels[key][d])
            sums = sums + x[..., d, None] * frame[d]
        return {key: jnp.concatenate(parts, axis=-1) for key, parts in found.items()}

    def gradient(conditionals):
        def total(values, x, weights):
            return sum(jnp.sum(weights[key] * value) for key, value in conditionals(values, x).items())

        found = jax.grad(total, argnums=(0, 1))
        axes = {key: None if key == "kernels" else 0 for key in values}
        return jax.jit(found if batched is None else jax.vmap(found, in_axes=(axes, 0, 0)))

    found, expected = (gradient(of)(values, x, weights) for of in (head.conditionals, walked))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), found, expected)
    assert np.any(found[1] != 0.0), "the frame has a gradient too"


def test_the_gradient_over_a_mesh_is_summed_over_its_devices():
    head, values = built("nade:bernoulli", 5)
    x, kernels, rows = frames(head, 4), values["kernels"], {k: v for k, v in values.items() if k != "kernels"}

    def total(kernels, rows, x):
        return head.log_prob({**rows, "kernels": kernels}, x).sum()

    def over_mesh(kernels, rows, x):
        return jax.grad(lambda kernels: jax.lax.psum(total(kernels, rows, x), "data"))(kernels)

    mesh, split = Mesh(np.array(jax.devices()[:1]), ("data",)), PartitionSpec("data")
    specs = (PartitionSpec(), split, split)
    found = jax.jit(jax.shard_map(over_mesh, mesh=mesh, in_specs=specs, out_specs=PartitionSpec()))(kernels, rows, x)
    expected = jax.jit(jax.grad(total))(kernels, rows, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), found, expected)


def every_pair_of_frames(size):
    """The batch of all sequences of two binary frames."""
    bits = brute_force.all_binary_sequences(2 * size).reshape(-1, 2, size)
    return targets_batch(Observation("frames", size), bits.astype(float))


def of_frames(name, emission):
    """A small model of binary frames of three dimensions."""
    observation = Observation("frames", 3)
    head = build_emission(emission, observation, head_dim=HIDDEN)
    return dataclasses.replace(small(name, "frames"), observation=observation, emission=head)


@pytest.mark.parametrize("emission", ["nade", "made"])
def test_the_probabilities_of_all_sequences_sum_to_one_without_latents(emission):
    model = of_frames("rnn", emission)
    batch = every_pair_of_frames(3)
    weights = bounds.iwae_log_weights(model, random_params(model), batch, noise=random_noise(model, batch, 0, 1))
    np.testing.assert_allclose(np.exp(weights).sum(), 1.0, rtol=1e-9)


def test_the_probabilities_of_all_sequences_sum_to_one_with_latents():
    model = of_frames("vrnn", "nade")
    model = wrap(model, encode=lambda p, b, encode=model.encode: encode(p, b)._replace(posterior=None))
    params, batch = random_params(model), every_pair_of_frames(3)
    noise = random_noise(model, batch, 0, 300)
    weights = jax.jit(functools.partial(bounds.iwae_log_weights, model))(params, batch, noise=noise)
    estimate, error = brute_force.sum_to_one(np.asarray(weights).T)
    assert abs(estimate - 1.0) < 4 * error < 0.6
    keys = jax.random.split(jax.random.key(0), len(batch.lengths))
    particle = particle_bound(model, params, batch, keys, num_particles=300)
    assert np.exp(particle.bound).sum() == pytest.approx(1.0, abs=0.2)


def test_generated_frames_replay():
    model = of_frames("vrnn", "nade")
    params = random_params(model)
    drawn = generation.sample(model, params, jax.random.key(0), num_samples=3, length=4)
    assert drawn.values.shape == drawn.mean.shape == (3, 4, 3)
    assert set(np.unique(drawn.values)) == {0.0, 1.0}


def test_what_does_not_fit_is_refused():
    for name, kind, words in (
        ("nade", "tokens", "no dimensions"),
        ("nade:gaussian", "frames", "over 'bernoulli'"),
        ("gmm:dmol", "frames", "unknown emission"),
    ):
        with pytest.raises(ValueError, match=words):
            build_emission(name, Observation(kind, 2))
    with pytest.raises(ValueError, match="head_dim"):
        build_emission("made", Observation("frames", 2), head_dim=0)


@pytest.mark.parametrize("head", [NADE, MADE])
def test_a_conditional_that_would_make_no_distribution_is_refused(head):
    """Four shared weights divide by two dimensions: the density of frames integrated to something else than 1."""
    pair = Observation("frames", 2)
    for components in (3, 4):
        with pytest.raises(ValueError, match="a gmm needs per_dimension=True"):
            head(pair, GaussianMixture(pair, components))
    for other in (Observation("frames", 4), Observation("tokens", 2)):
        with pytest.raises(ValueError, match="must be for frames of 2 numbers"):
            head(pair, Bernoulli(other))
    one = Observation("frames", 1)  # which has nothing to share
    assert head(one, GaussianMixture(one, 4)).outputs["logits"] == 4
