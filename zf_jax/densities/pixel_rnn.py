"""PixelRNN with diagonal bidirectional LSTMs (van den Oord, Kalchbrenner and Kavukcuoglu 2016), on binary images.

y_0 = Conv(x), 7 x 7 with mask A: a map at pixel (r, c) reads the pixels before (r, c) within its reach
y_l = y_{l-1} + W_u (h^left_l + shift(h^right_l)),    l = 1 .. L
h^left (r, c) = LSTM(W_i y_{l-1}(r, c), W_s h(r, c-1) + W_a h(r-1, c), the cell of (r, c-1))
h^right is the same on the mirrored image; shift moves its map down by one row
p(x_rc = 1 | before) = sigma(W_p relu(W_2 relu(W_1 relu(y_L))))

h^right (r, c) reads the row r right of c, which comes after the pixel (r, c): shifted, it gives row r what it found in
the rows up to r - 1.  The last pixel of a row enters no map of that row, and so reaches the next row only within the
reach of the convolution, three columns; all other pixels before a pixel are read by the pixel, at any distance.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from zf_jax.densities.convolutions import init_masked, masked_convolution, shift_down
from zf_jax.densities.images import Autoregressive
from zf_jax.nn.layers import init_linear, linear, multiply, split_keys
from zf_jax.nn.recurrence import LSTMState, lstm_gates, zero_lstm_state
from zf_jax.typing import Array, Params

FIRST = 7  # sides of the first convolution


@dataclasses.dataclass(frozen=True)
class PixelRNN(Autoregressive):
    """PixelRNN with diagonal BiLSTM layers: exact.

    Attributes:
      rnn_dim: H, maps of an LSTM; the maps between layers are 2H.
      num_layers: L.
      mlp_dim: maps of the two layers before the output.
    """

    rnn_dim: int = 16
    num_layers: int = 7
    mlp_dim: int = 32

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        keys = split_keys(key, "first", "hidden_0", "hidden_1", "output", "layers")
        wide = 2 * self.rnn_dim
        params = {
            "first": init_masked(keys["first"], FIRST, 1, wide),
            "hidden_0": init_linear(keys["hidden_0"], wide, self.mlp_dim),
            "hidden_1": init_linear(keys["hidden_1"], self.mlp_dim, self.mlp_dim),
            "output": init_linear(keys["output"], self.mlp_dim, 1),
        }
        for layer in range(self.num_layers):
            key_left, key_right, key_up = jax.random.split(jax.random.fold_in(keys["layers"], layer), 3)
            params[f"layer_{layer}"] = {
                "left": init_diagonal(key_left, wide, self.rnn_dim),
                "right": init_diagonal(key_right, wide, self.rnn_dim),
                "up": init_linear(key_up, self.rnn_dim, wide),
            }
        return params

    def logits(self, params: Params, images: Array) -> Array:
        """Return the logit of p(x_rc = 1 | the pixels before) for every pixel: ``[B, n, m]``."""
        maps = masked_convolution(params["first"], images[..., None], centre=False)
        for index in range(self.num_layers):
            layer = params[f"layer_{index}"]
            maps = maps + linear(layer["up"], bidirectional(layer, maps))
        for name in ("hidden_0", "hidden_1"):
            maps = linear(params[name], jax.nn.relu(maps))
        return linear(params["output"], jax.nn.relu(maps))[..., 0]


def init_diagonal(key: Array, inputs: int, size: int) -> Params:
    """Initialise a diagonal LSTM: ``input`` ``[inputs, 4H]``, and ``state`` ``[2H, 4H]`` over left and upper h."""
    key_input, key_state = jax.random.split(key)
    state = init_linear(key_state, 2 * size, 4 * size)
    return {"input": init_linear(key_input, inputs, 4 * size), "state": {"kernel": state["kernel"]}}


def bidirectional(layer: Params, maps: Array) -> Array:
    """Run both directions over ``maps`` ``[B, n, m, C]``: ``[B, n, m, H]``."""
    both = jnp.stack([maps, maps[:, :, ::-1]])
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), layer["left"], layer["right"])
    left, right = jax.vmap(diagonal_lstm)(params, both)
    return left + shift_down(right[:, :, ::-1])


def diagonal_lstm(params: Params, maps: Array) -> Array:
    """Run the LSTM over the diagonals of ``maps`` ``[B, n, m, C]``, from the upper left: ``[B, n, m, H]``."""
    rows, columns = maps.shape[1:3]
    inputs = skew(linear(params["input"], maps))
    real = skew(jnp.ones((1, rows, columns, 1), maps.dtype))
    zeros = zero_lstm_state(maps[:, :, 0], params["state"]["kernel"].shape[0] // 2)

    def step(state, diagonal):
        gates, inside = diagonal
        above = jnp.pad(state.hidden, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        gates = gates + multiply(jnp.concatenate([state.hidden, above], axis=-1), params["state"]["kernel"])
        # Beside the image a state is zero, as it is above the image.
        state = LSTMState(*(inside * leaf for leaf in lstm_gates(state, gates)))
        return state, state.hidden

    diagonals = (jnp.moveaxis(inputs, 2, 0), jnp.moveaxis(real, 2, 0))
    hidden = jax.lax.scan(step, zeros, diagonals)[1]
    return unskew(jnp.moveaxis(hidden, 0, 2), columns)


def skew(maps: Array) -> Array:
    """Shift row r right by r: ``[B, n, m, C]`` to ``[B, n, n + m - 1, C]``, zeros elsewhere.

    Column j then holds the pixels of r + c = j, whose left and upper neighbours are both in column j - 1.
    """
    batch, rows, columns, channels = maps.shape
    # One zero more than a row of the result is long pushes each row one further than the row before.
    flat = jnp.pad(maps, ((0, 0), (0, 0), (0, rows), (0, 0))).reshape(batch, -1, channels)
    return flat[:, : rows * (rows + columns - 1)].reshape(batch, rows, rows + columns - 1, channels)


def unskew(maps: Array, columns: int) -> Array:
    """Undo ``skew``: ``[B, n, n + m - 1, C]`` to ``[B, n, m, C]``."""
    batch, rows, _, channels = maps.shape
    flat = jnp.pad(maps.reshape(batch, -1, channels), ((0, 0), (0, rows), (0, 0)))
    return flat.reshape(batch, rows, rows + columns, channels)[:, :, :columns]
