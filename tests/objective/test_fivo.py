"""The particle bound as an objective: what is trained is what is reported, and its gradient is that of its value."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import random_batch, random_noise, random_params, small

from zf_jax.bounds.particle import particle_bound
from zf_jax.objective import Objective, Weights, loss_and_metrics, sequence_mean
from zf_jax.objective.loss import RESAMPLING

pytestmark = pytest.mark.x64

KEY = jax.random.key(5)


def setting(name, num_samples, num_steps=5):
    model = small(name)
    batch = random_batch(model.observation, [num_steps, num_steps - 1 or 1])
    return model, random_params(model), batch, random_noise(model, batch, num_samples=num_samples)


def loss_of(model, batch, noise, settings, weights):
    """The loss as a compiled function of the parameters, with its gradient."""
    return jax.jit(
        jax.value_and_grad(lambda p: loss_and_metrics(model, p, batch, KEY, weights, settings, noise=noise)[0])
    )


CASES = [("zforcing", 1, 5), ("vrnn", 3, 1), ("storn", 3, 1)]


@pytest.mark.parametrize("name, num_samples, num_steps", few(CASES, CASES[0], CASES[2]))
def test_it_is_iwaes_where_nothing_is_resampled(name, num_samples, num_steps):
    """One particle has nobody to give way to, and after the last step nothing is chosen."""
    model, params, batch, noise = setting(name, num_samples, num_steps)
    fivo, iwae = (
        loss_of(model, batch, noise, Objective(bound=bound, num_samples=num_samples), Weights(0.6, 0.7, 0.3))(params)
        for bound in ("fivo", "iwae")
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), fivo, iwae)


def test_it_is_the_particle_bound_and_its_gradient_where_particles_are_resampled():
    model, params, batch, noise = setting("storn", 4)
    normal = jax.random.normal(jax.random.fold_in(KEY, RESAMPLING), batch.mask.shape, jnp.result_type(float))
    given = (noise, jax.scipy.stats.norm.cdf(normal))

    @jax.jit
    def filtered(params):
        return particle_bound(model, params, batch, noise=given)

    assert filtered(params).num_resampled.min() >= 1
    loss, gradient = loss_of(model, batch, noise, Objective(bound="fivo", num_samples=4), Weights())(params)
    assert loss == pytest.approx(-float(sequence_mean(filtered(params).bound, batch)), rel=1e-12)
    # The choice of ancestors does not change with a small step, so that the rest has an ordinary derivative.
    rng, size = np.random.default_rng(0), 1e-5
    params, gradient = jax.device_get((params, gradient))  # moved by numpy, which compiles nothing
    direction = jax.tree.map(lambda x: rng.normal(size=x.shape), params)
    ends = [
        sequence_mean(filtered(jax.tree.map(lambda p, d, by=by: p + by * d, params, direction)).bound, batch)
        for by in (size, -size)
    ]
    along = sum(jax.tree.leaves(jax.tree.map(lambda g, d: np.sum(g * d), gradient, direction)))
    assert float(along) == pytest.approx(float(ends[1] - ends[0]) / (2 * size), rel=1e-5)


def test_resampling_needs_a_key():
    model, params, batch, noise = setting("vrnn", 2)
    with pytest.raises(ValueError, match="resampling"):
        loss_and_metrics(model, params, batch, settings=Objective(bound="fivo", num_samples=2), noise=noise)
