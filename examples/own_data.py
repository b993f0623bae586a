"""Data of one's own, from arrays to a trained model and a bound on its test split.

python -m examples.own_data
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import zf_jax
from zf_jax.data import from_arrays, train_batches


def sequences(number: int = 400, seed: int = 0) -> list[np.ndarray]:
    """Noisy sine waves of two channels, each of its own length, frequency and phase: a list of ``[T_i, 2]``."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        steps, frequency, phase = rng.integers(12, 24), rng.uniform(0.3, 0.8), rng.uniform(0, 2 * np.pi)
        angle = frequency * np.arange(steps) + phase
        found.append(np.stack([np.sin(angle), np.cos(angle)], axis=1) + 0.05 * rng.normal(size=(steps, 2)))
    return found


def main(num_updates: int = 300) -> dict[str, Any]:
    """Train a small Z-Forcing model on the sequences, and return the summary of its test split."""
    data = from_arrays(sequences())  # checked, divided into train, valid and test, and normalised
    model = zf_jax.build_model("zforcing", data, rnn_dim=32, latent_dim=4, mlp_dim=32, embed_dim=16)
    optimizer = zf_jax.make_optimizer(3e-3, clip_norm=1.0)
    state = zf_jax.init_state(model, optimizer, jax.random.key(0))
    batches = train_batches(data.split("train"), batch_size=32, seed=0)
    for step in range(1, num_updates + 1):
        state, metrics = zf_jax.update(model, optimizer, state, next(batches), jax.random.key(1))
        if step % 100 == 0:
            print(f"step {step}: ELBO {float(metrics['elbo_nats_per_sequence']):.2f} nats per sequence")
    units = zf_jax.units_of(data)
    found = zf_jax.evaluate(model, state.params, data.split("test"), bound="iwae", num_samples=16, units=units)
    for name in ("nats_per_sequence", "nats_per_step", "kl_nats_per_step"):
        print(f"test, IWAE-16: {name} {found[name]:.3f} ± {found[name + '_stderr']:.3f}")
    return found


if __name__ == "__main__":
    main()
