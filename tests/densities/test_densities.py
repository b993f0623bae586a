"""Densities of whole images: of total probability 1, causal, exact where they say so, and taken by the library."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.densities_under_test import AUTOREGRESSIVE, EXACT, NAMES, built, every_image, keys
from helpers.few import few
from helpers.models_under_test import random_params, small, targets_batch

import zf_jax
from zf_jax.bounds.importance import iwae_log_weights, log_mean_exp
from zf_jax.densities import build_density, of
from zf_jax.densities.images import PIXEL, Autoregressive
from zf_jax.evaluation.mutual_information import mutual_information
from zf_jax.sharding import data_mesh

pytestmark = pytest.mark.x64


@functools.cache
def figures(name):
    """The ELBO's entries and seven log-weights of every image of 2 x 3, with the keys of two seeds."""
    density, params = built(name)
    batch = every_image()

    @jax.jit
    def found(rows):
        return density.elbo(params, batch, rows), density.log_weights(params, batch, rows, 7)

    return found(keys(batch, 0)), found(keys(batch, 1))


@pytest.mark.parametrize("name", EXACT)
def test_all_images_have_probability_1_between_them(name):
    found = figures(name)[0][0]["bound"]
    assert found.std() > 0.3
    np.testing.assert_allclose(np.exp(found).sum(), 1.0, rtol=1e-12)


@dataclasses.dataclass(frozen=True)
class Leaky(Autoregressive):
    """A density whose pixels see themselves."""

    def init(self, key):
        return {}

    def logits(self, params, images):
        return 2.0 * images - 1.0


def test_a_density_that_sees_the_pixel_it_predicts_is_found():
    batch = every_image()
    found = Leaky((2, 3)).log_weights({}, batch, keys(batch), 1)[0]
    assert abs(np.exp(found).sum() - 1.0) > 0.5


def jacobian(density, params, image):
    """d logit_i / d x_j of every pair of pixels, ``[D, D]``."""

    def logits(pixels):
        return density.logits(params, pixels.reshape(1, *density.image_shape)).reshape(-1)

    return np.asarray(jax.jit(jax.jacrev(logits))(image.reshape(-1)))


@pytest.mark.parametrize("name", AUTOREGRESSIVE)
def test_a_pixel_reads_all_those_before_it_and_no_other(name):
    density, params = built(name, (5, 4))
    found = jacobian(density, params, jnp.asarray(np.random.default_rng(0).uniform(size=20)))
    assert np.all(found[np.triu_indices(20)] == 0.0)
    assert np.all(found[np.tril_indices(20, -1)] != 0.0)


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_density_has_the_same_bits_for_any_key_and_any_k(name):
    (elbo, weights), (other, others) = figures(name)
    assert weights.shape == (1, 64)
    for same in (other["bound"], log_mean_exp(weights), log_mean_exp(others)):
        np.testing.assert_array_equal(elbo["bound"], same)
    assert elbo["kl"].tolist() == [0.0] * 64


def test_the_bounds_of_the_library_take_a_density():
    density, params = built("nade")
    batch, key = every_image(), jax.random.key(3)
    expected = figures("nade")[0][0]["bound"]
    for found in (zf_jax.elbo(density, params, batch, key), zf_jax.iwae(density, params, batch, key, num_samples=7)):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", few(NAMES, "nade", "draw"))
def test_a_row_that_only_fills_a_batch_counts_nothing(name):
    density, params = built(name)
    images, lengths = np.array(every_image().targets[20:24]), [6, 6, 6, 0]

    @jax.jit
    def figures(batch):
        metrics = zf_jax.loss_and_metrics(density, params, batch, jax.random.key(0))[1]
        return metrics, density.log_weights(params, batch, keys(batch), 1)[0]

    cases = (images, lengths), ([*images[:3], 1 - images[3]], lengths), (images, None)
    (metrics, weights), (same, _), (others, _) = (figures(targets_batch(PIXEL, rows, n)) for rows, n in cases)
    assert weights[3] == 0.0 and np.all(weights[:3] < 0.0)
    assert metrics == same
    assert metrics["loss"] != others["loss"], "a real row counts"


@pytest.mark.parametrize("name", few(NAMES, "nade", "eonade", "draw"))
def test_padding_is_refused_rather_than_scored_as_black_pixels(name):
    density, params = built(name)
    batch, key = targets_batch(PIXEL, every_image().targets[20:23], [6, 0, 4]), jax.random.key(0)
    doors = {
        "elbo": lambda batch: zf_jax.elbo(density, params, batch, key),
        "iwae": lambda batch: zf_jax.iwae(density, params, batch, key),
        "loss": lambda batch: zf_jax.loss_and_metrics(density, params, batch, key),
        "weights": lambda batch: density.log_weights(params, batch, keys(batch), 1),
        "step": lambda batch: zf_jax.make_eval_step(density, data_mesh())(params, batch, key, jnp.arange(3)),
    }
    for wrong in (batch, jax.tree.map(np.asarray, batch)):
        for door in doors.values():
            with pytest.raises(ValueError, match=rf"lengths\[2\] is 4: an item of {type(density).__name__} has 6"):
                door(wrong)


@pytest.mark.parametrize("name", ["nade", "eonade"])
def test_a_density_goes_on_from_prefixes_of_one_length(name):
    density, params = built(name)
    targets, key = np.array(every_image().targets[20:23, :4]), jax.random.key(0)
    for lengths, match in (([4, 2, 4], r"lengths\[1\] is 2: .* all 4"), ([2, 2, 2], r"lengths\[0\] is 2: .* all 4")):
        with pytest.raises(ValueError, match=match):
            zf_jax.continue_prefix(density, params, targets_batch(PIXEL, targets, lengths), key, length=2)
    for steps, length in ((4, 3), (4, 1), (8, 1)):
        longer = targets_batch(PIXEL, np.resize(targets, (3, steps)))
        with pytest.raises(ValueError, match=rf"the 6 elements of an item of {type(density).__name__}, not {steps} \+"):
            zf_jax.continue_prefix(density, params, longer, key, length=length)
    found = zf_jax.continue_prefix(density, params, targets_batch(PIXEL, targets), key, length=2)
    np.testing.assert_array_equal(found.values[:, :4], targets)


@pytest.mark.parametrize("name", few(AUTOREGRESSIVE, "pixel_rnn"))
def test_drawing_pixel_by_pixel_replays_the_probabilities_of_the_whole_image(name):
    density, params = built(name)
    key = jax.random.key(4)
    drawn = zf_jax.sample(density, params, key, num_samples=16, length=6)
    assert 0 < drawn.values.mean() < 1
    probability = jax.nn.sigmoid(density.logits(params, drawn.values.reshape(-1, 2, 3) * 1.0)).reshape(-1, 6)
    uniform = jax.random.uniform(key, (16, 6))
    np.testing.assert_array_equal(drawn.values, uniform < probability)
    np.testing.assert_allclose(drawn.mean, probability, rtol=1e-12)
    given = targets_batch(PIXEL, 1 - np.asarray(drawn.values)[:, :4])
    rest = zf_jax.continue_prefix(density, params, given, key, length=2)
    np.testing.assert_array_equal(rest.values[:, :4], given.targets)
    np.testing.assert_array_equal(rest.values[:, 4:], (uniform < rest.mean)[:, 4:])


@pytest.mark.parametrize("name", few(NAMES, "pixel_rnn", "nade", "draw"))
def test_the_draws_have_the_probabilities_of_the_density(name):
    density, params = built(name, (1, 2))
    batch = every_image((1, 2))
    draws = 4000
    samples = 2000 if density.kind == "bound" else 1
    expected = np.exp(np.asarray(zf_jax.iwae(density, params, batch, jax.random.key(0), num_samples=samples)))
    found = zf_jax.sample(density, params, jax.random.key(1), num_samples=draws, length=2).values
    counts = np.bincount(np.asarray(found) @ [2, 1], minlength=4)
    assert np.all(np.abs(counts / draws - expected) < 5 * np.sqrt(expected * (1 - expected) / draws) + 0.005)


def test_a_model_of_steps_is_a_density_with_the_same_figures():
    model = small("storn")
    params = random_params(model)
    batch = targets_batch(PIXEL, np.asarray(every_image().targets)[:8], [6] * 7 + [3])
    density, rows = of(model, length=6), keys(batch)
    assert (density.kind, of(small("rnn")).kind, of(density)) == ("bound", "exact", density)

    @jax.jit
    def found(params):
        return (
            density.elbo(params, batch, rows)["bound"],
            density.log_weights(params, batch, rows, 3),
            density.loss(params, batch, jax.random.key(1), zf_jax.Weights())[0],
        )

    @jax.jit
    def expected(params):
        return (
            zf_jax.elbo(model, params, batch, rows),
            iwae_log_weights(model, params, batch, rows, num_samples=3),
            zf_jax.loss_and_metrics(model, params, batch, jax.random.key(1))[0],
        )

    for one, other in zip(found(params), expected(params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    assert density.sample(params, jax.random.key(2), 4).values.shape == (4, 6)


def test_what_needs_steps_is_refused_with_a_sentence():
    density, params = built("nade")
    batch, key = every_image(), jax.random.key(0)
    with pytest.raises(ValueError, match="the particle bound goes step by step, and NADE is a density of whole items"):
        zf_jax.make_eval_step(density, data_mesh(), "particle", 4)
    with pytest.raises(ValueError, match="the particle bound goes step by step"):
        zf_jax.particle_bound(density, params, batch, key)
    with pytest.raises(ValueError, match="reconstruct goes step by step"):
        zf_jax.reconstruct(density, params, batch, key)
    with pytest.raises(ValueError, match="step_terms goes step by step"):
        zf_jax.step_terms(density, params, batch, key)
    with pytest.raises(ValueError, match="inspect goes step by step"):
        zf_jax.inspect(density, params, batch, key)
    with pytest.raises(ValueError, match="mutual_information goes step by step"):
        mutual_information(density, params, batch, key)
    with pytest.raises(ValueError, match="impute goes step by step"):
        zf_jax.impute(density, params, batch, key)
    with pytest.raises(ValueError, match=r"objective free_nats=1.0 is of a model's steps"):
        zf_jax.loss_and_metrics(density, params, batch, key, settings=zf_jax.Objective(free_nats=1.0))
    with pytest.raises(ValueError, match="noise is of a model's steps"):
        zf_jax.elbo(density, params, batch, noise=jnp.zeros((64, 6, 0)))
    with pytest.raises(ValueError, match="chunk_size must be at least 1, not 0"):
        zf_jax.make_eval_step(density, data_mesh(), "iwae", 4, 0)
    with pytest.raises(ValueError, match="a density draws all items with one key, not with one for each"):
        zf_jax.sample(density, params, jax.random.split(key, 2), num_samples=2, length=6)
    with pytest.raises(ValueError, match="6 elements, not 7"):
        zf_jax.sample(density, params, key, num_samples=1, length=7)
    with pytest.raises(ValueError, match=r"an image of \(2, 3\) is 6 tokens"):
        zf_jax.elbo(density, params, every_image((1, 2)), key)


@pytest.mark.parametrize(
    "name, options, sentence",
    [
        ("made", {}, "unknown density 'made'"),
        ("nade", {"rnn_dim": 3}, "has no option 'rnn_dim'"),
        ("nade", {"mlp_dim": 0}, "mlp_dim must be at least 1, not 0"),
        ("nade", {"mlp_dim": 2.0}, "mlp_dim must be whole, not 2.0"),
        ("nade", {"image_shape": (0, 3)}, "at least one row"),
        ("nade", {"image_shape": 28}, r"two whole numbers, \(rows, columns\), such as \(28, 28\), not 28"),
        ("nade", {"image_shape": (2.5, 3)}, r"not \(2\.5, 3\)"),
        ("draw", {"latent_log_std_bounds": 5.0}, r"two numbers, \(lower, upper\), not 5\.0"),
    ],
)
def test_a_density_that_cannot_be_is_refused(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_density(name, **{"image_shape": (2, 3), **options})
