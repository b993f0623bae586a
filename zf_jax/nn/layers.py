"""The leaves of every model: linear layers, embeddings, one-hidden-layer heads, and how each begins.

Parameters are plain nested dicts, ``{"kernel": [in, out], "bias": [out]}`` for a linear layer, whose names say
what a thing is.  Initialisers come from Flax; applying a leaf is one line of arithmetic, kept as such so that a
kernel's rows can be split between the parts of its input (see ``linear_part``).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax.linen import initializers

from zf_jax.distributions import Bounds, Gaussian, bound_log_std
from zf_jax.typing import Array, Observation, Params


def symmetric_uniform(scale: float) -> Callable:
    """An initialiser uniform on (-scale, scale)."""

    def init(key, shape, dtype=jnp.float32, **_):
        return jax.random.uniform(key, shape, dtype, -scale, scale)

    return init


def init_linear(key: Array, inputs: int, outputs: int, kernel_init=None) -> Params:
    """A linear layer ``{"kernel": [inputs, outputs], "bias": [outputs]}``; the kernel is LeCun-normal by default."""
    kernel_init = kernel_init or initializers.lecun_normal()
    dtype = jnp.result_type(float)
    return {"kernel": kernel_init(key, (inputs, outputs), dtype), "bias": initializers.zeros(key, (outputs,), dtype)}


def linear(params: Params, x: Array) -> Array:
    """``x @ kernel + bias``: ``[..., in]`` to ``[..., out]``."""
    return multiply(x, params["kernel"]) + params["bias"]


def multiply(x: Array, kernel: Array) -> Array:
    """``x @ kernel``: ``[..., in]`` to ``[..., out]``."""
    # As matrices: the gradient of a kernel over two axes of rows, [B, T], is many times slower on a CPU than over one.
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[-1]) if x.ndim > 2 else x @ kernel


def linear_part(params: Params, x: Array, start: int) -> Array:
    """The share of ``linear`` that ``x`` contributes through the kernel rows from ``start`` on, without the bias.

    A layer over a concatenation [a, b] is ``linear_part(p, a, 0) + linear_part(p, b, len(a)) + bias``: what is
    known for all steps at once is computed outside the recurrence, in one matmul over time.
    """
    return multiply(x, params["kernel"][start : start + x.shape[-1]])


def init_embedding(key: Array, observation: Observation, size: int) -> Params:
    """e(.): a linear layer for frames, a table ``[size + 1, E]`` for tokens whose last row is the start token."""
    if observation.kind == "frames":
        return init_linear(key, observation.size, size)
    table = initializers.normal(stddev=1.0 / size**0.5)
    return {"embedding": table(key, (observation.size + 1, size), jnp.result_type(float))}


def embed(params: Params, x: Array) -> Array:
    """Embed frames ``[..., D]`` or tokens ``[...]``: ``[..., E]``."""
    if "embedding" in params:
        return params["embedding"][x]
    return linear(params, x.astype(params["kernel"].dtype))


def embed_into(params: Params, x: Array, layer: Callable[[Array], Array]) -> Array:
    """``layer(embed(params, x))``, ``[..., out]``, for a layer that acts on the last axis alone.

    Where the tokens are few, as binary pixels are, each goes through the layer once instead of once a step.
    """
    table = params.get("embedding")
    if table is None or len(table) > x.size:
        return layer(embed(params, x))
    return layer(table)[x]


def clipped_leaky_relu(x: Array) -> Array:
    """Leaky ReLU of slope 1/3 clipped at +-3, as the authors' released code has it."""
    return jnp.clip(jax.nn.leaky_relu(x, 1.0 / 3.0), -3.0, 3.0)


def init_gaussian_head(key: Array, inputs: int, hidden: int, outputs: int) -> Params:
    """One hidden layer and the mean and log standard deviation read off it: f_p, f_q and f_a."""
    key_hidden, key_mean, key_log_std = jax.random.split(key, 3)
    return {
        "hidden": init_linear(key_hidden, inputs, hidden),
        "mean": init_linear(key_mean, hidden, outputs),
        "log_std": init_linear(key_log_std, hidden, outputs),
    }


def gaussian_head(params: Params, x: Array, bounds: Bounds) -> Gaussian:
    """The Gaussian that a head gives for its whole input ``x`` ``[..., in]``."""
    return gaussian_from_hidden(params, linear(params["hidden"], x), bounds)


def gaussian_from_hidden(params: Params, hidden: Array, bounds: Bounds) -> Gaussian:
    """The Gaussian from the hidden layer's values before the activation, ``[..., M]``."""
    hidden = clipped_leaky_relu(hidden)
    return Gaussian(linear(params["mean"], hidden), bound_log_std(linear(params["log_std"], hidden), bounds))


def split_keys(key: Array, *names: str) -> dict[str, Array]:
    """One key a name; adding a name at the end leaves the earlier ones as they were."""
    return {name: jax.random.fold_in(key, index) for index, name in enumerate(names)}
