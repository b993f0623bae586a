"""NADE (Larochelle and Murray 2011): the pixels in raster order, all through one running sum.

a_1 = c,    a_{i+1} = a_i + W_i x_i,    p(x_i = 1 | x_<i) = sigma(b_i + V_i sigma(a_i))
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from zf_jax.densities.images import Autoregressive
from zf_jax.emissions import NADE as Head
from zf_jax.emissions import Bernoulli
from zf_jax.typing import Array, Observation, Params


@dataclasses.dataclass(frozen=True)
class NADE(Autoregressive):
    """The neural autoregressive distribution estimator: exact, D H operations an image.

    Attributes:
      mlp_dim: H.
    """

    mlp_dim: int = 500

    @property
    def _head(self) -> Head:
        """The emission of a frame of all pixels, whose biases here are parameters and not functions of a state."""
        frame = Observation("frames", self.num_pixels)
        return Head(frame, Bernoulli(frame), head_dim=self.mlp_dim)

    def init(self, key: Array) -> Params:
        """Draw W ``[D - 1, H]`` and V ``[D, H, 1]``; the biases are 0."""
        dtype = jnp.result_type(float)
        return {
            "hidden_bias": jnp.zeros(self.mlp_dim, dtype),
            "logits": jnp.zeros(self.num_pixels, dtype),
            "kernels": self._head.init_kernels(key),
        }

    def logits(self, params: Params, images: Array) -> Array:
        """Return the logit of p(x_i = 1 | x_<i) for every pixel: ``[B, n, m]``."""
        rows = images.shape[0]
        values = {name: jnp.tile(params[name], (rows, 1)) for name in ("hidden_bias", "logits")}
        values["kernels"] = params["kernels"]
        found = self._head.conditionals(values, images.reshape(rows, -1))
        return found["logits"].reshape(images.shape)
