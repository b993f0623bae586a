"""Images with latents: weights whose mean is p(x), PixelVAE beside the PixelCNN, DRAW by its equations."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.densities_under_test import built, every_image, keys
from helpers.few import few

from zf_jax.bounds.importance import log_mean_exp
from zf_jax.densities import draw
from zf_jax.densities.pixel_cnn import stacks
from zf_jax.distributions import bernoulli_log_prob

pytestmark = pytest.mark.x64

ONE = {"pixel_vae": {"latent_dim": 1}, "draw": {"latent_dim": 1, "num_glimpses": 1}}
SHAPE = (2, 2)


def nodes(number=1200):
    """Points and weights of the mean over a standard normal variable: a grid, since the decoders bend sharply."""
    points = np.linspace(-9.0, 9.0, number)
    weights = np.exp(-0.5 * points**2)
    return points, weights / weights.sum()


@functools.cache
def one_latent(name):
    """A density with a single latent number, and log p(x) of all images of 2 x 2 by quadrature over the prior."""
    density, params = built(name, SHAPE, **ONE[name])
    images = jnp.asarray(every_image(SHAPE).targets, jnp.float64).reshape(-1, *SHAPE)

    def given(z):  # log p(x | z) of all images
        if name == "draw":
            logits = jnp.broadcast_to(density.decode(params, z.reshape(1, 1, 1)), images.shape)
        else:
            decoded = jnp.broadcast_to(density.decoded(params, z.reshape(1, 1)), (16, *SHAPE, density.mlp_dim))
            logits = stacks(params["pixels"], images, decoded)
        return jnp.sum(bernoulli_log_prob(logits, images), axis=(1, 2))

    points, weights = nodes()
    found = np.asarray(jax.jit(jax.vmap(given))(jnp.asarray(points)))
    return density, params, images, np.log(weights @ np.exp(found))


@pytest.mark.parametrize("name", ONE)
def test_all_images_have_probability_1_between_them(name):
    log_prob = one_latent(name)[-1]
    np.testing.assert_allclose(np.exp(log_prob).sum(), 1.0, rtol=1e-10)
    assert log_prob.std() > 0.3


@pytest.mark.parametrize("name", ONE)
def test_the_mean_weight_is_the_probability_and_the_kl_is_the_mean_of_the_ratio(name):
    density, params, images, log_prob = one_latent(name)
    points, weights = nodes()
    terms = jax.jit(jax.vmap(lambda z: density.terms(params, images, jnp.full((16, *density.noise_shape), z))))
    found = terms(jnp.asarray(points))
    each = np.asarray(found.log_likelihood + found.log_ratio)
    np.testing.assert_allclose(np.log(weights @ np.exp(each)), log_prob, rtol=1e-4)
    np.testing.assert_allclose(-weights @ np.asarray(found.log_ratio), found.kl[0], rtol=1e-6)
    assert np.min(found.kl) > 1e-3
    assert np.all(weights @ each < log_prob), "the ELBO is below"


@pytest.mark.parametrize("name", few([*ONE], "draw"))
def test_the_bound_rises_to_the_log_likelihood_with_k(name):
    density, params, _, log_prob = one_latent(name)
    batch = every_image(SHAPE)
    rows = keys(batch)
    number = 1000

    @jax.jit
    def found(params):
        chunked = density.log_weights(params, batch, rows, number, chunk_size=300)
        return density.log_weights(params, batch, rows, 3), chunked, density.elbo(params, batch, rows)

    few, weights, elbo = found(params)
    assert weights.shape == (number, 16)
    np.testing.assert_allclose(few, weights[:3], rtol=1e-9)
    deviation = np.std(np.exp(weights - log_prob), axis=0) / np.sqrt(number)
    assert np.all(np.abs(log_mean_exp(weights) - log_prob) < 5 * deviation + 1e-6)
    assert weights.mean() < log_prob.mean()
    assert np.all(elbo["kl"] > 0) and np.all(np.isfinite(elbo["bound"]))


def test_a_pixel_vae_whose_map_is_not_read_is_the_pixel_cnn():
    density, params = built("pixel_vae")
    pixels = dict(params["pixels"])
    for name in list(pixels):
        if name.startswith("layer_"):
            silent = {part: {"kernel": 0 * pixels[name][part]["kernel"]} for part in ("map_vertical", "map_horizontal")}
            pixels[name] = pixels[name] | silent
    images = jnp.asarray(every_image().targets, jnp.float64).reshape(-1, 2, 3)
    noise = jnp.asarray(np.random.default_rng(0).normal(size=(64, *density.noise_shape)))

    @jax.jit
    def log_likelihood(params):
        return density.terms(params, images, noise).log_likelihood

    @jax.jit
    def of_the_cnn(pixels):
        return jnp.sum(bernoulli_log_prob(built("pixel_cnn")[0].logits(pixels, images), images), axis=(1, 2))

    alone = of_the_cnn(pixels)
    np.testing.assert_allclose(log_likelihood(params | {"pixels": pixels}), alone, rtol=1e-13)
    assert np.abs(log_likelihood(params) - alone).max() > 1e-3


@pytest.mark.parametrize("name", ONE)
def test_what_would_need_inference_is_refused(name):
    density, params = built(name, SHAPE, **ONE[name])
    assert not density.completes
    with pytest.raises(ValueError, match="draws whole images"):
        density.sample(params, jax.random.key(0), 1, jnp.zeros((1, 2), jnp.int32))


def test_a_filter_has_mass_1_or_lies_outside_and_a_narrow_one_reads_its_pixel():
    centre, stride, variance = (jnp.asarray(x).reshape(-1, 1) for x in ([2.5, 40.0], [1.0, 1.0], [0.7, 0.7]))
    filters = jax.jit(draw.filters, static_argnums=(3, 4))
    found = filters(centre, stride, variance, 3, 6)
    np.testing.assert_allclose(found.sum(axis=-1), [[1, 1, 1], [0, 0, 0]], atol=1e-6)
    narrow = filters(jnp.array([[3.0]]), jnp.array([[1.0]]), jnp.array([[1e-4]]), 3, 6)
    np.testing.assert_allclose(narrow[0], np.eye(6)[1:4], atol=1e-6)
    image = jnp.arange(24.0).reshape(1, 4, 6)
    at = filters(jnp.array([[2.0]]), jnp.array([[1.0]]), jnp.array([[1e-4]]), 1, 4)
    across = filters(jnp.array([[5.0]]), jnp.array([[1.0]]), jnp.array([[1e-4]]), 1, 6)
    np.testing.assert_allclose(draw.read(image, across, at), [[[image[0, 1, 4]]]], rtol=1e-6)


def test_writing_is_the_adjoint_of_reading():
    rng = np.random.default_rng(0)
    image, patch, across, down = (jnp.asarray(rng.normal(size=(1, *s))) for s in ((4, 6), (3, 3), (3, 6), (3, 4)))
    np.testing.assert_allclose(
        jnp.sum(draw.read(image, across, down) * patch), jnp.sum(image * draw.write(patch, across, down)), rtol=1e-9
    )


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def draw_loop(density, params, image, noise):
    """log p(x | z), KL and log p(z) - log q(z | x) of one image, filter by filter from the equations."""
    p = jax.tree.map(np.asarray, params)
    rows, columns = density.image_shape
    size = density.rnn_dim

    def affine(layer, x):
        return x @ layer["kernel"] + layer["bias"]

    def lstm(layer, state, x):
        i, f, g, o = np.split(affine(layer["input"], x) + state[0] @ layer["recurrent"]["kernel"], 4)
        cell = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(cell), cell

    def bank(layer, hidden, number):
        x, y, log_variance, log_stride, log_gain = affine(layer, hidden)
        stride = (max(rows, columns) - 1) / max(number - 1, 1) * np.exp(log_stride)
        banks = []
        for length, relative in ((columns, x), (rows, y)):
            centre = (length + 1) / 2 * (relative + 1)
            filters = np.zeros((number, length))
            for i in range(1, number + 1):
                mean = centre + (i - number / 2 - 0.5) * stride
                row = np.array([np.exp(-((a - mean) ** 2) / 2 / np.exp(log_variance)) for a in range(1, length + 1)])
                filters[i - 1] = row / (row.sum() + 1e-8)
            banks.append(filters)
        return *banks, np.exp(log_gain)

    canvas = p["canvas"]
    encoder, decoder = ((p[f"{name}_start"], np.zeros(size)) for name in ("encoder", "decoder"))
    kl = ratio = 0.0
    for epsilon in noise:
        across, down, gain = bank(p["read"], decoder[0], density.read_size)
        seen = [gain * (down @ part @ across.T).ravel() for part in (image, image - sigmoid(canvas))]
        encoder = lstm(p["encoder"], encoder, np.concatenate([*seen, decoder[0]]))
        mean, raw = affine(p["mean"], encoder[0]), affine(p["log_std"], encoder[0])
        low, high = density.latent_log_std_bounds
        log_std = np.asarray(draw.bound_log_std(jnp.asarray(raw), (low, high)))
        z = mean + np.exp(log_std) * epsilon
        kl += np.sum(0.5 * (mean**2 + np.exp(2 * log_std) - 1) - log_std)
        ratio += np.sum(-0.5 * z**2 + 0.5 * epsilon**2 + log_std)
        decoder = lstm(p["decoder"], decoder, z)
        across, down, gain = bank(p["write"], decoder[0], density.write_size)
        patch = affine(p["patch"], decoder[0]).reshape(density.write_size, density.write_size)
        canvas = canvas + down.T @ patch @ across / gain
    probability = sigmoid(canvas)
    return np.sum(np.log(np.where(image == 1, probability, 1 - probability))), kl, ratio


def test_draw_is_the_loop_of_its_equations():
    density, params = built("draw", (4, 5))
    rng = np.random.default_rng(1)
    images, noise = rng.integers(0, 2, (3, 4, 5)), rng.normal(size=(3, *density.noise_shape))
    found = jax.jit(density.terms)(params, jnp.asarray(images, jnp.float64), jnp.asarray(noise))
    for row in range(3):
        expected = draw_loop(density, params, images[row], noise[row])
        np.testing.assert_allclose([term[row] for term in found], expected, rtol=1e-9)


def test_a_glimpse_reads_no_noise_of_later_glimpses():
    density, params = built("draw", (4, 5))
    images = jnp.asarray(np.random.default_rng(1).integers(0, 2, (1, 4, 5)), jnp.float64)
    noise = jnp.zeros((1, *density.noise_shape))
    # The KL of the first glimpse does not move, those after it do.
    kl = [float(density.terms(params, images, noise.at[0, t].set(1.0)).kl[0]) for t in range(density.num_glimpses)]
    still = float(density.terms(params, images, noise).kl[0])
    assert kl[-1] == still, "the last noise reaches no posterior"
    assert all(abs(one - still) > 1e-9 for one in kl[:-1])
