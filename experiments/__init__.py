"""The programs: ``zf_jax PROGRAM`` or ``python -m experiments.PROGRAM``."""

import sys
from importlib.util import find_spec
from pathlib import Path

# What the programs import at once; the library names the extra of what is imported when it is used.
_NEEDED = ("absl", "matplotlib", "ml_collections", "orbax", "soundfile", "tqdm", "yaml")
_missing = [name for name in _NEEDED if find_spec(name) is None]
if _missing:
    _sentence = f"{', '.join(_missing)}: not installed, and the programs need it: pip install 'zf_jax[experiments]'"
    if sys.argv[0] == "-m" or Path(sys.argv[0]).stem == "zf_jax":
        sys.exit(f"error: {_sentence}")
    raise ImportError(_sentence)
