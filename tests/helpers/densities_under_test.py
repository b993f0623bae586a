"""Every registered density, made small: one line here brings a new one under the checks of the registry."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import numpy as np

from helpers.models_under_test import random_params, targets_batch
from zf_jax.densities import DENSITIES, build_density
from zf_jax.densities.images import PIXEL, Autoregressive

SIZES = {
    "pixel_rnn": {"rnn_dim": 3, "num_layers": 2, "mlp_dim": 6},
    "nade": {"mlp_dim": 5},
    "pixel_cnn": {"mlp_dim": 4, "num_layers": 2, "filter_size": 3},
    "pixel_vae": {"latent_dim": 2, "mlp_dim": 3, "num_layers": 2, "filter_size": 3},
    "draw": {"rnn_dim": 4, "latent_dim": 2, "num_glimpses": 3, "read_size": 2, "write_size": 3},
    "eonade": {"mlp_dim": 4, "num_layers": 2, "num_iterations": 2, "num_orderings": 3},
}
NAMES = tuple(DENSITIES)
EXACT = tuple(name for name in NAMES if DENSITIES[name](image_shape=(2, 3), **SIZES[name]).kind == "exact")
AUTOREGRESSIVE = tuple(name for name in NAMES if issubclass(DENSITIES[name], Autoregressive))


@functools.cache
def built(name, image_shape=(2, 3), **sizes) -> tuple[Any, Any]:
    """A tiny density and random parameters, ready for an evaluation."""
    density = build_density(name, image_shape, **SIZES[name] | sizes)
    params = random_params(density)
    for part, layer in params.items():
        if part.startswith("hidden") and isinstance(layer, dict):  # a rectifier follows: most units are to be above 0
            layer["bias"] = 1.0 + abs(layer["bias"])
    if "log_std" in params:  # a raw random posterior is far from the prior, or narrow: its weights have heavy tails
        params |= {part: jax.tree.map(lambda x: 0.03 * x, params[part]) for part in ("mean", "log_std")}
        params["log_std"]["bias"] += 0.2
    if name == "pixel_cnn":  # whose raw random images are all of one colour
        params["output"] = jax.tree.map(lambda x: 0.1 * (x - x.mean()), params["output"])
    return density, density.prepare(params, jax.random.key(5))


def every_image(image_shape=(2, 3)):
    """The batch of all binary images of a shape."""
    size = image_shape[0] * image_shape[1]
    return targets_batch(PIXEL, np.array(list(itertools.product([0, 1], repeat=size))))


def keys(batch, seed=0):
    """A key a row."""
    return jax.random.split(jax.random.key(seed), len(batch.lengths))
