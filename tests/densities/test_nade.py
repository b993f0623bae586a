"""NADE and EoNADE: the equations by loops, and the ensemble of orderings by enumeration."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.densities_under_test import built, every_image, keys

from zf_jax.densities.eonade import random_sets

pytestmark = pytest.mark.x64


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def test_nade_is_the_loop_of_its_equations():
    density, params = built("nade", (3, 7))  # more pixels than a block of the running sum
    images = np.random.default_rng(1).integers(0, 2, (2, 3, 7))
    found = jax.jit(density.logits)(params, jnp.asarray(images, jnp.float64))
    kernels = jax.tree.map(np.asarray, params["kernels"])
    for row, image in enumerate(images):
        total, pixels = np.array(params["hidden_bias"]), image.reshape(-1)
        for d in range(21):
            logit = np.asarray(params["logits"])[d] + kernels["logits"][d, :, 0] @ sigmoid(total)
            np.testing.assert_allclose(found[row].reshape(-1)[d], logit, rtol=1e-9, atol=1e-9)
            if d < 20:
                total = total + kernels["frame"][d] * pixels[d]


def network(params, pixels, known, iterations, layers):
    """The logits of every iteration for one image, unit by unit from the equations: ``[k, D]``."""
    p = jax.tree.map(np.asarray, params)
    size, units = p["values"]["kernel"].shape
    guess, found = [sigmoid(a) for a in p["start"]], []
    for _ in range(iterations):
        read = [pixels[i] if known[i] else guess[i] for i in range(size)]
        hidden = []
        for j in range(units):
            total = p["values"]["bias"][j]
            for i in range(size):
                total += p["values"]["kernel"][i, j] * read[i] + p["known"]["kernel"][i, j] * known[i]
            hidden.append(np.tanh(total))
        for layer in range(1, layers):
            weights = p[f"hidden_{layer}"]
            hidden = np.tanh(np.array(hidden) @ weights["kernel"] + weights["bias"])
        logits = np.array(hidden) @ p["output"]["kernel"] + p["output"]["bias"]
        guess = sigmoid(logits)
        found.append(logits)
    return np.array(found)


def log_prob(params, pixels, ordering, iterations=2, layers=2):
    """log p of one image in one ordering."""
    total, known = 0.0, np.zeros(len(pixels))
    for pixel in ordering:
        probability = sigmoid(network(params, pixels, known, iterations, layers)[-1][pixel])
        total += np.log(probability if pixels[pixel] else 1.0 - probability)
        known[pixel] = 1
    return total


def test_eonade_is_the_mixture_over_its_orderings_of_a_loop():
    density, params = built("eonade")
    orderings = np.asarray(params["orderings"])
    assert orderings.shape == (3, 6) and all(sorted(one) == [*range(6)] for one in orderings.tolist())
    batch = every_image()
    found = jax.jit(density.log_weights, static_argnums=3)(params, batch, keys(batch), 1)[0]
    for row in (11, 50):
        each = [log_prob(params, np.asarray(batch.targets[row]), ordering) for ordering in orderings]
        np.testing.assert_allclose(found[row], np.log(np.mean(np.exp(each))), rtol=1e-9)
        assert found[row] >= np.mean(each)
        assert np.std(each) > 1e-3, "the orderings differ"


def test_the_loss_of_eonade_is_on_average_that_over_all_orderings():
    density, params = built("eonade", (2, 2))
    pixels = np.array([1, 0, 1, 1])
    sets = np.array(list(itertools.product([0, 1], repeat=4)))[:-1]  # all but the full set
    sizes = sets.sum(axis=1)
    chance = 1 / 4 / np.array([1, 4, 6, 4])[sizes]
    np.testing.assert_allclose(chance.sum(), 1.0)
    costs = density.costs(params, jnp.tile(pixels * 1.0, (15, 1)), jnp.asarray(sets * 1.0))
    for iterations in (1, 2):
        expected = -np.mean([log_prob(params, pixels, o, iterations) for o in itertools.permutations(range(4))])
        np.testing.assert_allclose(costs[iterations - 1] @ chance, expected, rtol=1e-9)
    # The loss averages over the iterations.
    batch = jax.tree.map(lambda leaf: leaf[:1], every_image((2, 2)))._replace(targets=jnp.asarray(pixels)[None])
    loss, metrics = density.loss(params, batch, jax.random.key(3))
    drawn = random_sets(jax.random.key(3), 1, 4)
    each = density.costs(params, jnp.asarray(pixels * 1.0)[None], drawn)[:, 0]
    np.testing.assert_allclose(loss, each.mean(), rtol=1e-12)
    np.testing.assert_allclose(metrics["elbo_nats_per_sequence"], -each[-1], rtol=1e-12)


def test_random_sets_have_every_size_as_often_and_every_set_of_a_size_as_often():
    rows = 24000
    found = np.asarray(jax.jit(random_sets, static_argnums=(1, 2))(jax.random.key(0), rows, 3)).astype(int)
    counts = np.bincount(found @ [4, 2, 1], minlength=8) / rows
    expected = np.array([1 / 3, 1 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 9, 0])
    assert np.all(np.abs(counts - expected) <= 5 * np.sqrt(expected / rows))


def test_eonade_fills_in_any_missing_pixels_with_the_probabilities_of_its_equations():
    density, params = built("eonade")
    values, known = np.array([1, 0, 1, 0, 0, 1]), np.array([0, 1, 0, 0, 1, 1])
    one = density.conditionals(params, jnp.asarray(values * 1.0)[None], jnp.asarray(known * 1.0)[None])
    np.testing.assert_allclose(one[:, 0], network(params, values, known, 2, 2), rtol=1e-9)
    key = jax.random.key(7)
    rows = 8
    drawn = jax.jit(density.fill)(params, key, np.tile(values, (rows, 1)), np.tile(known, (rows, 1)))
    np.testing.assert_array_equal(np.asarray(drawn.values)[:, known == 1], np.tile(values[known == 1], (rows, 1)))
    key_ordering, key_pixels = jax.random.split(key)
    ordering = np.argsort(jax.random.uniform(key_ordering, (rows, 6)), axis=1)
    uniform = jax.random.uniform(key_pixels, (rows, 6))
    for row in range(rows):
        pixels, seen = np.asarray(drawn.values[row]), known.copy()
        for pixel in ordering[row]:
            if not seen[pixel]:
                probability = sigmoid(network(params, pixels, seen, 2, 2)[-1][pixel])
                np.testing.assert_allclose(drawn.mean[row, pixel], probability, rtol=1e-9)
                assert pixels[pixel] == (uniform[row, pixel] < probability)
            seen[pixel] = 1


def test_the_orderings_are_of_the_key_of_prepare_and_asked_for_where_they_lack():
    density, params = built("eonade")
    again, other = (density.prepare(params, jax.random.key(seed))["orderings"].tolist() for seed in (5, 6))
    assert again == params["orderings"].tolist() != other
    bare = {name: leaf for name, leaf in params.items() if name != "orderings"}
    batch = every_image()
    with pytest.raises(ValueError, match="no orderings yet: call prepare"):
        density.log_weights(bare, batch, keys(batch), 1)
