"""What ``benchmarks.speed`` times: each task of ours and of the peer's, and a bare matmul of either, as functions."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.ceilings import temporary_bytes
from benchmarks.configurations import Configuration, model_of, random_batch
from zf_jax import bounds, generation, init_state, make_optimizer, update
from zf_jax.objective.loss import loss_and_metrics
from zf_jax.objective.settings import Weights

PEAK_SIZE = 2048
AUX_WEIGHT, REVERSE_WEIGHT = 1e-3, 1e-3
TASKS = ("update", "train_step", "iwae", "sample")
Run = Callable[[], None]


def our_update(configuration: Configuration):
    """The compiled update, the state that it starts from, the batch, and the seconds that it took to compile."""
    model, batch, optimizer = model_of(configuration), random_batch(configuration), optax.adam(1e-3)

    def bare_update(state, batch):
        params, optimizer_state, key = state
        key, key_noise = jax.random.split(key)
        weights = Weights(1.0, AUX_WEIGHT, REVERSE_WEIGHT)
        gradients = jax.grad(lambda p: loss_and_metrics(model, p, batch, key_noise, weights)[0])(params)
        updates, optimizer_state = optimizer.update(gradients, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state, key), {}

    params = model.init(jax.random.key(0))
    state = (params, optimizer.init(params), jax.random.key(1))
    compiled, seconds = compile_(jax.jit(bare_update, donate_argnums=0), state, batch)
    return compiled, state, batch, seconds


def our_train_step(configuration: Configuration):
    """As ``our_update``, of the library's own update."""
    model, batch, key = model_of(configuration), random_batch(configuration), jax.random.key(1)
    optimizer, weights = make_optimizer(1e-3, clip_norm=100.0), Weights(1.0, AUX_WEIGHT, REVERSE_WEIGHT)
    state = init_state(model, optimizer, jax.random.key(0))
    step = jax.jit(lambda state, batch: update(model, optimizer, state, batch, key, weights), donate_argnums=0)
    compiled, seconds = compile_(step, state, batch)
    return compiled, state, batch, seconds


def compile_(function, *arguments):
    """The compiled program, and the seconds that it took."""
    start = time.perf_counter()
    return function.lower(*arguments).compile(), time.perf_counter() - start


def ours(configuration: Configuration, task: str) -> tuple[Run, dict]:
    """What runs the task once and waits for it, and facts about its compilation."""
    c, key = configuration, jax.random.key(2)
    if task in ("update", "train_step"):
        compiled, state, batch, seconds = (our_update if task == "update" else our_train_step)(c)
        held = [state]

        def run():
            held[0], metrics = compiled(held[0], batch)
            jax.block_until_ready((held[0], metrics))
    else:
        model, batch = model_of(c), random_batch(c)
        params = model.init(jax.random.key(0))
        functions = {
            "iwae": lambda params: bounds.iwae(model, params, batch, key, num_samples=c.K),
            "sample": lambda params: generation.sample(model, params, key, num_samples=c.B, length=c.T).values,
        }
        compiled, seconds = compile_(jax.jit(functions[task]), params)

        def run():
            compiled(params).block_until_ready()

    return run, {"compile_seconds": seconds, "temporary_bytes": temporary_bytes(compiled)}


def peers(configuration: Configuration, task: str, kinds: tuple[str, ...]) -> dict[str, Run]:
    """The peer's variants, each run once already, so that it is compiled; one that fails is left out."""
    import torch

    from benchmarks import peer

    c = configuration
    params = jax.tree.map(np.asarray, model_of(c).init(jax.random.key(0)))
    batch = peer.to_torch(random_batch(c))
    runs = {}
    for kind in kinds:
        torch._dynamo.reset()
        one = peer.Peer(c, params, compiled=kind == "compiled")
        functions = {
            "update": lambda one=one: one.update(batch, torch.randn(c.T, c.B, c.Z), AUX_WEIGHT, REVERSE_WEIGHT),
            "iwae": lambda one=one: one.iwae(batch, torch.randn(c.T, c.K * c.B, c.Z)),
            "sample": lambda one=one: one.sample(c.B),
        }
        functions["train_step"] = functions["update"]
        try:
            functions[task]()
        except Exception as error:  # torch.compile needs a C++ compiler, and is not to be had everywhere
            print(f"  peer {kind} left out: {type(error).__name__}", file=sys.stderr)
            continue
        runs[kind] = functions[task]
    return runs


def disagreement(configuration: Configuration) -> dict[str, float]:
    """Relative differences of loss and gradients between ours and the peer, on equal parameters, data and noise."""
    import torch

    from benchmarks import peer

    c, rng = configuration, np.random.default_rng(3)
    model, batch = model_of(c), random_batch(c)
    # Off the initial values, where hidden layers sit exactly on the kink of their activation.
    params = jax.tree.map(
        lambda x: x + 0.01 * rng.normal(size=x.shape).astype(np.float32), model.init(jax.random.key(0))
    )
    noise = rng.normal(size=(c.B, c.T, c.Z)).astype(np.float32)
    weights = Weights(1.0, 0.3, 0.2)
    loss, gradients = jax.jit(
        jax.value_and_grad(lambda p: loss_and_metrics(model, p, batch, weights=weights, noise=jnp.asarray(noise))[0])
    )(params)
    other = peer.Peer(c, jax.tree.map(np.asarray, params))
    other_loss = other.loss(peer.to_torch(batch), torch.tensor(noise.swapaxes(0, 1)), 0.3, 0.2)
    other_loss.backward()
    theirs = other.gradients()
    largest = 0.0
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        gap = np.abs(np.asarray(gradient) - theirs[tuple(k.key for k in path)]).max()
        largest = max(largest, float(gap / (1e-12 + np.abs(np.asarray(gradient)).max())))
    return {"loss": abs(float(loss) - other_loss.item()) / abs(float(loss)), "gradients": largest}


def peer_peak_run() -> Run:
    """The same matmul in PyTorch: how much of a ratio is the library of matmuls, and how much the program."""
    import torch

    square = torch.ones(PEAK_SIZE, PEAK_SIZE)

    def run():
        torch.matmul(square, square)

    return run


def peak_run() -> Run:
    square = jnp.ones((PEAK_SIZE, PEAK_SIZE))
    multiply = jax.jit(jnp.matmul)
    return lambda: multiply(square, square).block_until_ready()
