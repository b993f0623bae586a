"""The four sizes at which speed is measured, random data of those sizes, and the operations they cost.

A  real frames, as TIMIT and Blizzard       a wide network, 40 steps: limited by arithmetic
B  binary pixels, as sequential MNIST       a narrow network, 784 steps: limited by what a step costs besides
C  words, as IMDB                           17 steps, and a softmax over 16,000 words
D  binary pixels of the 8x8 digits          a small network, 64 steps
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from zf_jax.batch import batch_of
from zf_jax.models import build_model
from zf_jax.models.base import Model
from zf_jax.typing import Batch, Observation


@dataclasses.dataclass(frozen=True)
class Configuration:
    """Sizes of one measured problem; letters as in ``zf_jax.typing``, M the width of the heads, E of e(.)."""

    observation: Observation
    emission: str
    H: int
    Z: int
    M: int
    E: int
    T: int
    B: int
    K: int = 25


CONFIGURATIONS = {
    "A": Configuration(Observation("frames", 200), "gaussian", H=1024, Z=256, M=512, E=512, T=40, B=32),
    "B": Configuration(Observation("tokens", 2), "bernoulli", H=128, Z=32, M=128, E=128, T=784, B=32),
    "C": Configuration(Observation("tokens", 16_000), "categorical", H=500, Z=64, M=500, E=300, T=17, B=32),
    "D": Configuration(Observation("tokens", 2), "bernoulli", H=64, Z=16, M=64, E=64, T=64, B=64),
}

TINY = {
    "A": dataclasses.replace(
        CONFIGURATIONS["A"], observation=Observation("frames", 6), H=8, Z=3, M=7, E=5, T=5, B=4, K=3
    ),
    "B": dataclasses.replace(CONFIGURATIONS["B"], H=8, Z=3, M=7, E=5, T=9, B=4, K=3),
    "C": dataclasses.replace(
        CONFIGURATIONS["C"], observation=Observation("tokens", 50), H=8, Z=3, M=7, E=5, T=5, B=4, K=3
    ),
    "D": dataclasses.replace(CONFIGURATIONS["D"], H=8, Z=3, M=7, E=5, T=6, B=4, K=3),
}


def model_of(configuration: Configuration) -> Model:
    """The Z-Forcing model of this size."""
    c = configuration
    return build_model(
        "zforcing", c.observation, emission=c.emission, rnn_dim=c.H, latent_dim=c.Z, mlp_dim=c.M, embed_dim=c.E
    )


def random_batch(configuration: Configuration, seed: int = 0) -> Batch:
    """Full-length sequences of random data, the first input a start token."""
    c, rng = configuration, np.random.default_rng(seed)
    if c.observation.kind == "tokens":
        targets = rng.integers(0, c.observation.size, (c.B, c.T))
    else:
        targets = rng.normal(size=(c.B, c.T, c.observation.size))
    return jax.tree.map(jnp.asarray, batch_of(targets, observation=c.observation))


def multiply_adds(configuration: Configuration) -> dict[str, int]:
    """Multiply-adds of the matrix products of the forward pass, for one step of one sequence, by layer.

    They are those of the equations as written; folding two layers into one does not lower the count.
    """
    c, H, Z, M, E = configuration, configuration.H, configuration.Z, configuration.M, configuration.E
    outputs = {"gaussian": 2 * c.observation.size, "categorical": c.observation.size, "bernoulli": 1}[c.emission]
    return {
        "embedding": 2 * c.observation.size * E if c.observation.kind == "frames" else 0,
        "backward inputs": E * 4 * H,
        "backward recurrence": H * 4 * H,
        "forward inputs": E * 4 * H,
        "forward recurrence": H * 4 * H,
        "latent into gates": Z * M + M * 4 * H,
        "prior": H * M + 2 * M * Z,
        "posterior from b": H * M,
        "posterior from h": H * M + 2 * M * Z,
        "auxiliary": Z * M + 2 * M * H,
        "emission": H * outputs,
        "reverse": H * outputs,
    }


def operations(configuration: Configuration) -> dict[str, float]:
    """Floating-point operations of one update, of one IWAE-K evaluation and of sampling one batch.

    A product costs 2 forward and 2 for each of its two gradients; data need no gradient.  Only matrix products are
    counted: the elementwise work and Adam (about 10 operations a parameter) are left out.
    """
    c, n = configuration, multiply_adds(configuration)
    rows = c.B * c.T
    once = (
        n["embedding"] + n["backward inputs"] + n["backward recurrence"] + n["forward inputs"] + n["posterior from b"]
    )
    per_sample = n["forward recurrence"] + n["latent into gates"] + n["prior"] + n["posterior from h"] + n["emission"]
    generated = n["embedding"] // 2 + n["forward inputs"] + n["forward recurrence"] + n["latent into gates"]
    update = rows * (6.0 * sum(n.values()) - 2.0 * n["embedding"])
    return {
        "update": update,
        "train_step": update,
        "iwae": rows * 2.0 * (once + c.K * per_sample),
        "sample": rows * 2.0 * (generated + n["prior"] + n["emission"]),
    }
