"""Data sets by name: ``load("mnist", data_dir=...)`` and what it returns."""

from __future__ import annotations

from zf_jax.data.dataset import DataError, DataSet, Example, Source
from zf_jax.data.pipeline import eval_batches, pad, train_batches
from zf_jax.data.registry import NAMES, load, prepare
from zf_jax.data.sources import some_of

__all__ = [
    "NAMES",
    "DataError",
    "DataSet",
    "Example",
    "Source",
    "eval_batches",
    "load",
    "pad",
    "prepare",
    "some_of",
    "train_batches",
]
