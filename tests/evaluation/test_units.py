"""The unit of the data: frames s times as large are less dense by s in every dimension, whatever the model."""

import functools

import jax
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import NAMES, random_batch, random_noise, random_params, small, x64

from zf_jax import bounds
from zf_jax.bounds.particle import particle_bound
from zf_jax.typing import Observation

SCALE, LENGTHS, SIZE = 3.7, (6, 2, 5), 2


def rescaled(params):
    """Parameters that see frames s times as large as they saw the old ones, and predict them."""
    embedding, heads = params["embedding"], params["emission"]
    mean = {name: SCALE * leaf for name, leaf in heads["mean"].items()}
    log_std = heads["log_std"] | {"bias": heads["log_std"]["bias"] + np.log(SCALE)}
    return params | {
        "embedding": embedding | {"kernel": embedding["kernel"] / SCALE},
        "emission": heads | {"mean": mean, "log_std": log_std},
    }


CASES = [*((name, "gaussian") for name in NAMES), ("vrnn", "gmm")]


@pytest.mark.parametrize("name, emission", few(CASES, ("zforcing", "gaussian"), ("vrnn", "gmm")))
def test_a_change_of_units_costs_log_s_for_every_number_that_is_scored(name, emission):
    with x64():
        # Bounds so far off that they bend nothing.
        options = {"emission": emission, "emission_log_std_bounds": (-60.0, 60.0)}
        model = small(name, "frames", **options)
        params = random_params(model, spread=0.1)  # larger ones make log-probabilities that round by more than 1e-9
        batch = random_batch(Observation("frames", SIZE), LENGTHS)
        larger = batch._replace(inputs=SCALE * batch.inputs, targets=SCALE * batch.targets)
        noise = random_noise(model, batch, num_samples=4)
        iwae = jax.jit(functools.partial(bounds.iwae, model))
        bound = jax.jit(functools.partial(particle_bound, model, num_particles=4))
        moved, key = rescaled(params), jax.random.key(1)
        gap = iwae(moved, larger, noise=noise) - iwae(params, batch, noise=noise)
        np.testing.assert_allclose(gap, -np.log(SCALE) * SIZE * np.array(LENGTHS), rtol=1e-9)
        gap = bound(moved, larger, key).bound - bound(params, batch, key).bound
        np.testing.assert_allclose(gap, -np.log(SCALE) * SIZE * np.array(LENGTHS), rtol=1e-9)
