"""What all tests share: a compiler that hurries, and remembers what it compiled."""

import os
from pathlib import Path

# Tests compile many small programs and run each a few times: compiling fast matters, running fast does not.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 " + os.environ.get("XLA_FLAGS", "")
# Several tests start the binaries in processes of their own, which compile the same programs.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
