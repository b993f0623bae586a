"""Tiny models that read a context, and batches that have one."""

from __future__ import annotations

import functools

import numpy as np

import zf_jax
from zf_jax import Observation

FRAMES = Observation("frames", 2, context=2, labels=3)
PLAIN = Observation("frames", 2)
BITS = Observation("tokens", 2, context=1, labels=2)
SIZES = {"rnn_dim": 4, "latent_dim": 2, "mlp_dim": 3, "embed_dim": 3}
ROWS, T, C = 3, 4, FRAMES.context_size


@functools.cache
def model_of(name, observation=FRAMES, emission="gaussian", **options):
    sizes = SIZES if name != "rnn" else {"rnn_dim": 4, "embed_dim": 3}
    return zf_jax.build_model(name, observation, emission=emission, **sizes, **options)


def some_batch(observation=FRAMES, lengths=(T, 2, 3), seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(ROWS, T, 2)) if observation.kind == "frames" else rng.integers(0, 2, (ROWS, T))
    context, labels = rng.normal(size=(ROWS, T, observation.context)), rng.integers(0, observation.labels, ROWS)
    return zf_jax.batch_of(targets, lengths, observation=observation, context=context, labels=labels)
