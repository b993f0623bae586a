"""What importing the library costs, and what it leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, time
import jax, flax, optax
start = time.process_time()
import zf_jax
print(time.process_time() - start)
print(sorted({"tensorflow", "orbax", "matplotlib", "torch", "grain"} & set(sys.modules)))
print(jax._src.xla_bridge.backends_are_initialized())
"""


def test_the_import_is_light_and_starts_nothing():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    seconds, modules, started = result.stdout.strip().splitlines()
    assert float(seconds) < 2.0
    assert modules == "[]"
    assert started == "False"
