"""The gated PixelCNN (van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and Kavukcuoglu 2016), on binary images.

Two stacks of maps, of which the vertical one at row r reads the rows up to r, and the horizontal one at pixel (r, c)
the pixels before (r, c):

a_l = V_l * v_{l-1} + S_l s,                                     v_l = gate(a_l)
h_l = h_{l-1} + W_l gate(H_l * h_{l-1} + A_l down(a_l) + R_l s),  gate([a, b]) = tanh(a) sigma(b)
p(x_rc = 1 | before) = sigma(W_p relu(W_1 relu(h_L)))

down moves a map down by one row.  The first horizontal convolution reads the pixels left of its own, the others their
own too; the first layer is not residual.  s is a map that a latent variable is decoded to, where there is one.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from zf_jax.densities.convolutions import convolution, init_convolution, shift_down
from zf_jax.densities.images import Autoregressive
from zf_jax.nn.layers import init_linear, linear, multiply, split_keys
from zf_jax.typing import Array, Params

FIRST = 7  # sides of the first layer's convolutions


@dataclasses.dataclass(frozen=True)
class PixelCNN(Autoregressive):
    """The gated PixelCNN: exact.

    Attributes:
      mlp_dim: maps P of each stack.
      num_layers: L.
      filter_size: sides of the convolutions after the first layer, odd.
    """

    mlp_dim: int = 16
    num_layers: int = 12
    filter_size: int = 5

    def __post_init__(self):
        super().__post_init__()
        check_filter(self.filter_size)

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        return init_stacks(key, self.mlp_dim, self.num_layers, self.filter_size)

    def logits(self, params: Params, images: Array) -> Array:
        """Return the logit of p(x_rc = 1 | the pixels before) for every pixel: ``[B, n, m]``."""
        return stacks(params, images)


def check_filter(size: int) -> None:
    """Raise ``ValueError`` where a convolution of this size has no centre."""
    if size % 2 == 0:
        raise ValueError(f"filter_size must be odd, not {size}")


def init_stacks(key: Array, maps: int, num_layers: int, filter_size: int, conditional: bool = False) -> Params:
    """Initialise the layers; ``conditional`` adds S and R for a map s of as many channels."""
    keys = split_keys(key, "hidden", "output", "layers")
    params: Params = {
        "hidden": init_linear(keys["hidden"], maps, maps),
        "output": init_linear(keys["output"], maps, 1),
    }
    for layer in range(num_layers):
        size, inputs = (filter_size, maps) if layer else (FIRST, 1)
        names = "vertical", "horizontal", "down", "out", "map_vertical", "map_horizontal"
        each = split_keys(jax.random.fold_in(keys["layers"], layer), *names)
        left = size // 2 + (layer > 0)
        params[f"layer_{layer}"] = {
            "vertical": init_convolution(each["vertical"], (size // 2 + 1, size), inputs, 2 * maps),
            "horizontal": init_convolution(each["horizontal"], (1, left), inputs, 2 * maps),
            "down": _kernel(each["down"], 2 * maps, 2 * maps),
            "out": init_linear(each["out"], maps, maps),
        }
        if conditional:
            params[f"layer_{layer}"] |= {name: _kernel(each[name], maps, 2 * maps) for name in names[-2:]}
    return params


def _kernel(key: Array, inputs: int, outputs: int) -> Params:
    return {"kernel": init_linear(key, inputs, outputs)["kernel"]}


def stacks(params: Params, images: Array, decoded: Array | None = None) -> Array:
    """Return the logits ``[B, n, m]`` of ``images``, given a map ``decoded`` ``[B, n, m, P]`` if there is one."""
    vertical = horizontal = images[..., None]
    columns = images.shape[2]
    for layer in range(sum(name.startswith("layer_") for name in params)):
        p = params[f"layer_{layer}"]
        high, wide = p["vertical"]["kernel"].shape[:2]
        padding = ((high - 1, 0), (wide // 2, wide // 2))
        above = convolution(p["vertical"]["kernel"], p["vertical"]["bias"], vertical, padding)
        padding = ((0, 0), (wide // 2, 0))
        before = convolution(p["horizontal"]["kernel"], p["horizontal"]["bias"], horizontal, padding)[:, :, :columns]
        if decoded is not None:
            above = above + multiply(decoded, p["map_vertical"]["kernel"])
            before = before + multiply(decoded, p["map_horizontal"]["kernel"])
        before = before + multiply(shift_down(above), p["down"]["kernel"])
        vertical = gate(above)
        moved = linear(p["out"], gate(before))
        horizontal = horizontal + moved if layer else moved
    hidden = linear(params["hidden"], jax.nn.relu(horizontal))
    return linear(params["output"], jax.nn.relu(hidden))[..., 0]


def gate(maps: Array) -> Array:
    """Return tanh of the first half of the channels times the logistic function of the second."""
    a, b = jnp.split(maps, 2, axis=-1)
    return jnp.tanh(a) * jax.nn.sigmoid(b)
