"""Z-Forcing in PyTorch, as a user who knows PyTorch well would write it: what our speed is measured against.

The same mathematics as ``zf_jax.models.zforcing`` with its default options, for full-length sequences, on the same
parameters and the same noise.  Everything that can leave the loop over time has left it: the input projections
are hoisted, the backward network is ``nn.LSTM``, the heads and the emission are scored on the stacked trajectory;
inside the loop one product reads h for the gates and the posterior together, and mean and log standard deviation
come from one product.  Arrays are time-major, ``[T, B, ...]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.configurations import Configuration

LATENT_BOUNDS, EMISSION_BOUNDS, AUX_BOUNDS = (-7.0, 5.0), (-7.0, 5.0), (-5.0, 5.0)
LOG_TWO_PI = 1.8378770664093453


def bound(raw, bounds):
    lower, upper = bounds
    return upper - F.softplus(upper - (lower + F.softplus(raw - lower)))


def activation(x):
    return torch.clamp(F.leaky_relu(x, 1.0 / 3.0), -3.0, 3.0)


def gaussian_log_prob(mean, log_std, x):
    return -0.5 * (((x - mean) * torch.exp(-log_std)) ** 2 + LOG_TWO_PI) - log_std


def gaussian_kl(q_mean, q_log_std, p_mean, p_log_std):
    log_ratio = q_log_std - p_log_std
    return 0.5 * (torch.expm1(2.0 * log_ratio) + ((q_mean - p_mean) * torch.exp(-p_log_std)) ** 2) - log_ratio


def lstm_gates(gates, cell):
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def posterior_step(
    hidden, cell, from_data, gates_data, noise, kernel_h, kernel_out, bias_out, kernel_z, bias_z, kernel_e
):
    """One step of eqs. (7) and (4), given what the data contribute."""
    from_h = hidden @ kernel_h  # [B, 4H + M]
    gates_h, hidden_q = from_h.split([gates_data.shape[-1], from_data.shape[-1]], dim=-1)
    mean, raw = torch.addmm(bias_out, activation(hidden_q + from_data), kernel_out).chunk(2, dim=-1)
    log_std = bound(raw, LATENT_BOUNDS)
    latent = mean + torch.exp(log_std) * noise
    gates = torch.addmm(gates_data + gates_h, torch.addmm(bias_z, latent, kernel_z), kernel_e)
    hidden, cell = lstm_gates(gates, cell)
    return hidden, cell, mean, log_std, latent


class Peer:
    """Parameters taken from ours, and the update, the IWAE bound and the sampler.

    Args:
      params: the parameters of ``zf_jax``, nested dicts of numpy arrays.
      compiled: run the step and the scoring through ``torch.compile``; the loop over time stays in Python, since
        unrolling it would make compiling take as long as T is.
      device: where parameters lie and everything runs; batches and noise are expected there.
    """

    def __init__(self, configuration: Configuration, params: Any, compiled: bool = False, device: str = "cpu"):
        self.c, self.device = configuration, device
        self.lstm = torch.nn.LSTM(configuration.E, configuration.H, device=device)
        self.params = {}
        for path, leaf in _flatten(params):
            if path[0] == "backward":
                continue
            self.params[path] = torch.tensor(np.asarray(leaf), device=device).requires_grad_()
        backward = params["backward"]
        with torch.no_grad():
            self.lstm.weight_ih_l0.copy_(torch.tensor(np.asarray(backward["input"]["kernel"]).T))
            self.lstm.weight_hh_l0.copy_(torch.tensor(np.asarray(backward["recurrent"]["kernel"]).T))
            self.lstm.bias_ih_l0.copy_(torch.tensor(np.asarray(backward["input"]["bias"])))
            self.lstm.bias_hh_l0.zero_()
        self.lstm.bias_hh_l0.requires_grad_(False)  # ours has one bias
        trained = [*self.params.values(), *(p for p in self.lstm.parameters() if p.requires_grad)]
        # Capturable: its step counts lie on the device, so that a CUDA graph can hold the whole update.
        self.optimizer = torch.optim.Adam(trained, lr=1e-3, fused=True, capturable=device == "cuda")
        compile_ = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        self.step, self.score, self.weigh = compile_(posterior_step), compile_(self._score), compile_(self._weigh)
        self.prior_step = compile_(self._prior_step)

    def _linear(self, *path):
        return self.params[(*path, "kernel")], self.params[(*path, "bias")]

    def embed(self, x):
        if ("embedding", "embedding") in self.params:
            return F.embedding(x, self.params[("embedding", "embedding")])
        kernel, bias = self._linear("embedding")
        return x @ kernel + bias

    def head(self, name, x, bounds):
        return self.head_from_hidden(
            name, F.linear(x, self.params[name, "hidden", "kernel"].T, self.params[name, "hidden", "bias"]), bounds
        )

    def head_from_hidden(self, name, hidden, bounds):
        hidden = activation(hidden)
        mean_kernel, mean_bias = self._linear(name, "mean")
        std_kernel, std_bias = self._linear(name, "log_std")
        return hidden @ mean_kernel + mean_bias, bound(hidden @ std_kernel + std_bias, bounds)

    def emission_log_prob(self, name, hidden, x):
        """[..., T, B]."""
        if self.c.emission == "gaussian":
            (mk, mb), (sk, sb) = self._linear(name, "mean"), self._linear(name, "log_std")
            return gaussian_log_prob(hidden @ mk + mb, bound(hidden @ sk + sb, EMISSION_BOUNDS), x).sum(-1)
        kernel, bias = self._linear(name, "logits")
        logits = hidden @ kernel + bias
        if self.c.emission == "bernoulli":
            return -F.binary_cross_entropy_with_logits(logits[..., 0], x.float(), reduction="none")
        losses = F.cross_entropy(logits.flatten(0, -2), x.expand(logits.shape[:-1]).flatten(), reduction="none")
        return -losses.view(logits.shape[:-1])

    def encode(self, inputs, targets):
        """What the data contribute: backward states, and the shares of gates and of the posterior's hidden layer."""
        H, E = self.c.H, self.c.E
        backward_states = self.lstm(self.embed(targets).flip(0))[0].flip(0)  # eq. (6)
        kernel, bias = self._linear("forward", "input")
        gates = self.embed(inputs) @ kernel[:E] + bias
        kernel, bias = self._linear("posterior", "hidden")
        return backward_states, gates, backward_states @ kernel[H:] + bias

    def kernels(self, head):
        """What depends on the parameters alone, once for all steps."""
        recurrent = self.params["forward", "recurrent", "kernel"]
        return (
            torch.cat([recurrent, self.params[head, "hidden", "kernel"][: self.c.H]], dim=1),
            torch.cat([self.params[head, "mean", "kernel"], self.params[head, "log_std", "kernel"]], dim=1),
            torch.cat([self.params[head, "mean", "bias"], self.params[head, "log_std", "bias"]]),
            *self._linear("latent_embedding"),
            self.params["forward", "input", "kernel"][self.c.E :],
        )

    def unroll(self, gates, from_data, noise):
        """States h_0..h_T ``[T + 1, B, H]`` and the posterior along the trajectory."""
        kernels = self.kernels("posterior")
        hidden = cell = noise.new_zeros(noise.shape[1], self.c.H)
        states, means, log_stds, latents = [hidden], [], [], []
        for gates_t, from_t, noise_t in zip(gates.unbind(), from_data.unbind(), noise.unbind(), strict=True):
            hidden, cell, mean, log_std, latent = self.step(hidden, cell, from_t, gates_t, noise_t, *kernels)
            states.append(hidden), means.append(mean), log_stds.append(log_std), latents.append(latent)
        return torch.stack(states), torch.stack(means), torch.stack(log_stds), torch.stack(latents)

    def _score(
        self, states, means, log_stds, latents, backward_states, inputs, targets, data, alpha, beta, kl_temperature
    ):
        p_mean, p_log_std = self.head("prior", states[:-1], LATENT_BOUNDS)  # eq. (5)
        kl = gaussian_kl(means, log_stds, p_mean, p_log_std).sum(-1)
        a_mean, a_log_std = self.head("auxiliary", latents, AUX_BOUNDS)
        aux = gaussian_log_prob(torch.tanh(a_mean), a_log_std, backward_states.detach()).sum(-1)  # eq. (8)
        emission = self.emission_log_prob("emission", states[1:], targets)
        reverse = self.emission_log_prob("reverse", backward_states, inputs) * data  # eq. (10)
        return -(emission + alpha * aux + beta * reverse - kl_temperature * kl).sum(0).mean()

    def loss(self, batch, noise, alpha, beta, kl_temperature=1.0):
        """Minus the objective, mean over sequences; a batch is time-major (inputs, targets, 1 where input is data)."""
        inputs, targets, data = batch
        backward_states, gates, from_data = self.encode(inputs, targets)
        trajectory = self.unroll(gates, from_data, noise)
        safe = inputs * data.to(inputs.dtype).view(*data.shape, *[1] * (inputs.ndim - 2))
        return self.score(*trajectory, backward_states, safe, targets, data, alpha, beta, kl_temperature)

    def update(self, batch, noise, alpha, beta):
        """Forward, backward, Adam; the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch, noise, alpha, beta)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def gradients(self):
        """The gradients of the last backward pass under our names, numpy."""
        gradients = {path: p.grad.numpy(force=True) for path, p in self.params.items()}
        gradients["backward", "input", "kernel"] = self.lstm.weight_ih_l0.grad.numpy(force=True).T
        gradients["backward", "input", "bias"] = self.lstm.bias_ih_l0.grad.numpy(force=True)
        gradients["backward", "recurrent", "kernel"] = self.lstm.weight_hh_l0.grad.numpy(force=True).T
        return gradients

    def _weigh(self, states, means, log_stds, latents, targets):
        p_mean, p_log_std = self.head("prior", states[:-1], LATENT_BOUNDS)
        prior = gaussian_log_prob(p_mean, p_log_std, latents).sum(-1)
        posterior = gaussian_log_prob(means, log_stds, latents).sum(-1)
        emission = self.emission_log_prob("emission", states[1:], targets)
        return (emission + prior - posterior).sum(0)

    @torch.no_grad()
    def iwae(self, batch, noise):
        """IWAE-K ``[B]``: the samples ride in the batch axis; noise is ``[T, K * B, Z]``."""
        inputs, targets, _ = batch
        _, gates, from_data = self.encode(inputs, targets)
        K = noise.shape[1] // self.c.B
        repeated = (x.repeat(1, K, *[1] * (x.ndim - 2)) for x in (gates, from_data))
        trajectory = self.unroll(*repeated, noise)
        if self.c.emission == "categorical":  # one step's softmax at a time, or 25 samples of it fill the memory
            states, *rest = trajectory
            repeated_targets = targets.repeat(1, K)
            weights = sum(
                self.weigh(states[t : t + 2], *(x[t : t + 1] for x in rest), repeated_targets[t : t + 1])
                for t in range(self.c.T)
            )
        else:
            weights = self.weigh(*trajectory, targets.repeat(1, K, *[1] * (targets.ndim - 2)))
        return torch.logsumexp(weights.view(K, -1), 0) - np.log(K)

    def _prior_step(self, x, hidden, cell, noise, uniform, kernel_h, kernel_out, bias_out, kernel_z, bias_z, kernel_e):
        kernel, bias = self._linear("forward", "input")
        gates = torch.addmm(bias, self.embed(x), kernel[: self.c.E])
        from_data = self.params["prior", "hidden", "bias"].expand(len(hidden), -1)
        kernels = (kernel_h, kernel_out, bias_out, kernel_z, bias_z, kernel_e)
        hidden, cell, *_ = posterior_step(hidden, cell, from_data, gates, noise, *kernels)
        if self.c.emission == "gaussian":
            (mk, mb), (sk, sb) = self._linear("emission", "mean"), self._linear("emission", "log_std")
            scale = torch.exp(bound(torch.addmm(sb, hidden, sk), EMISSION_BOUNDS))
            return torch.addmm(mb, hidden, mk) + scale * uniform, hidden, cell
        kernel, bias = self._linear("emission", "logits")
        logits = torch.addmm(bias, hidden, kernel)
        if self.c.emission == "bernoulli":
            return (uniform < torch.sigmoid(logits[:, 0])).long(), hidden, cell
        return torch.argmax(logits - torch.log(uniform), dim=-1), hidden, cell  # exponential race

    @torch.no_grad()
    def sample(self, num_samples):
        """Draw sequences from the model, step by step: time-major."""
        with torch.device(self.device):
            return self._sample(num_samples)

    def _sample(self, num_samples):
        c = self.c
        kernels = self.kernels("prior")
        hidden = cell = torch.zeros(num_samples, c.H)
        tokens = c.observation.kind == "tokens"
        x = (
            torch.full((num_samples,), c.observation.start_token)
            if tokens
            else torch.zeros(num_samples, c.observation.size)
        )
        noises = torch.randn(c.T, num_samples, c.Z)
        drawn = []
        for t in range(c.T):
            if c.emission == "gaussian":
                randomness = torch.randn(num_samples, c.observation.size)
            elif c.emission == "bernoulli":
                randomness = torch.rand(num_samples)
            else:
                randomness = torch.empty(num_samples, c.observation.size).exponential_()
            x, hidden, cell = self.prior_step(x, hidden, cell, noises[t], randomness, *kernels)
            drawn.append(x)
        return torch.stack(drawn)


def captured(update: Callable[[], Any]) -> Callable[[], None]:
    """The update as one CUDA graph, launched at once: what remains is what the device itself takes."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):  # libraries and optimiser set themselves up, which cannot be captured
            update()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update()
    return graph.replay


def to_torch(batch: Any, device: str = "cpu") -> tuple:
    """Our batch as the peer reads it: time-major (inputs, targets, 1 where the input is data)."""

    def tensor(x):
        x = torch.tensor(np.asarray(x), device=device).transpose(0, 1).contiguous()
        return x.long() if x.dtype == torch.int32 else x

    return tensor(batch.inputs), tensor(batch.targets), tensor(batch.input_mask)


def _flatten(tree, path=()):
    for name, value in tree.items():
        yield from _flatten(value, (*path, name)) if isinstance(value, dict) else [((*path, name), value)]
