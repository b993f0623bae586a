"""The gated PixelCNN: the equations pixel by pixel, and the masks of its convolutions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.densities_under_test import built

from zf_jax.densities import build_density
from zf_jax.densities.convolutions import masked_convolution, raster_mask

pytestmark = pytest.mark.x64


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def affine(params, x):
    return x @ np.asarray(params["kernel"]) + np.asarray(params.get("bias", 0.0))


def gate(x):
    a, b = np.split(x, 2)
    return np.tanh(a) * sigmoid(b)


def loop(params, image, num_layers):
    """The logits of one image: ``[n, m]``."""
    rows, columns = image.shape
    vertical = horizontal = image[..., None].astype(float)
    for layer in range(num_layers):
        p = params[f"layer_{layer}"]
        tall, left = np.asarray(p["vertical"]["kernel"]), np.asarray(p["horizontal"]["kernel"])
        reach = tall.shape[1] // 2
        above, moved = {}, np.zeros((rows, columns, tall.shape[3] // 2))
        for r, c in np.ndindex(rows, columns):
            above[r, c] = np.array(p["vertical"]["bias"])
            for a, b in np.ndindex(rows, columns):
                if 0 <= r - a <= reach and abs(b - c) <= reach:
                    above[r, c] = above[r, c] + vertical[a, b] @ tall[a - r + reach, b - c + reach]
        for r, c in np.ndindex(rows, columns):
            before = np.array(p["horizontal"]["bias"])
            for b in range(columns):
                if 0 < c - b <= reach or (layer and b == c):
                    before = before + horizontal[r, b] @ left[0, b - c + reach]
            if r:
                before = before + affine(p["down"], above[r - 1, c])
            moved[r, c] = affine(p["out"], gate(before))
        vertical = np.array([[gate(above[r, c]) for c in range(columns)] for r in range(rows)])
        horizontal = horizontal + moved if layer else moved
    hidden = np.maximum(affine(params["hidden"], np.maximum(horizontal, 0.0)), 0.0)
    return affine(params["output"], hidden)[..., 0]


def test_the_logits_are_those_of_a_loop_over_pixels():
    density, params = built("pixel_cnn", (4, 5))
    images = np.random.default_rng(1).integers(0, 2, (2, 4, 5))
    found = jax.jit(density.logits)(params, jnp.asarray(images, jnp.float64))
    for row, image in enumerate(images):
        np.testing.assert_allclose(found[row], loop(params, image, 2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("centre", [False, True])
def test_a_masked_convolution_reads_what_its_mask_says(centre):
    expected = [[1, 1, 1], [1, int(centre), 0], [0, 0, 0]]
    np.testing.assert_array_equal(raster_mask(3, 3, centre=centre), expected)
    params = {"kernel": jnp.ones((3, 3, 1, 1)), "bias": jnp.zeros(1)}
    image = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1.0)
    # What reads the centre of the image sees the kernel turned around.
    found = masked_convolution(params, image, centre=centre)[0, 1:4, 1:4, 0]
    np.testing.assert_array_equal(found, np.array(expected)[::-1, ::-1])


def test_a_filter_without_a_centre_is_refused():
    with pytest.raises(ValueError, match="filter_size must be odd, not 4"):
        build_density("pixel_cnn", (2, 3), filter_size=4)
