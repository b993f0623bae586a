"""The units of NADE, one dimension after another, and their gradient in the memory of one dimension.

a_{d+1} = a_d + W_d x_d,    found_d = V_d f(a_d)

The gradient walks back from the last sum: a_d = a_{d+1} - W_d x_d, so that the units ``[..., D, H]`` are neither stored
nor computed in an order that a cache does not hold.  Going back rounds as going forward does where the x_d are of one
size; an outlier x_d also rounds the sums before it, to about 1e-7 of W_d x_d, and their dimensions' gradient with them.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from zf_jax.typing import Array


def _read(f: Callable[[Array], Array], sums: Array, x: Array, frame: Array, kernels: Array) -> Array:
    """Return V_d f(a_d) of every dimension d.

    Differentiable in reverse mode, also twice; not by ``jax.jvp``.

    Args:
      f: the units' function, elementwise.
      sums: a_1, ``[N, H]``.
      x: ``[D, N]``.
      frame: W, ``[D, H]``.
      kernels: V, ``[D, H, P]``.

    Returns:
      ``[D, N, P]``.
    """
    return _forward(f, sums, x, frame, kernels)[0]


def _forward(f, sums, x, frame, kernels):
    def step(sums, parts):
        x, row, kernel = parts
        return sums + x[:, None] * row, f(sums) @ kernel

    sums, found = jax.lax.scan(step, sums, (x, frame, kernels))
    return found, (sums, x, frame, kernels)


def _backward(f, kept, d_found):
    sums, x, frame, kernels = kept

    def step(carry, parts):
        sums, d_sums = carry
        x, row, kernel, d_found = parts
        d_x, d_row = d_sums @ row, x @ d_sums
        sums = sums - x[:, None] * row
        units, pull = jax.vjp(f, sums)
        (d_here,) = pull(d_found @ kernel.T)
        return (sums, d_sums + d_here), (d_x, d_row, units.T @ d_found)

    parts = (x, frame, kernels, d_found)
    (_, d_sums), d_parts = jax.lax.scan(step, (sums, jnp.zeros_like(sums)), parts, reverse=True)
    return d_sums, *d_parts


read_dimensions = jax.custom_vjp(_read, nondiff_argnums=(0,))
read_dimensions.defvjp(_forward, _backward)
