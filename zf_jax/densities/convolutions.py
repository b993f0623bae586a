"""Convolutions over images whose kernels are masked in raster order."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from zf_jax.typing import Array, Params


def raster_mask(rows: int, columns: int, *, centre: bool) -> np.ndarray:
    """Return 1 where a kernel ``[rows, columns]`` reads a pixel before its centre: above, or left in the same row.

    Args:
      centre: whether the kernel reads its centre too: mask B of the PixelRNN paper; without, mask A.
    """
    mask = np.zeros((rows, columns))
    mask[: rows // 2] = 1.0
    mask[rows // 2, : columns // 2 + centre] = 1.0
    return mask


def init_convolution(key: Array, sides: tuple[int, int], inputs: int, outputs: int) -> Params:
    """Initialise ``{"kernel": [rows, columns, inputs, outputs], "bias": [outputs]}``, LeCun-normal."""
    dtype = jnp.result_type(float)
    kernel = jax.nn.initializers.lecun_normal()(key, (*sides, inputs, outputs), dtype)
    return {"kernel": kernel, "bias": jnp.zeros(outputs, dtype)}


def init_masked(key: Array, side: int, inputs: int, outputs: int) -> Params:
    """Initialise a square convolution to be masked: its variance is for the half of the kernel that is read."""
    params = init_convolution(key, (side, side), inputs, outputs)
    return params | {"kernel": params["kernel"] * 2**0.5}


def convolution(kernel: Array, bias: Array, maps: Array, padding: str | tuple = "SAME", stride: int = 1) -> Array:
    """Convolve ``maps`` ``[B, n, m, C]`` with a kernel ``[rows, columns, C, C']``: ``[B, n', m', C']``."""
    axes = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(maps, kernel, (stride, stride), padding, dimension_numbers=axes) + bias


def masked_convolution(params: Params, maps: Array, *, centre: bool) -> Array:
    """Convolve with the kernel masked in raster order, the image being zero outside: ``[B, n, m, C']``."""
    kernel = params["kernel"]
    mask = raster_mask(kernel.shape[0], kernel.shape[1], centre=centre)[..., None, None]
    return convolution(kernel * jnp.asarray(mask, kernel.dtype), params["bias"], maps)


def shift_down(maps: Array) -> Array:
    """Move every row of ``maps`` ``[B, n, m, C]`` down by one; the first row is zeros."""
    return jnp.pad(maps, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
