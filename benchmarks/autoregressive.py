"""What ``benchmarks.speed`` times beside Z-Forcing: N, NADE's output of a piano roll, and P, PixelRNN of one layer.

N  frames of 88 notes given states of 256, as a recurrent model of music has them: 64 steps of 16 sequences
P  the published PixelRNN of one layer of 32, a batch of 16 images of 28 x 28
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.ceilings import temporary_bytes
from benchmarks.contestants import Run, compile_
from zf_jax.batch import batch_of
from zf_jax.densities import build_density
from zf_jax.emissions import build_emission, emission_log_prob, init_emission
from zf_jax.typing import Observation

SIZES = {
    "N": {"frames": 1024, "notes": 88, "state": 256, "hidden": 128},
    "P": {"side": 28, "hidden": 32, "layers": 1, "mlp": 32, "batch": 16},
}
TINY = {
    "N": {"frames": 6, "notes": 5, "state": 4, "hidden": 3},
    "P": {"side": 4, "hidden": 3, "layers": 2, "mlp": 4, "batch": 2},
}


class Problem(NamedTuple):
    """A loss as a function of parameters and of float data; ``to_data`` where the gradient goes on into the data."""

    loss: Callable[..., Any]
    params: Any
    data: tuple[np.ndarray, ...]
    to_data: bool


def problem(name: str, sizes: dict[str, int]) -> Problem:
    """The loss of N or P, initial parameters, and random data."""
    return (head_problem if name == "N" else pixel_rnn_problem)(sizes, np.random.default_rng(0))


def head_problem(sizes: dict[str, int], rng: np.random.Generator) -> Problem:
    """NADE's output: states ``[N, S]`` and frames ``[N, D]``; a recurrence would stand before the states."""
    emission = build_emission("nade", Observation("frames", sizes["notes"]), head_dim=sizes["hidden"])
    states = rng.normal(size=(sizes["frames"], sizes["state"])).astype(np.float32)
    frames = (rng.uniform(size=(sizes["frames"], sizes["notes"])) < 0.3).astype(np.float32)

    def loss(params, states, frames):
        return -jnp.mean(emission_log_prob(params, emission, states, frames))

    return Problem(loss, init_emission(jax.random.key(0), emission, sizes["state"]), (states, frames), to_data=True)


def pixel_rnn_problem(sizes: dict[str, int], rng: np.random.Generator) -> Problem:
    """PixelRNN: images ``[B, n, m]``."""
    side, options = sizes["side"], {"rnn_dim": "hidden", "num_layers": "layers", "mlp_dim": "mlp"}
    density: Any = build_density("pixel_rnn", (side, side), **{name: sizes[size] for name, size in options.items()})
    images = rng.integers(0, 2, (sizes["batch"], side, side))
    batch = batch_of(images.reshape(len(images), -1), observation=Observation("tokens", 2))

    def loss(params, images):
        pixels = images.reshape(len(images), -1).astype(jnp.int32)
        return density.loss(params, batch._replace(targets=pixels), jax.random.key(1))[0]

    return Problem(loss, density.init(jax.random.key(0)), (images.astype(np.float32),), to_data=False)


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


def ours(name: str, sizes: dict[str, int]) -> tuple[Run, dict]:
    """What runs the update once and waits for it, and facts about its compilation."""
    loss, params, data, to_data = problem(name, sizes)
    optimizer, data = optax.adam(1e-3), tuple(jnp.asarray(x) for x in data)

    def update(state, *data):
        found, (gradients, *others) = jax.value_and_grad(loss, (0, 1) if to_data else (0,))(state[0], *data)
        updates, moments = optimizer.update(gradients, state[1])
        return (optax.apply_updates(state[0], updates), moments), (found, others)

    held = [(params, optimizer.init(params))]
    compiled, seconds = compile_(jax.jit(update, donate_argnums=0), held[0], *data)

    def run():
        held[0], found = compiled(held[0], *data)
        jax.block_until_ready((held[0], found))

    return run, {"compile_seconds": seconds, "temporary_bytes": temporary_bytes(compiled)}


def peer_of(name: str, one: Problem, compiled: bool = False) -> tuple[Any, tuple]:
    """The peer, and the data as it reads them."""
    import torch

    from benchmarks import peer_autoregressive

    data = [torch.tensor(x) for x in one.data]
    data[0].requires_grad_(one.to_data)
    return peer_autoregressive.Peer(name, one.params, compiled), tuple(data)


def peers(name: str, sizes: dict[str, int], kinds: tuple[str, ...]) -> dict[str, Run]:
    """The peer's variants, each run once already, so that it is compiled; one that fails is left out."""
    runs = {}
    for kind in kinds:
        peer, data = peer_of(name, problem(name, sizes), kind == "compiled")

        def run(peer=peer, data=data):
            data[0].grad = None
            peer.update(*data)

        try:
            run()
        except Exception as error:  # torch.compile needs a C++ compiler, and is not to be had everywhere
            print(f"  peer {kind} left out: {type(error).__name__}", file=sys.stderr)
            continue
        runs[kind] = run
    return runs


def disagreement(name: str, sizes: dict[str, int]) -> dict[str, float]:
    """Relative differences of loss and gradients between ours and the peer, on equal parameters and data."""
    from benchmarks.peer_autoregressive import flat

    rng, one = np.random.default_rng(3), problem(name, sizes)
    one = one._replace(
        params=jax.tree.map(lambda x: x + 0.01 * rng.normal(size=x.shape).astype(np.float32), one.params)
    )
    loss, (gradients, *others) = jax.jit(jax.value_and_grad(one.loss, (0, 1) if one.to_data else (0,)))(
        one.params, *one.data
    )
    peer, data = peer_of(name, one)
    peer_loss = peer.update(*data).item()
    theirs, found = peer.gradients(), flat(gradients)
    if others:
        theirs["data"], found["data"] = data[0].grad.numpy(), np.asarray(others[0])
    gaps = [np.abs(found[path] - theirs[path]).max() / np.abs(found[path]).max() for path in found]
    return {"loss": abs(float(loss) - peer_loss) / abs(float(loss)), "gradients": float(max(gaps))}
