"""Initialise and apply the layers that all models share: linear layers, embeddings, Gaussian heads.

Parameters are plain nested dicts, ``{"kernel": [in, out], "bias": [out]}`` for a linear layer.  Initialisers come
from Flax.  Applying a layer is one line of arithmetic, so that the rows of a kernel can be split between the parts of
an input (see ``linear_part``).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax.linen import initializers

from zf_jax.distributions import Bounds, Gaussian, bound_log_std
from zf_jax.nn.precision import matmul, matmul_of_all_steps
from zf_jax.typing import Array, Observation, Params, is_observed, without_missing


def symmetric_uniform(scale: float) -> Callable:
    """Return an initialiser that draws uniformly from (-scale, scale)."""

    def init(key, shape, dtype=jnp.float32, **_):
        return jax.random.uniform(key, shape, dtype, -scale, scale)

    return init


def init_linear(key: Array, inputs: int, outputs: int, kernel_init=None) -> Params:
    """Initialise ``{"kernel": [inputs, outputs], "bias": [outputs]}``, by default with a LeCun-normal kernel."""
    kernel_init = kernel_init or initializers.lecun_normal()
    dtype = jnp.result_type(float)
    return {"kernel": kernel_init(key, (inputs, outputs), dtype), "bias": initializers.zeros(key, (outputs,), dtype)}


def linear(params: Params, x: Array) -> Array:
    """Return ``x @ kernel + bias``: ``[..., in]`` to ``[..., out]``."""
    return multiply(x, params["kernel"]) + params["bias"]


def multiply(x: Array, kernel: Array) -> Array:
    """Return ``x @ kernel``: ``[..., in]`` to ``[..., out]``."""
    # As matrices: the gradient of a kernel over two axes of rows, [B, T], is many times slower on a CPU than over one.
    if x.ndim <= 2:
        return matmul(x, kernel)
    return matmul_of_all_steps(x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], kernel.shape[-1])


def linear_part(params: Params, x: Array, start: int) -> Array:
    """Multiply ``x`` by the kernel rows from ``start`` on, without the bias.

    A layer over a concatenation [a, b] is ``linear_part(p, a, 0) + linear_part(p, b, len(a)) + bias``.  Inputs that are
    known for all steps can so be multiplied outside the recurrence, in one matmul over time.
    """
    return multiply(x, params["kernel"][start : start + x.shape[-1]])


def init_embedding(key: Array, observation: Observation, size: int) -> Params:
    """Initialise e(.): a linear layer for frames; for tokens a table ``[size + 1, E]``, the start token last.

    If elements may be missing, the layer reads a frame and which dimensions of the frame were observed, ``[2 D, E]``,
    and the table has one more row, the last, for a missing token.  If a context is given beside the elements, there is
    a kernel W_c ``[C, E]`` for it.
    """
    rows = observation.size + (2 if observation.missing else 1)
    if observation.kind == "frames":
        params = init_linear(key, observation.size * (2 if observation.missing else 1), size)
    else:
        table = initializers.normal(stddev=1.0 / size**0.5)
        params = {"embedding": table(key, (rows, size), jnp.result_type(float))}
    if observation.context_size:
        own = jax.random.fold_in(key, 1)  # so that the other parameters are those of a model without context
        params["context"] = initializers.lecun_normal()(own, (observation.context_size, size), jnp.result_type(float))
    return params


def embed(params: Params, x: Array, context: Array | None = None) -> Array:
    """Embed frames ``[..., D]`` or tokens ``[...]``, with W_c c of the context ``[..., C]`` added: ``[..., E]``."""
    if "embedding" in params:
        embedded = params["embedding"][x]  # -1, a missing token, is the last row
    else:
        x = x.astype(params["kernel"].dtype)
        if params["kernel"].shape[0] == 2 * x.shape[-1]:
            x = jnp.concatenate([without_missing(x), is_observed(x).astype(x.dtype)], axis=-1)
        embedded = linear(params, x)
    if context is None:
        return embedded
    return embedded + multiply(context.astype(embedded.dtype), params["context"])


def embed_into(params: Params, x: Array, layer: Callable[[Array], Array], context: Array | None = None) -> Array:
    """Return ``layer(embed(params, x, context))``, ``[..., out]``, for a layer that acts on the last axis alone.

    If the vocabulary is no larger than ``x``, as for binary pixels, each token goes through the layer once.
    """
    table = params.get("embedding")
    if table is None or len(table) > x.size or context is not None:
        return layer(embed(params, x, context))
    return layer(table)[x]


def clipped_leaky_relu(x: Array) -> Array:
    """Apply a leaky ReLU of slope 1/3, clipped at +-3, as in the authors' released code."""
    return jnp.clip(jax.nn.leaky_relu(x, 1.0 / 3.0), -3.0, 3.0)


def init_gaussian_head(key: Array, inputs: int, hidden: int, outputs: int) -> Params:
    """Initialise one hidden layer with linear outputs for mean and log standard deviation: f_p, f_q and f_a."""
    key_hidden, key_mean, key_log_std = jax.random.split(key, 3)
    return {
        "hidden": init_linear(key_hidden, inputs, hidden),
        "mean": init_linear(key_mean, hidden, outputs),
        "log_std": init_linear(key_log_std, hidden, outputs),
    }


def gaussian_head(params: Params, x: Array, bounds: Bounds) -> Gaussian:
    """Apply a Gaussian head to its whole input ``x`` ``[..., in]``."""
    return gaussian_from_hidden(params, linear(params["hidden"], x), bounds)


def gaussian_from_hidden(params: Params, hidden: Array, bounds: Bounds) -> Gaussian:
    """Apply a Gaussian head to the pre-activations of its hidden layer, ``[..., M]``."""
    hidden = clipped_leaky_relu(hidden)
    return Gaussian(linear(params["mean"], hidden), bound_log_std(linear(params["log_std"], hidden), bounds))


def split_keys(key: Array, *names: str) -> dict[str, Array]:
    """Derive one key per name; the keys of earlier names do not change when a name is added at the end."""
    return {name: jax.random.fold_in(key, index) for index, name in enumerate(names)}
