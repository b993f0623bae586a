"""What all tests share: a compiler that hurries, and remembers what it compiled."""

import gc
import importlib.metadata
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

# Tests compile many small programs and run each a few times: compiling fast matters, running fast does not.
_FLAGS = ["--xla_backend_optimization_level=0"]
if importlib.metadata.version("jaxlib").startswith("0.10."):  # XLA ends the process at a flag that it does not know
    _FLAGS += [
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
        "--xla_llvm_disable_expensive_passes=true",
    ]
os.environ["XLA_FLAGS"] = " ".join([*_FLAGS, os.environ.get("XLA_FLAGS", "")])
# Workers, and the binaries that some tests start in processes of their own, compile the same programs.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # programs without a call stack beside every operation
# The cost of a small program is that of any: read from the cache, it is half of what compiling it takes.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

_MOST_MEMORY = 3 * 2**30
_LONGEST = ("test_devices.py", "test_experiments.py")


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest: workers take whole files, and none shall be alone at the end."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)


def pytest_collection_finish():
    """Look for garbage more rarely, and never in what was imported: tracing makes many objects, few of them cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session")
def audio(tmp_path_factory):
    """A folder of real files of 16 bits, some samples at either end of the scale, and a config that reads it."""
    from experiments import family  # JAX reads what stands above when it is imported
    from zf_jax import data

    folder, rng = tmp_path_factory.mktemp("audio"), np.random.default_rng(0)
    for i in range(24):
        samples = np.clip(rng.normal(5, 3000, 4000), -32768, 32767).astype(np.int16)
        samples[[0, 1]] = -32768, 32767
        soundfile.write(folder / f"{i}.wav", samples, 16000, subtype="PCM_16")
    config = family.get_config("audio_folder.py", "small")
    config.data.dir, config.data.cache_dir = str(folder), str(tmp_path_factory.mktemp("cache"))
    options = {k: v for k, v in config.data.items() if k not in ("name", "dir")}
    return config, data.load(config.data.name, data_dir=config.data.dir, **options)


@pytest.fixture(autouse=True)
def _double_precision(request):
    """Double precision in the tests that are marked ``x64``."""
    if request.node.get_closest_marker("x64"):
        from helpers.models_under_test import x64

        with x64():
            yield
    else:
        yield


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory():
    """Forget compiled programs after a module once they fill the memory: a worker would else hold 5 GiB at the end."""
    yield
    statm = Path("/proc/self/statm")
    if statm.exists() and int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > _MOST_MEMORY:
        import jax

        from zf_jax.compiled import forget

        forget()
        jax.clear_caches()
        gc.collect()
