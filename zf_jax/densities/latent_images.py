"""Images with Gaussian latents of the whole image: the bounds, for any decoder and any posterior."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from zf_jax.bounds.noise import fold
from zf_jax.checks import check_counts
from zf_jax.densities.images import BinaryImages, metrics_of
from zf_jax.objective.loss import sequence_mean
from zf_jax.objective.settings import Weights
from zf_jax.typing import Array, Batch, Params


class Terms(NamedTuple):
    """What one posterior sample says of each image; each ``[B]``, nats.

    Attributes:
      log_likelihood: log p(x | z).
      kl: KL( q(z | x) || p(z) ) in closed form, for each part of z given those drawn before it.
      log_ratio: log p(z) - log q(z | x) of the drawn z.
    """

    log_likelihood: Array
    kl: Array
    log_ratio: Array


@dataclasses.dataclass(frozen=True)
class LatentImages(BinaryImages):
    """A lower bound of log p(x); a subclass has ``init``, ``noise_shape``, ``terms`` and ``sample``."""

    @property
    def kind(self) -> str:
        """``"bound"``."""
        return "bound"

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the noise of one image."""
        raise NotImplementedError

    def terms(self, params: Params, images: Array, noise: Array) -> Terms:
        """Compute the terms of ``images`` ``[B, n, m]`` with standard normal ``noise`` ``[B, *noise_shape]``."""
        raise NotImplementedError

    def noise(self, keys: Array) -> Array:
        """Draw the noise of each row from the row's key: ``[B, *noise_shape]``."""
        return jax.vmap(lambda key: jax.random.normal(key, self.noise_shape, jnp.result_type(float)))(keys)

    def elbo(self, params: Params, batch: Batch, keys: Array) -> dict[str, Array]:
        """Compute the ELBO with one sample and the KL in closed form: ``{"bound", "kl"}``, ``[B]``, nats."""
        terms, real = self.terms(params, self.images(batch), self.noise(keys)), batch.lengths > 0
        found = {"bound": terms.log_likelihood - terms.kl, "kl": terms.kl}
        return {name: jnp.where(real, value, 0.0) for name, value in found.items()}

    def log_weights(
        self, params: Params, batch: Batch, keys: Array, num_samples: int, chunk_size: int | None = None
    ) -> Array:
        """Compute log p(x | z) + log p(z) - log q(z | x) of K samples of z: ``[K, B]``, nats."""
        check_counts(num_samples=num_samples, chunk_size=chunk_size)
        images, real = self.images(batch), batch.lengths > 0

        def one(k):
            terms = self.terms(params, images, self.noise(fold(keys, k)))
            return jnp.where(real, terms.log_likelihood + terms.log_ratio, 0.0)

        return jax.lax.map(one, jnp.arange(num_samples), batch_size=min(chunk_size or num_samples, num_samples))

    def loss(
        self, params: Params, batch: Batch, key: Array, weights: Weights = Weights()
    ) -> tuple[Array, dict[str, Array]]:
        """Return minus the mean of log p(x | z) - kl_temperature KL, with one sample."""
        images = self.images(batch)
        noise = jax.random.normal(key, (images.shape[0], *self.noise_shape), images.dtype)
        terms = self.terms(params, images, noise)
        likelihood, kl = sequence_mean(terms.log_likelihood, batch), sequence_mean(terms.kl, batch)
        loss = weights.kl_temperature * kl - likelihood
        return loss, metrics_of(loss, likelihood - kl, kl)
