"""Memory of bounds and gradients, by how much is held at once:  python -m benchmarks.memory [--json=FILE]

XLA's own figure of what the compiled bound needs beside its arguments and results, at sizes where many samples at once
would be felt: Z-Forcing of 256 units on frames of 200 samples, 32 sequences of 100 steps.  Of 64 particles the features
of all sequences, which no chunk divides, need most of it; of 1,024 the particles themselves.

Then the gradient of the training objective on 8 sequences as they grow longer, whole and rematerialised in blocks; and
the evaluation of one sequence, up to an hour of audio at 16 kHz, beside the bytes of the sequence itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.ceilings import temporary_bytes
from benchmarks.configurations import Configuration, model_of, random_batch
from zf_jax import bounds
from zf_jax.bounds.particle import particle_bound
from zf_jax.evaluation.scoring import make_eval_step
from zf_jax.models.pieces import LONGEST
from zf_jax.objective import Objective, Weights
from zf_jax.objective.gradient import Gradient
from zf_jax.sharding import data_mesh
from zf_jax.typing import Observation

SIZES = Configuration(Observation("frames", 200), "gaussian", H=256, Z=64, M=256, E=256, T=100, B=32)
TINY = Configuration(Observation("frames", 4), "gaussian", H=8, Z=3, M=8, E=8, T=5, B=4)
SAMPLES, PARTICLES = 25, (64, 1024)
LENGTHS, BLOCKS = (100, 400), (0, 20)
LONG = (LONGEST, 6400, 16000 * 3600 // 200)  # steps; the longest that stays whole; an hour
AT_ONCE = 8  # samples, as ``evaluate`` has it where no flag says otherwise


def measure(sizes: Configuration) -> list[dict]:
    """One row a bound and a chunk size."""
    model, batch, key = model_of(sizes), random_batch(sizes), jax.random.key(0)
    shapes = jax.eval_shape(model.init, key)

    def memory(bound):
        return temporary_bytes(jax.jit(bound).lower(shapes).compile())

    rows = []
    for chunk in (1, 5, SAMPLES):
        found = memory(lambda p, chunk=chunk: bounds.iwae(model, p, batch, key, num_samples=SAMPLES, chunk_size=chunk))
        rows.append({"bound": f"IWAE-{SAMPLES}", "at_once": f"{chunk} samples", "temporary_bytes": found})
    for num, chunk in itertools.product(PARTICLES, (1, 4, sizes.B)):
        found = memory(
            lambda p, num=num, chunk=chunk: (
                particle_bound(model, p, batch, key, num_particles=num, chunk_size=chunk).bound
            )
        )
        rows.append({"bound": f"{num:,} particles", "at_once": f"{chunk} sequences", "temporary_bytes": found})
    return rows


def measure_gradient(sizes: Configuration, lengths: Sequence[int], blocks: Sequence[int]) -> list[dict]:
    """One row a number of steps and a block, 0 being no block."""
    rows = []
    for length, block in itertools.product(lengths, blocks):
        grown = dataclasses.replace(sizes, T=length)
        model, batch, key = model_of(grown), random_batch(grown), jax.random.key(0)

        def gradient(params, model=model, batch=batch, key=key, block=block):
            weights = Weights(aux_weight=0.1, reverse_weight=0.1)
            return Gradient(model, batch, key, weights, Objective(), remat=block).value_and_gradient(params)

        compiled = jax.jit(gradient).lower(jax.eval_shape(model.init, key)).compile()
        rows.append({"num_steps": length, "block": block, "temporary_bytes": temporary_bytes(compiled)})
    return rows


def measure_evaluation(sizes: Configuration, lengths: Sequence[int]) -> list[dict]:
    """One row a bound and a number of steps of one sequence: of the compiled program that scores a batch."""
    model, mesh = model_of(sizes), data_mesh(jax.devices()[:1])
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, index = jax.eval_shape(model.init, key), jax.ShapeDtypeStruct((1,), jnp.uint32)
    rows = []
    for bound, length in itertools.product(("elbo", "iwae"), lengths):
        step: Any = make_eval_step(model, mesh, bound, 1 if bound == "elbo" else SAMPLES, AT_ONCE)
        short = jax.eval_shape(lambda: random_batch(dataclasses.replace(sizes, B=1)))

        def longer(leaf, length=length):
            return jax.ShapeDtypeStruct((1, length, *leaf.shape[2:]) if leaf.ndim > 1 else leaf.shape, leaf.dtype)

        batch = jax.tree.map(longer, short)
        compiled = step.lower(params, batch, key, index).compile()
        rows.append(
            {
                "bound": "ELBO" if bound == "elbo" else f"IWAE-{SAMPLES}",
                "num_steps": length,
                "temporary_bytes": temporary_bytes(compiled),
                "batch_bytes": sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(batch)),
            }
        )
    return rows


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a rehearsal")
    options = parser.parse_args(arguments)
    rows = measure(TINY if options.quick else SIZES)
    print("| bound | held at once | memory, MiB |\n|---|---|---|")
    for row in rows:
        print(f"| {row['bound']} | {row['at_once']} | {row['temporary_bytes'] / 2**20:.1f} |")
    sizes = TINY if options.quick else dataclasses.replace(SIZES, B=8)
    lengths, blocks = ((6, 12), (0, 3)) if options.quick else (LENGTHS, BLOCKS)
    gradients = measure_gradient(sizes, lengths, blocks)
    print("\n| steps | steps of a block | memory of the gradient, MiB |\n|---|---|---|")
    for row in gradients:
        print(f"| {row['num_steps']} | {row['block'] or 'whole'} | {row['temporary_bytes'] / 2**20:.1f} |")
    evaluations = measure_evaluation(sizes, (6, 2 * LONGEST) if options.quick else LONG)
    print("\n| bound of one sequence | steps | memory, MiB | the sequence, MiB |\n|---|---|---|---|")
    for row in evaluations:
        needed, given = (row[name] / 2**20 for name in ("temporary_bytes", "batch_bytes"))
        print(f"| {row['bound']} | {row['num_steps']:,} | {needed:,.1f} | {given:,.1f} |")
    if options.json:
        found = {"bounds": rows, "gradients": gradients, "evaluations": evaluations}
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    return rows + gradients + evaluations


if __name__ == "__main__":
    main()
