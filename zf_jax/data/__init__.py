"""Data sets by name, ``load("mnist", data_dir=...)``, or from your own arrays, and what they are."""

from __future__ import annotations

from zf_jax.data.arrays import from_arrays
from zf_jax.data.dataset import DataError, DataSet
from zf_jax.data.pipeline import eval_batches, pad, train_batches
from zf_jax.data.registry import NAMES, load, prepare
from zf_jax.data.sources import subsample
from zf_jax.protocols import Example, Source

__all__ = [
    "NAMES",
    "DataError",
    "DataSet",
    "Example",
    "Source",
    "eval_batches",
    "from_arrays",
    "load",
    "pad",
    "prepare",
    "subsample",
    "train_batches",
]
