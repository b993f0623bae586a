"""What bounds an update on a device: the rate of products, the bandwidth, the time of a kernel, each measured."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# As JAX calls them.  "bfloat16" would mean the default, which on a GPU is TF32.
PRECISIONS = {"float32": "float32", "tf32": "tensorfloat32", "bf16": "BF16_BF16_F32"}
GOES = 5  # over which a time is the median


def times_of(run: Callable[[int], None], flop: float) -> dict[str, Any]:
    """Return the median milliseconds of one run, over repeats of at least 0.2 s each, and the rate."""
    run(3)  # a command buffer is recorded on the second run, and may be again on the third
    begun = time.perf_counter()
    run(1)
    times = max(1, int(0.2 / (time.perf_counter() - begun)))
    goes = []
    for _ in range(GOES):
        begun = time.perf_counter()
        run(times)
        goes.append((time.perf_counter() - begun) / times)
    seconds = statistics.median(goes)
    range_ms = [1e3 * min(goes), 1e3 * max(goes)]
    return {"ms": 1e3 * seconds, "ms_range": range_ms, "gflop": flop / 1e9, "tflop_per_second": flop / seconds / 1e12}


def ceilings(precision: str, quick: bool) -> dict[str, Any]:
    """Rates of a large product and of a large copy, and the seconds that one more tiny kernel in a chain takes."""
    n, numbers, length = (256, 2**18, 50) if quick else (8192, 2**29, 2000)
    rng = np.random.default_rng(0)
    square = jnp.asarray(rng.normal(size=(n, n)), jnp.float32)
    long = jax.block_until_ready(jnp.arange(numbers, dtype=jnp.float32))
    with jax.default_matmul_precision(PRECISIONS[precision]):
        multiply = jax.jit(jnp.matmul).lower(square, square).compile()
    copy = jax.jit(lambda x: x + 1.0).lower(long).compile()

    def chain(kernels):
        def body(x, _):
            for _ in range(kernels):
                x = jax.lax.optimization_barrier(0.5 * x + 1.0)
            return x, None

        return jax.jit(lambda x: jax.lax.scan(body, x, None, length=length)[0]).lower(tiny).compile()

    tiny = jnp.ones((32, 32))
    short, longer = chain(10), chain(30)  # both long enough for a command buffer of their own
    seconds = [seconds_of(short, tiny), seconds_of(longer, tiny)]
    counts = [launches(short), launches(longer)]
    return {
        "flop_per_second": 2.0 * n**3 / seconds_of(multiply, square, square),
        "bytes_per_second": 8.0 * numbers / seconds_of(copy, long),
        # Where the compiler has drawn the chain together, all that is left to say is what a kernel of it takes.
        "launch_seconds": max(seconds[1] - seconds[0], 0.0) / (counts[1] - counts[0])
        if counts[1] > counts[0]
        else seconds[1] / max(counts[1], 1),
    }


def temporary_bytes(compiled: Any) -> int:
    """What a compiled program needs beside its arguments and results."""
    return compiled.memory_analysis().temp_size_in_bytes


def seconds_of(function: Callable, *arguments: Any) -> float:
    """Seconds of one call, in a row of calls."""

    def run(times):
        result = None
        for _ in range(times):
            result = function(*arguments)
        jax.block_until_ready(result)

    return times_of(run, 0.0)["ms"] / 1e3


_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id"}


def launches(compiled: Any) -> int:
    """How many kernels a compiled program starts; a loop whose length XLA does not know counts once."""
    bodies: dict[str, list[str]] = {}
    body: list[str] = []
    for line in compiled.as_text().splitlines():
        if header := re.match(r"(?:(ENTRY) )?%?([\w.\-]+) .*->.*\{$", line):
            body = bodies.setdefault(header[1] or header[2], [])
        else:
            body.append(line)

    def count(line: str) -> int:
        operation = re.search(r" = .*? ([a-z][a-z\-]*)\(", line)
        inside = re.search(r"(?:body|to_apply)=%?([\w.\-]+)", line)
        if operation is None or operation[1] in _FREE or operation[1].endswith("-done"):
            return 0
        if inside is None or operation[1] not in ("while", "call"):
            return 1
        length = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
        return (int(length[1]) if length else 1) * sum(map(count, bodies.get(inside[1], [])))

    return sum(map(count, bodies.get("ENTRY", [])))
