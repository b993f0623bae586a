"""PixelRNN: the equations cell by cell, the shift of the second direction, and what no pixel can see."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.densities_under_test import built, every_image, keys

from zf_jax.densities import pixel_rnn

pytestmark = pytest.mark.x64


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def affine(params, x):
    return x @ np.asarray(params["kernel"]) + np.asarray(params["bias"])


def lstm(params, maps):
    """The states of a direction, cell by cell: ``[n, m, H]``."""
    rows, columns = maps.shape[:2]
    size = params["state"]["kernel"].shape[0] // 2
    hidden, cell = np.zeros((2, rows, columns, size))
    nothing = np.zeros(size)
    for r in range(rows):
        for c in range(columns):
            left, above = hidden[r, c - 1] if c else nothing, hidden[r - 1, c] if r else nothing
            gates = affine(params["input"], maps[r, c]) + np.concatenate([left, above]) @ np.asarray(
                params["state"]["kernel"]
            )
            i, f, g, o = np.split(gates, 4)
            cell[r, c] = sigmoid(f) * (cell[r, c - 1] if c else nothing) + sigmoid(i) * np.tanh(g)
            hidden[r, c] = sigmoid(o) * np.tanh(cell[r, c])
    return hidden


def loop(params, image, num_layers):
    """The logits of one image from the equations: ``[n, m]``."""
    rows, columns = image.shape
    kernel, bias = np.asarray(params["first"]["kernel"]), np.asarray(params["first"]["bias"])
    maps = np.zeros((rows, columns, len(bias))) + bias
    for r, c in np.ndindex(rows, columns):
        for a, b in np.ndindex(rows, columns):
            if (a < r or (a == r and b < c)) and r - a <= 3 and abs(b - c) <= 3:
                maps[r, c] += kernel[a - r + 3, b - c + 3, 0] * image[a, b]
    for index in range(num_layers):
        layer = params[f"layer_{index}"]
        left, right = lstm(layer["left"], maps), lstm(layer["right"], maps[:, ::-1])[:, ::-1]
        shifted = np.concatenate([np.zeros_like(right[:1]), right[:-1]])
        maps = maps + affine(layer["up"], left + shifted)
    for name in ("hidden_0", "hidden_1"):
        maps = affine(params[name], np.maximum(maps, 0.0))
    return affine(params["output"], np.maximum(maps, 0.0))[..., 0]


def test_the_logits_are_those_of_a_loop_over_cells():
    density, params = built("pixel_rnn", (4, 5))
    images = np.random.default_rng(1).integers(0, 2, (3, 4, 5))
    found = jax.jit(density.logits)(params, jnp.asarray(images, jnp.float64))
    for row, image in enumerate(images):
        np.testing.assert_allclose(found[row], loop(params, image, 2), rtol=1e-9, atol=1e-9)


def test_skewing_and_back_is_the_identity_and_aligns_the_neighbours():
    maps = jnp.arange(1.0, 13.0).reshape(1, 3, 4, 1)
    skewed = pixel_rnn.skew(maps)
    np.testing.assert_array_equal(skewed[0, :, :, 0], [[1, 2, 3, 4, 0, 0], [0, 5, 6, 7, 8, 0], [0, 0, 9, 10, 11, 12]])
    np.testing.assert_array_equal(pixel_rnn.unskew(skewed, 4), maps)


def test_without_the_shift_of_the_second_direction_images_have_more_than_probability_1(monkeypatch):
    monkeypatch.setattr(pixel_rnn, "shift_down", lambda maps: maps)
    density, params = built("pixel_rnn")
    batch = every_image()
    found = jax.jit(lambda p: density.log_weights(p, batch, keys(batch), 1))(params)
    assert abs(np.exp(found).sum() - 1.0) > 1e-3


def test_in_a_wide_image_the_end_of_a_row_is_unseen_from_the_beginning_of_the_next_and_nothing_else():
    rows, columns = 2, 8
    density, params = built("pixel_rnn", (rows, columns))
    size = rows * columns

    def logits(pixels):
        return density.logits(params, pixels.reshape(1, rows, columns)).reshape(-1)

    found = np.asarray(jax.jit(jax.jacfwd(logits))(jnp.full(size, 0.4))) != 0.0
    expected = np.tril(np.ones((size, size), bool), -1)
    expected[columns : columns + columns - 4, columns - 1] = False
    np.testing.assert_array_equal(found, expected)
