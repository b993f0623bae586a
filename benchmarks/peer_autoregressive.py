"""NADE's output and PixelRNN in PyTorch, as a user who knows PyTorch well would write them, for ``benchmarks.speed``.

The same parameters and mathematics as ``zf_jax.emissions.NADE`` over binary frames, whose running sum over dimensions
is one ``cumsum`` of all frames, ``[N, D, H]`` whole; and as ``zf_jax.densities.PixelRNN``, whose two directions run
side by side over the skewed image, a diagonal at a time, with the products of the inputs before the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F


def nade_loss(parameters, states, frames):
    """Minus the mean of log p(y | s) over frames ``[N, D]``, given states ``[N, S]``."""
    get = parameters.__getitem__
    sums = torch.cumsum(frames[:, :-1, None] * get("kernels.frame"), dim=1)  # [N, D - 1, H]
    first = torch.addmm(get("hidden_bias.bias"), states, get("hidden_bias.kernel"))[:, None]
    units = torch.sigmoid(first + F.pad(sums, (0, 0, 1, 0)))
    biases = torch.addmm(get("logits.bias"), states, get("logits.kernel"))
    logits = biases + torch.einsum("ndh,dh->nd", units, get("kernels.logits")[..., 0])
    return F.binary_cross_entropy_with_logits(logits, frames, reduction="none").sum(-1).mean()


def diagonal_step(hidden, cell, gates, inside, kernel):
    """One diagonal of both directions: states ``[2, B, n, H]``, what the inputs contribute ``[2, B, n, 4H]``."""
    above = F.pad(hidden, (0, 0, 1, 0))[:, :, :-1]
    read = torch.cat([hidden, above], dim=-1).flatten(1, 2)
    i, f, g, o = (gates + torch.bmm(read, kernel).view_as(gates)).chunk(4, dim=-1)
    cell = inside * (torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g))
    return inside * torch.sigmoid(o) * torch.tanh(cell), cell


def skew(maps):
    """Shift row r right by r: ``[..., n, m, C]`` to ``[..., n, n + m - 1, C]``."""
    *batch, rows, columns, channels = maps.shape
    flat = F.pad(maps, (0, 0, 0, rows)).reshape(*batch, -1, channels)
    wide = rows + columns - 1
    return flat[..., : rows * wide, :].reshape(*batch, rows, wide, channels)


def bidirectional(layer, maps, step):
    """Both directions over ``maps`` ``[B, n, m, C]``: ``[B, n, m, H]``."""
    B, rows, columns, channels = maps.shape
    both = torch.stack([maps, maps.flip(2)]).view(2, -1, channels)
    inputs, biases, states = (
        torch.stack([layer(f"{side}.{part}") for side in ("left", "right")])
        for part in ("input.kernel", "input.bias", "state.kernel")
    )
    gates = torch.baddbmm(biases[:, None], both, inputs).view(2, B, rows, columns, -1)
    inside = skew(maps.new_ones(1, 1, rows, columns, 1)).unbind(3)
    hidden = cell = maps.new_zeros(2, B, rows, states.shape[1] // 2)
    diagonals = []
    for gates_j, inside_j in zip(skew(gates).unbind(3), inside, strict=True):
        hidden, cell = step(hidden, cell, gates_j, inside_j, states)
        diagonals.append(hidden)
    flat = F.pad(torch.stack(diagonals, dim=3).flatten(2, 3), (0, 0, 0, rows))
    left, right = flat.view(2, B, rows, rows + columns, -1)[:, :, :, :columns]
    return left + F.pad(right.flip(2), (0, 0, 0, 0, 1, 0))[:, :-1]


def pixel_rnn_loss(parameters, images, step=diagonal_step):
    """Minus the mean log-likelihood of images ``[B, n, m]``."""
    kernel = parameters["first.kernel"].permute(3, 2, 0, 1)
    mask = torch.ones(kernel.shape[-2:])
    middle = len(mask) // 2
    mask[middle, middle:] = mask[middle + 1 :] = 0.0  # mask A
    maps = F.conv2d(images[:, None], kernel * mask, parameters["first.bias"], padding=middle).permute(0, 2, 3, 1)
    for index in range(sum(name.endswith("up.kernel") for name in parameters)):
        layer = lambda name, index=index: parameters[f"layer_{index}.{name}"]  # noqa: E731
        maps = maps + bidirectional(layer, maps, step) @ layer("up.kernel") + layer("up.bias")
    for name in ("hidden_0", "hidden_1", "output"):
        maps = torch.relu(maps) @ parameters[f"{name}.kernel"] + parameters[f"{name}.bias"]
    return F.binary_cross_entropy_with_logits(maps[..., 0], images, reduction="none").sum((1, 2)).mean()


class Peer:
    """Parameters taken from ours, nested dicts of arrays, and the update.

    Args:
      name: "N", NADE's output, or "P", PixelRNN.
      compiled: run the loss, or PixelRNN's step, whose loop stays in Python, through ``torch.compile``.
    """

    def __init__(self, name: str, params: Any, compiled: bool = False):
        self.parameters = {path: torch.tensor(leaf).requires_grad_() for path, leaf in flat(params).items()}
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=1e-3, fused=True)
        compile_: Callable = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        if name == "N":
            self.loss = compile_(nade_loss)
        else:
            step = compile_(diagonal_step)
            self.loss = lambda parameters, images: pixel_rnn_loss(parameters, images, step)

    def update(self, *data):
        """Forward, backward to the parameters and to what asks for a gradient among the data, Adam; the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        found = self.loss(self.parameters, *data)
        found.backward()
        self.optimizer.step()
        return found.detach()

    def gradients(self) -> dict[str, np.ndarray]:
        """The gradients of the last backward pass by the path of the parameter."""
        return {path: p.grad.numpy(force=True) for path, p in self.parameters.items()}


def flat(tree: Any, path: str = "") -> dict[str, np.ndarray]:
    """The leaves of nested dicts by their paths, "layer_0.up.kernel"."""
    if not isinstance(tree, dict):
        return {path[1:]: np.asarray(tree)}
    return {name: leaf for key, value in tree.items() for name, leaf in flat(value, f"{path}.{key}").items()}
