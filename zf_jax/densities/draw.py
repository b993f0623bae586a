"""DRAW with attention (Gregor, Danihelka, Graves, Rezende and Wierstra 2015), on binary images.

x^_t = x - sigma(c_{t-1})                                                     (3)
r_t = read(x, x^_t, h^dec_{t-1}),    h^enc_t = LSTM([r_t, h^dec_{t-1}], h^enc_{t-1})       (4, 5)
z_t ~ q_t = N(mu(h^enc_t), sigma(h^enc_t)^2),  prior N(0, I)                  (1, 2, 6)
h^dec_t = LSTM(z_t, h^dec_{t-1}),    c_t = c_{t-1} + write(h^dec_t)           (7, 8)
p(x | z_{1:T}) = Bernoulli(sigma(c_T)),    KL = sum_t KL(q_t || N(0, I))      (9, 11)

read and write go through N x N Gaussian filters, whose centre, stride, width and gain are linear in h^dec (21 - 29).
c_0, h^enc_0 and h^dec_0 are trained.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from zf_jax.densities.latent_images import LatentImages, Terms
from zf_jax.distributions import Bounds, Gaussian, bernoulli_log_prob, bound_log_std, gaussian_kl, gaussian_log_prob
from zf_jax.generation import Generated
from zf_jax.nn.layers import init_linear, linear, multiply, split_keys
from zf_jax.nn.recurrence import LSTMState, init_lstm, lstm_gates
from zf_jax.typing import Array, Params

NOTHING = 1e-8  # a row of a filter whose mass is far below this lies outside the image, and reads 0


@dataclasses.dataclass(frozen=True)
class DRAW(LatentImages):
    """The deep recurrent attentive writer: a bound.

    Attributes:
      rnn_dim: H of the encoder and of the decoder.
      latent_dim: Z of one glimpse.
      num_glimpses: T.
      read_size: N of a read.
      write_size: N of a write.
      latent_log_std_bounds: smooth bounds of log sigma (rule A5).
    """

    rnn_dim: int = 256
    latent_dim: int = 100
    num_glimpses: int = 64
    read_size: int = 2
    write_size: int = 5
    latent_log_std_bounds: Bounds = (-7.0, 5.0)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """T and Z."""
        return (self.num_glimpses, self.latent_dim)

    def init(self, key: Array) -> Params:
        """Draw the parameters; the initial canvas and states are 0."""
        keys = split_keys(key, "encoder", "decoder", "mean", "log_std", "read", "write", "patch")
        size, dtype = self.rnn_dim, jnp.result_type(float)
        return {
            "encoder": init_lstm(keys["encoder"], 2 * self.read_size**2 + size, size),
            "decoder": init_lstm(keys["decoder"], self.latent_dim, size),
            "mean": init_linear(keys["mean"], size, self.latent_dim),
            "log_std": init_linear(keys["log_std"], size, self.latent_dim),
            "read": init_linear(keys["read"], size, 5),
            "write": init_linear(keys["write"], size, 5),
            "patch": init_linear(keys["patch"], size, self.write_size**2),
            "canvas": jnp.zeros(self.image_shape, dtype),
            "encoder_start": jnp.zeros(size, dtype),
            "decoder_start": jnp.zeros(size, dtype),
        }

    def _start(self, params: Params, rows: int) -> tuple[Array, LSTMState, LSTMState]:
        """Return c_0 and the states before the first glimpse, of the encoder and of the decoder."""
        encoder, decoder = (jnp.tile(params[f"{name}_start"], (rows, 1)) for name in ("encoder", "decoder"))
        cell = jnp.zeros_like(encoder)
        return jnp.tile(params["canvas"], (rows, 1, 1)), LSTMState(encoder, cell), LSTMState(decoder, cell)

    def _decode(self, params: Params, canvas: Array, decoder: LSTMState, latent: Array) -> tuple[Array, LSTMState]:
        """Return the canvas and the decoder's state after one latent ``[B, Z]``."""
        decoder = _lstm(params["decoder"], decoder, latent)
        horizontal, vertical, gain = self._filters(params["write"], decoder.hidden, self.write_size)
        patch = linear(params["patch"], decoder.hidden).reshape(-1, self.write_size, self.write_size)
        return canvas + write(patch, horizontal, vertical) / gain, decoder

    def _filters(self, params: Params, hidden: Array, size: int) -> tuple[Array, Array, Array]:
        """Return F_X ``[B, N, m]``, F_Y ``[B, N, n]`` and the gain ``[B, 1, 1]``."""
        rows, columns = self.image_shape
        x, y, log_variance, log_stride, log_gain = jnp.split(linear(params, hidden), 5, axis=-1)
        stride = (max(rows, columns) - 1) / max(size - 1, 1) * jnp.exp(log_stride)
        horizontal = filters((columns + 1) / 2 * (x + 1), stride, jnp.exp(log_variance), size, columns)
        vertical = filters((rows + 1) / 2 * (y + 1), stride, jnp.exp(log_variance), size, rows)
        return horizontal, vertical, jnp.exp(log_gain)[..., None]

    def terms(self, params: Params, images: Array, noise: Array) -> Terms:
        """Compute the terms of ``images`` ``[B, n, m]``, z_t being mu + sigma ``noise`` ``[B, T, Z]``."""

        def glimpse(carry, noise):
            canvas, encoder, decoder = carry
            horizontal, vertical, gain = self._filters(params["read"], decoder.hidden, self.read_size)
            patches = [read(seen, horizontal, vertical) * gain for seen in (images, images - jax.nn.sigmoid(canvas))]
            flat = [patch.reshape(patch.shape[0], -1) for patch in patches]
            encoder = _lstm(params["encoder"], encoder, jnp.concatenate([*flat, decoder.hidden], axis=-1))
            log_std = bound_log_std(linear(params["log_std"], encoder.hidden), self.latent_log_std_bounds)
            posterior = Gaussian(linear(params["mean"], encoder.hidden), log_std)
            prior = Gaussian(jnp.zeros_like(noise), jnp.zeros_like(noise))
            latent = posterior.mean + jnp.exp(log_std) * noise
            canvas, decoder = self._decode(params, canvas, decoder, latent)
            ratio = gaussian_log_prob(prior, latent) - gaussian_log_prob(posterior, latent)
            kl = gaussian_kl(posterior, prior)
            return (canvas, encoder, decoder), (jnp.sum(kl, axis=-1), jnp.sum(ratio, axis=-1))

        start = self._start(params, images.shape[0])
        (canvas, _, _), (kl, ratio) = jax.lax.scan(glimpse, start, jnp.moveaxis(noise, 1, 0))
        log_likelihood = jnp.sum(bernoulli_log_prob(canvas, images), axis=(1, 2))
        return Terms(log_likelihood, jnp.sum(kl, axis=0), jnp.sum(ratio, axis=0))

    def decode(self, params: Params, latents: Array) -> Array:
        """Return the logits of the pixels given ``latents`` ``[B, T, Z]``: ``[B, n, m]``."""
        canvas, _, decoder = self._start(params, latents.shape[0])

        def glimpse(carry, latent):
            return self._decode(params, carry[0], carry[1], latent), None

        return jax.lax.scan(glimpse, (canvas, decoder), jnp.moveaxis(latents, 1, 0))[0][0]

    def sample(self, params: Params, key: Array, num_samples: int, prefix: Array | None = None) -> Generated:
        """Draw the latents from the prior, and all pixels at once given the latents."""
        if prefix is not None:
            raise ValueError("DRAW draws whole images: to go on from a beginning, z would have to be inferred")
        key_latent, key_pixels = jax.random.split(key)
        latents = jax.random.normal(key_latent, (num_samples, *self.noise_shape))
        mean = jax.nn.sigmoid(self.decode(params, latents)).reshape(num_samples, -1)
        values = jax.random.uniform(key_pixels, mean.shape, mean.dtype) < mean
        return Generated(values.astype(jnp.int32), mean, jnp.zeros((*mean.shape, 0), mean.dtype))


def _lstm(params: Params, state: LSTMState, inputs: Array) -> LSTMState:
    return lstm_gates(state, linear(params["input"], inputs) + multiply(state.hidden, params["recurrent"]["kernel"]))


def filters(centre: Array, stride: Array, variance: Array, size: int, length: int) -> Array:
    """Return N Gaussian filters over an axis, rows of sum 1, or of 0 where a filter lies outside: ``[B, N, length]``.

    Args:
      centre: g, ``[B, 1]``, on an axis whose elements are 1 .. ``length``.
      stride: delta, ``[B, 1]``.
      variance: sigma^2, ``[B, 1]``.
    """
    means = centre + (jnp.arange(size) - (size - 1) / 2) * stride  # [B, N]
    at = jnp.arange(1, length + 1)
    mass = jnp.exp(-((at - means[..., None]) ** 2) / (2 * variance[..., None]))
    return mass / (jnp.sum(mass, axis=-1, keepdims=True) + NOTHING)


def read(image: Array, horizontal: Array, vertical: Array) -> Array:
    """Return F_Y x F_X^T of ``image`` ``[B, n, m]``: ``[B, N, N]``."""
    return vertical @ image @ jnp.swapaxes(horizontal, 1, 2)


def write(patch: Array, horizontal: Array, vertical: Array) -> Array:
    """Return F_Y^T w F_X of ``patch`` ``[B, N, N]``: ``[B, n, m]``."""
    return jnp.swapaxes(vertical, 1, 2) @ patch @ horizontal
