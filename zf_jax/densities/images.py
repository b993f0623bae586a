"""Densities of binary images of one size, the pixels in raster order."""

from __future__ import annotations

import dataclasses
import math
from numbers import Integral

import jax
import jax.numpy as jnp

from zf_jax.checks import check_counts, whole_items
from zf_jax.density import Density
from zf_jax.distributions import bernoulli_log_prob, check_bounds
from zf_jax.emissions import Bernoulli
from zf_jax.generation import Generated
from zf_jax.objective.loss import sequence_mean
from zf_jax.objective.settings import Weights
from zf_jax.plain import make_plain
from zf_jax.typing import Array, Batch, Observation, Params

PIXEL = Observation("tokens", 2)


@dataclasses.dataclass(frozen=True)
class BinaryImages(Density):
    """A density of binary images.

    Attributes:
      image_shape: rows n and columns m.
    """

    image_shape: tuple[int, int]

    observation = PIXEL
    emission = Bernoulli(PIXEL)

    def __post_init__(self):
        make_plain(self)
        shape = self.image_shape
        pair = isinstance(shape, tuple) and len(shape) == 2
        if not pair or any(isinstance(size, bool) or not isinstance(size, Integral) for size in shape):
            raise ValueError(f"image_shape is two whole numbers, (rows, columns), such as (28, 28), not {shape!r}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.startswith("num_") or field.name.endswith(("_dim", "_size")):
                check_counts(**{field.name: value})
            if field.name.endswith("_log_std_bounds"):
                check_bounds(value)
        if min(shape) < 1:
            raise ValueError(f"image_shape must have at least one row and one column, not {shape}")

    @property
    def num_pixels(self) -> int:
        """D."""
        return math.prod(self.image_shape)

    @property
    def item_length(self) -> int:
        """D."""
        return self.num_pixels

    def images(self, batch: Batch) -> Array:
        """Return the images of a batch as numbers, ``[B, n, m]``; those of rows of length 0 are black.

        Raises:
          ValueError: another number of pixels, or a known length that is neither 0 nor D.
        """
        if batch.targets.ndim != 2 or batch.targets.shape[1] != self.num_pixels:
            raise ValueError(
                f"an image of {self.image_shape} is {self.num_pixels} tokens, [B, {self.num_pixels}], and the targets "
                f"are {list(batch.targets.shape)}"
            )
        whole_items(self, batch)
        pixels = jnp.where(batch.mask > 0, batch.targets, 0)  # what a filler holds is nothing to compute with
        return pixels.astype(jnp.result_type(float)).reshape(-1, *self.image_shape)


@dataclasses.dataclass(frozen=True)
class Autoregressive(BinaryImages):
    """p(x) = prod_i p(x_i | x_<i), the pixels in raster order; a subclass has ``init`` and ``logits``."""

    completes = True

    def logits(self, params: Params, images: Array) -> Array:
        """Return the logit of p(x_i = 1 | x_1, ..., x_{i-1}) for every pixel of ``images``: ``[B, n, m]``."""
        raise NotImplementedError

    def log_prob(self, params: Params, batch: Batch) -> Array:
        """Return log p(x), nats: ``[B]``, 0 in rows of length 0."""
        images = self.images(batch)
        found = jnp.sum(bernoulli_log_prob(self.logits(params, images), images), axis=(1, 2))
        return jnp.where(batch.lengths > 0, found, 0.0)

    def log_weights(
        self, params: Params, batch: Batch, keys: Array, num_samples: int, chunk_size: int | None = None
    ) -> Array:
        """Return log p(x) whatever the keys and K: ``[1, B]``, nats."""
        return self.log_prob(params, batch)[None]

    def loss(
        self, params: Params, batch: Batch, key: Array, weights: Weights = Weights()
    ) -> tuple[Array, dict[str, Array]]:
        """Return minus the mean log-likelihood; neither ``key`` nor ``weights`` is read."""
        log_prob = sequence_mean(self.log_prob(params, batch), batch)
        return -log_prob, metrics_of(-log_prob, log_prob, jnp.zeros_like(log_prob))

    def sample(self, params: Params, key: Array, num_samples: int, prefix: Array | None = None) -> Generated:
        """Draw images pixel by pixel; each pixel is 1 where a uniform number ``[num_samples, D]`` is below its mean."""
        return sample_pixels(lambda images: self.logits(params, images), key, num_samples, self.image_shape, prefix)


def metrics_of(loss: Array, elbo: Array, kl: Array) -> dict[str, Array]:
    """Return the metrics of an update under the names that ``loss_and_metrics`` has for them."""
    return {
        "loss": loss,
        "elbo_nats_per_sequence": elbo,
        "emission_nats_per_sequence": elbo + kl,
        "kl_nats_per_sequence": kl,
    }


def sample_pixels(logits, key: Array, num_samples: int, image_shape: tuple[int, int], prefix: Array | None = None):
    """Draw pixels in raster order, each from ``logits`` ``[N, n, m]`` of the pixels before.

    Args:
      prefix: the first pixels of each image, ``[N, S]``.
    """
    size = math.prod(image_shape)
    dtype = jnp.result_type(float)
    uniform = jax.random.uniform(key, (num_samples, size), dtype)
    start = 0 if prefix is None else prefix.shape[1]
    values = jnp.zeros((num_samples, size), dtype)
    if prefix is not None:
        values = values.at[:, :start].set(prefix.astype(dtype))

    def step(values, i):
        found = logits(values.reshape(-1, *image_shape)).reshape(-1, size)
        drawn = uniform[:, i] < jax.nn.sigmoid(found[:, i])
        return values.at[:, i].set(drawn.astype(dtype)), None

    values, _ = jax.lax.scan(step, values, jnp.arange(start, size))
    mean = jax.nn.sigmoid(logits(values.reshape(-1, *image_shape))).reshape(-1, size)
    return Generated(values.astype(jnp.int32), mean, jnp.zeros((num_samples, size, 0), dtype))
