"""The child of ``benchmarks.gpu``: it measures updates of ours or of the peer, one line of JSON each.

    python -m benchmarks.gpu_updates ORDER

ORDER is JSON: the items, whether sizes are tiny, and the time after which no measurement starts.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from benchmarks.ceilings import PRECISIONS, ceilings, launches, temporary_bytes, times_of
from benchmarks.configurations import CONFIGURATIONS, TINY, Configuration, model_of, operations, random_batch
from zf_jax.sharding import data_mesh, replicated
from zf_jax.training import Schedules, init_state, make_optimizer, make_train_step
from zf_jax.typing import Observation

SIZES = {
    "mnist": Configuration(Observation("tokens", 2), "bernoulli", H=1024, Z=256, M=512, E=512, T=784, B=32),
    "timit": CONFIGURATIONS["A"],
    "imdb": CONFIGURATIONS["C"],
}
QUICK_SIZES = {"mnist": TINY["B"], "timit": TINY["A"], "imdb": TINY["C"]}
COMMAND_BUFFERS = {
    "default": "",
    "off": "--xla_gpu_enable_command_buffer=",
    "scans": "--xla_gpu_enable_command_buffer=+WHILE",
    "scans unrolled": "--xla_gpu_enable_command_buffer=+WHILE --xla_gpu_command_buffer_unroll_loops=true",
}
PEERS = ("eager", "graph", "compiled")
AUX_WEIGHT, REVERSE_WEIGHT = 1e-3, 1e-3
REPLY = "@answer "


class Item(NamedTuple):
    """One measurement: ``who`` is "ceilings", "ours" or one of ``PEERS``; other fields are keys of the tables above."""

    who: str
    size: str
    rows: int
    precision: str
    command_buffers: str = "default"


def child(order: dict[str, Any]) -> None:
    """Measure the items of an order, one answer each."""
    items = [Item(*item) for item in order["items"]]
    device = None
    if items[0].who in PEERS:
        try:
            import torch
        except ImportError:
            return send({"left_out": dict.fromkeys(PEERS, "PyTorch is not installed")})
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu":
            send({"left_out": dict.fromkeys(PEERS[1:] if order["quick"] else PEERS, "PyTorch sees no GPU")})
            if not order["quick"]:
                return None
        name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
        send({"machine": {"torch": torch.__version__, "cudnn": torch.backends.cudnn.version(), "torch_device": name}})
    else:
        first, versions = jax.devices()[0], {"jax": jax.__version__, "python": platform.python_version()}
        send({"machine": {"platform": first.platform, "device": first.device_kind, **versions}})
    for item in items:
        if time.time() > order["deadline"]:
            return None
        try:
            if item.who == "ceilings":
                figures = ceilings(item.precision, order["quick"])
            else:
                size = (QUICK_SIZES if order["quick"] else SIZES)[item.size]
                configuration = dataclasses.replace(size, B=item.rows)
                figures = theirs(item, configuration, device) if device else ours(item, configuration)
        except Exception as error:  # a lack of memory, most often: the next item may fit
            figures = {"failed": f"{type(error).__name__}: {error}"[:300]}
        send(item._asdict() | figures)
    return None


def send(value: dict[str, Any]) -> None:
    """Tell the parent."""
    print(REPLY + json.dumps(value), flush=True)


def ours(item: Item, configuration: Configuration) -> dict[str, Any]:
    """Our update: its time, its rate, what compiling took, the memory and the kernels of the program."""
    model, optimizer, mesh = model_of(configuration), make_optimizer(1e-3, 100.0), data_mesh(jax.devices()[:1])
    schedules = Schedules(*map(optax.constant_schedule, (1.0, AUX_WEIGHT, REVERSE_WEIGHT)))
    key, rng = jax.random.key(0), np.random.default_rng(0)
    # Any numbers will do, and they are there at once; zeros would not: products of zeros run faster.
    state = jax.eval_shape(lambda: init_state(model, optimizer, key))
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)._replace(
        params=jax.tree.map(lambda leaf: (0.03 * rng.normal(size=leaf.shape)).astype(leaf.dtype), state.params)
    )
    state, batch = jax.device_put((state, random_batch(configuration)), replicated(mesh))
    step: Any = make_train_step(model, optimizer, mesh, schedules)
    with jax.default_matmul_precision(PRECISIONS[item.precision]):
        begun = time.perf_counter()
        compiled = step.lower(state, batch, key).compile()
        compile_seconds = time.perf_counter() - begun
    held = [state]

    def run(times):
        for _ in range(times):
            held[0] = compiled(held[0], batch, key)[0]
        jax.block_until_ready(held[0])

    return {
        **times_of(run, operations(configuration)["update"]),
        "compile_seconds": compile_seconds,
        "temporary_bytes": temporary_bytes(compiled),
        "launches": launches(compiled),
        "skipped_updates": int(held[0].skipped_updates),
    }


def theirs(item: Item, configuration: Configuration, device: str) -> dict[str, Any]:
    """The peer's update: its time, its rate, and the memory it took at its highest."""
    import torch

    from benchmarks import peer

    torch.set_float32_matmul_precision("highest" if item.precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = item.precision != "float32"
    if item.who == "compiled":
        torch._dynamo.reset()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    params = jax.tree.map(np.asarray, jax.jit(model_of(configuration).init)(jax.random.key(0)))
    batch = peer.to_torch(random_batch(configuration), device)
    one = peer.Peer(configuration, params, compiled=item.who == "compiled", device=device)
    noise = configuration.T, configuration.B, configuration.Z

    def update():
        one.update(batch, torch.randn(noise, device=device), AUX_WEIGHT, REVERSE_WEIGHT)

    begun = time.perf_counter()
    replay = peer.captured(update) if item.who == "graph" else update

    def run(times):
        for _ in range(times):
            replay()
        if device == "cuda":
            torch.cuda.synchronize()

    run(1)
    figures = {"compile_seconds": time.perf_counter() - begun}
    figures |= times_of(run, operations(configuration)["update"])
    if device == "cuda":
        figures["peak_bytes"] = torch.cuda.max_memory_allocated()
    return figures


if __name__ == "__main__":
    child(json.loads(sys.argv[1]))
