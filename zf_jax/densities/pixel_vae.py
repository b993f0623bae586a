"""PixelVAE (Gulrajani et al. 2017), one latent vector an image: a VAE whose decoder is a gated PixelCNN.

z ~ N(0, I),    q(z | x) = N(mu, sigma^2),  mu, log sigma = W elu(conv(elu(conv(elu(conv(x))))))  of strides 1, 2, 2
s = elu(W_s elu(W_z z)),  a map [n, m, P],      p(x | z) = prod_i p(x_i | x_<i, s),  by pixel_cnn.stacks

The version without upsampling; the encoder's sizes and the decoder's hidden layer are a choice of this program.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from zf_jax.densities.convolutions import convolution, init_convolution
from zf_jax.densities.images import sample_pixels
from zf_jax.densities.latent_images import LatentImages, Terms
from zf_jax.densities.pixel_cnn import check_filter, init_stacks, stacks
from zf_jax.distributions import Bounds, Gaussian, bernoulli_log_prob, bound_log_std, gaussian_kl, gaussian_log_prob
from zf_jax.generation import Generated
from zf_jax.nn.layers import init_linear, linear, split_keys
from zf_jax.typing import Array, Params

STRIDES = (1, 2, 2)


@dataclasses.dataclass(frozen=True)
class PixelVAE(LatentImages):
    """PixelVAE: a bound.

    Attributes:
      latent_dim: Z.
      mlp_dim: maps P of the PixelCNN, and half as many as the encoder's.
      num_layers: of the PixelCNN.
      filter_size: of the PixelCNN, odd.
      latent_log_std_bounds: smooth bounds of log sigma (rule A5).
    """

    latent_dim: int = 16
    mlp_dim: int = 16
    num_layers: int = 12
    filter_size: int = 5
    latent_log_std_bounds: Bounds = (-7.0, 5.0)

    def __post_init__(self):
        super().__post_init__()
        check_filter(self.filter_size)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Z."""
        return (self.latent_dim,)

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        names = "pixels", "encoder_0", "encoder_1", "encoder_2", "mean", "log_std", "decoder_0", "decoder_1"
        keys = split_keys(key, *names)
        maps, sides = 2 * self.mlp_dim, self.image_shape
        params: Params = {
            "pixels": init_stacks(keys["pixels"], self.mlp_dim, self.num_layers, self.filter_size, conditional=True)
        }
        for index, stride in enumerate(STRIDES):
            params[f"encoder_{index}"] = init_convolution(keys[f"encoder_{index}"], (3, 3), maps if index else 1, maps)
            sides = (-(-sides[0] // stride), -(-sides[1] // stride))
        for name in ("mean", "log_std"):
            params[name] = init_linear(keys[name], sides[0] * sides[1] * maps, self.latent_dim)
        hidden = 8 * self.mlp_dim
        params["decoder_0"] = init_linear(keys["decoder_0"], self.latent_dim, hidden)
        params["decoder_1"] = init_linear(keys["decoder_1"], hidden, self.num_pixels * self.mlp_dim)
        return params

    def posterior(self, params: Params, images: Array) -> Gaussian:
        """Return q(z | x) of ``images`` ``[B, n, m]``: ``[B, Z]``."""
        maps = images[..., None]
        for index, stride in enumerate(STRIDES):
            p = params[f"encoder_{index}"]
            maps = jax.nn.elu(convolution(p["kernel"], p["bias"], maps, stride=stride))
        flat = maps.reshape(images.shape[0], -1)
        log_std = bound_log_std(linear(params["log_std"], flat), self.latent_log_std_bounds)
        return Gaussian(linear(params["mean"], flat), log_std)

    def decoded(self, params: Params, latent: Array) -> Array:
        """Return the map of ``latent`` ``[B, Z]``: ``[B, n, m, P]``."""
        hidden = jax.nn.elu(linear(params["decoder_0"], latent))
        return jax.nn.elu(linear(params["decoder_1"], hidden)).reshape(-1, *self.image_shape, self.mlp_dim)

    def terms(self, params: Params, images: Array, noise: Array) -> Terms:
        """Compute the terms of ``images`` ``[B, n, m]``, z being mu + sigma ``noise`` ``[B, Z]``."""
        posterior = self.posterior(params, images)
        prior = Gaussian(jnp.zeros_like(noise), jnp.zeros_like(noise))
        latent = posterior.mean + jnp.exp(posterior.log_std) * noise
        logits = stacks(params["pixels"], images, self.decoded(params, latent))
        ratio = gaussian_log_prob(prior, latent) - gaussian_log_prob(posterior, latent)
        return Terms(
            jnp.sum(bernoulli_log_prob(logits, images), axis=(1, 2)),
            jnp.sum(gaussian_kl(posterior, prior), axis=-1),
            jnp.sum(ratio, axis=-1),
        )

    def sample(self, params: Params, key: Array, num_samples: int, prefix: Array | None = None) -> Generated:
        """Draw z from the prior, and the pixels one after another."""
        if prefix is not None:
            raise ValueError("PixelVAE draws whole images: to go on from a beginning, z would have to be inferred")
        key_latent, key_pixels = jax.random.split(key)
        decoded = self.decoded(params, jax.random.normal(key_latent, (num_samples, self.latent_dim)))
        return sample_pixels(
            lambda images: stacks(params["pixels"], images, decoded), key_pixels, num_samples, self.image_shape
        )
