"""What ``benchmarks.speed`` times beside Z-Forcing: N, NADE's output of a piano roll, and P, PixelRNN of one layer.

N  frames of 88 notes given states of 256, as a recurrent model of music has them: 64 steps of 16 sequences
P  the published PixelRNN of one layer of 32, a batch of 16 images of 28 x 28; it has no peer
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.ceilings import temporary_bytes
from benchmarks.contestants import Run, compile_
from zf_jax.batch import batch_of
from zf_jax.densities import build_density
from zf_jax.emissions import build_emission, emission_log_prob, init_emission
from zf_jax.objective.settings import Weights
from zf_jax.typing import Observation

SIZES = {
    "N": {"frames": 1024, "notes": 88, "state": 256, "hidden": 128},
    "P": {"side": 28, "hidden": 32, "layers": 1, "mlp": 32, "batch": 16},
}
TINY = {
    "N": {"frames": 6, "notes": 5, "state": 4, "hidden": 3},
    "P": {"side": 4, "hidden": 3, "layers": 1, "mlp": 4, "batch": 2},
}


def operations(name: str, sizes: dict[str, int]) -> float:
    """Floating-point operations of an update, as ``configurations.operations`` counts them."""
    if name == "N":
        once = sizes["state"] * (sizes["hidden"] + sizes["notes"]) + sizes["notes"] * sizes["hidden"]
        running_sum = sizes["notes"] * sizes["hidden"]  # of data, which need no gradient
        return sizes["frames"] * (6.0 * once + 4.0 * running_sum)
    hidden, mlp = sizes["hidden"], sizes["mlp"]
    both_directions = 2 * (2 * hidden * 4 * hidden + 2 * hidden * 4 * hidden)
    once = sizes["layers"] * (both_directions + hidden * 2 * hidden) + 2 * hidden * mlp + mlp * mlp + mlp
    first = 24 * 2 * hidden  # what the mask leaves of 7 x 7; of data
    return sizes["batch"] * sizes["side"] ** 2 * (6.0 * once + 4.0 * first)


def head_and_data(sizes: dict[str, int]) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """The head, its parameters, states ``[N, S]`` and frames ``[N, D]``."""
    rng = np.random.default_rng(0)
    emission = build_emission("nade", Observation("frames", sizes["notes"]), head_dim=sizes["hidden"])
    states = rng.normal(size=(sizes["frames"], sizes["state"])).astype(np.float32)
    frames = (rng.uniform(size=(sizes["frames"], sizes["notes"])) < 0.3).astype(np.float32)
    return emission, init_emission(jax.random.key(0), emission, sizes["state"]), states, frames


def head_loss(emission: Any, params: Any, states: Any, frames: Any) -> Any:
    """Minus the mean of log p(y | s) over frames."""
    return -jnp.mean(emission_log_prob(params, emission, states, frames))


def head_problem(sizes: dict[str, int]) -> tuple[Any, Any, tuple]:
    """The gradient of the head's loss, the parameters, and the data."""
    emission, params, *data = head_and_data(sizes)

    def gradient(params, states, frames):  # the states' too: a recurrence stands before the head
        return jax.value_and_grad(lambda p, s: head_loss(emission, p, s, frames), (0, 1))(params, states)

    return gradient, params, tuple(data)


def pixel_rnn_problem(sizes: dict[str, int]) -> tuple[Any, Any, tuple]:
    """The gradient of PixelRNN's loss, the parameters, and the data."""
    side, options = sizes["side"], {"rnn_dim": "hidden", "num_layers": "layers", "mlp_dim": "mlp"}
    density = build_density("pixel_rnn", (side, side), **{name: sizes[size] for name, size in options.items()})
    images = np.random.default_rng(0).integers(0, 2, (sizes["batch"], side * side))

    def gradient(params, batch):
        loss, gradients = jax.value_and_grad(lambda p: density.loss(p, batch, jax.random.key(1), Weights())[0])(params)
        return loss, (gradients, ())

    return gradient, density.init(jax.random.key(0)), (batch_of(images, observation=Observation("tokens", 2)),)


def ours(name: str, sizes: dict[str, int]) -> tuple[Run, dict]:
    """What runs the update once and waits for it, and facts about its compilation."""
    optimizer = optax.adam(1e-3)
    gradient, params, data = (head_problem if name == "N" else pixel_rnn_problem)(sizes)

    def update(state, *data):
        loss, (gradients, others) = gradient(state[0], *data)
        updates, moments = optimizer.update(gradients, state[1])
        return (optax.apply_updates(state[0], updates), moments), (loss, others)

    data = jax.tree.map(jnp.asarray, data)
    held = [(params, optimizer.init(params))]
    compiled, seconds = compile_(jax.jit(update, donate_argnums=0), held[0], *data)

    def run():
        held[0], found = compiled(held[0], *data)
        jax.block_until_ready((held[0], found))

    return run, {"compile_seconds": seconds, "temporary_bytes": temporary_bytes(compiled)}


def peers(name: str, sizes: dict[str, int], kinds: tuple[str, ...]) -> dict[str, Run]:
    """The peer's variants, each run once already, so that it is compiled; one that fails is left out."""
    if name != "N":
        return {}
    import torch

    from benchmarks import peer_nade

    _, params, states, frames = head_and_data(sizes)
    data, runs = (torch.tensor(states), torch.tensor(frames)), {}
    for kind in kinds:
        one = peer_nade.Peer(params, compiled=kind == "compiled")
        try:
            one.update(*data)
        except Exception as error:  # torch.compile needs a C++ compiler, and is not to be had everywhere
            print(f"  peer {kind} left out: {type(error).__name__}", file=sys.stderr)
            continue
        runs[kind] = lambda one=one: one.update(*data)
    return runs


def disagreement(name: str, sizes: dict[str, int]) -> dict[str, float]:
    """Relative differences of loss and gradients between ours and the peer; nothing without a peer."""
    if name != "N":
        return {}
    import torch

    from benchmarks import peer_nade

    emission, params, states, frames = head_and_data(sizes)
    loss, ours = jax.jit(jax.value_and_grad(lambda p, s: head_loss(emission, p, s, frames), (0, 1)))(params, states)
    theirs = peer_nade.Peer(params).gradients(torch.tensor(states), torch.tensor(frames))
    layers = [ours[0][layer][part] for layer in ("hidden_bias", "logits") for part in ("kernel", "bias")]
    leaves = [*layers, ours[0]["kernels"]["frame"], ours[0]["kernels"]["logits"][..., 0], ours[1]]
    pairs = zip(leaves, [*theirs[1], theirs[2]], strict=True)
    gaps = [float(np.abs(np.asarray(a) - b.numpy()).max() / np.abs(np.asarray(a)).max()) for a, b in pairs]
    return {"loss": abs(float(loss) - theirs[0].item()) / abs(float(loss)), "gradients": max(gaps)}
