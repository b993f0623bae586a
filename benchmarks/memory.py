"""Memory of the bounds of many samples, by how many are held at once:  python -m benchmarks.memory [--json=FILE]

XLA's own figure of what the compiled bound needs beside its arguments and results, at sizes where many samples at once
would be felt: Z-Forcing of 256 units on frames of 200 samples, 32 sequences of 100 steps.  Of 64 particles the features
of all sequences, which no chunk divides, need most of it; of 1,024 the particles themselves.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import jax

from benchmarks.ceilings import temporary_bytes
from benchmarks.configurations import Configuration, model_of, random_batch
from zf_jax import bounds
from zf_jax.bounds.particle import particle_bound
from zf_jax.typing import Observation

SIZES = Configuration(Observation("frames", 200), "gaussian", H=256, Z=64, M=256, E=256, T=100, B=32)
TINY = Configuration(Observation("frames", 4), "gaussian", H=8, Z=3, M=8, E=8, T=5, B=4)
SAMPLES, PARTICLES = 25, (64, 1024)


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


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a rehearsal")
    options = parser.parse_args(arguments)
    rows = measure(TINY if options.quick else SIZES)
    print("| bound | held at once | memory, MiB |\n|---|---|---|")
    for row in rows:
        print(f"| {row['bound']} | {row['at_once']} | {row['temporary_bytes'] / 2**20:.1f} |")
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    return rows


if __name__ == "__main__":
    main()
