"""NADE's output in PyTorch, as a user who knows PyTorch well would write it, for ``benchmarks.speed``.

The running sum over the dimensions of a frame is one ``cumsum`` of all frames, ``[N, D, H]`` whole, so that no loop is
in Python.  The same parameters and the same mathematics as ``zf_jax.emissions.NADE`` over binary frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F


def loss(states, frames, parameters):
    """Minus the mean of log p(y | s) over frames ``[N, D]``, given states ``[N, S]``."""
    hidden_kernel, hidden_bias, logits_kernel, logits_bias, frame, output = parameters
    sums = torch.cumsum(frames[:, :-1, None] * frame, dim=1)  # [N, D - 1, H]
    first = torch.addmm(hidden_bias, states, hidden_kernel)[:, None]
    units = torch.sigmoid(first + F.pad(sums, (0, 0, 1, 0)))
    logits = torch.addmm(logits_bias, states, logits_kernel) + torch.einsum("ndh,dh->nd", units, output)
    return F.binary_cross_entropy_with_logits(logits, frames, reduction="none").sum(-1).mean()


class Peer:
    """Parameters taken from ours, and the update; ``compiled`` runs the loss through ``torch.compile``."""

    def __init__(self, params: Any, compiled: bool = False):
        layers = [params[name][part] for name in ("hidden_bias", "logits") for part in ("kernel", "bias")]
        kernels = [params["kernels"]["frame"], params["kernels"]["logits"][..., 0]]
        self.parameters = [torch.tensor(np.asarray(leaf)).requires_grad_() for leaf in (*layers, *kernels)]
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3, fused=True)
        self.loss = torch.compile(loss, dynamic=False) if compiled else loss

    def gradients(self, states, frames):
        """The loss, and its gradients with respect to the parameters and to the states."""
        states = states.detach().requires_grad_()
        found = self.loss(states, frames, self.parameters)
        found.backward()
        return found.detach(), [p.grad for p in self.parameters], states.grad

    def update(self, states, frames):
        """Forward, backward to parameters and states, Adam; the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        found, _, gradient = self.gradients(states, frames)
        self.optimizer.step()
        return found, gradient
