"""Densities and divergences against numpyro, scipy and Monte Carlo; the heads built on them are in test_emissions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as npd
import pytest
from scipy import stats

from zf_jax.distributions import (
    Gaussian,
    bound_log_std,
    check_bounds,
    gaussian_kl,
    gaussian_log_prob,
    gaussian_sample,
)

pytestmark = pytest.mark.x64


def gaussians(seed=0, size=6):
    rng = np.random.default_rng(seed)
    return tuple(Gaussian(*(jnp.asarray(rng.normal(size=size)) for _ in range(2))) for _ in range(2))


def theirs(gaussian):
    return npd.Normal(gaussian.mean, np.exp(gaussian.log_std))


def test_gaussian_log_prob():
    p, _ = gaussians()
    x = np.random.default_rng(1).normal(size=6)
    np.testing.assert_allclose(gaussian_log_prob(p, x), stats.norm(p.mean, np.exp(p.log_std)).logpdf(x), rtol=1e-10)
    np.testing.assert_allclose(gaussian_log_prob(p, x), theirs(p).log_prob(x), rtol=1e-10)


def test_kl_is_the_closed_form_and_the_average_of_its_definition():
    q, p = gaussians()
    kl = gaussian_kl(q, p)
    np.testing.assert_allclose(kl, npd.kl_divergence(theirs(q), theirs(p)), rtol=1e-10)
    noise = np.random.default_rng(2).normal(size=(200_000, 6))
    z = gaussian_sample(q, noise)
    ratio = np.asarray(gaussian_log_prob(q, z) - gaussian_log_prob(p, z))
    assert np.all(np.abs(ratio.mean(0) - kl) < 4 * ratio.std(0) / 200_000**0.5)
    # The mutation: the other way round is another number.
    assert np.mean(np.abs(ratio.mean(0) - gaussian_kl(p, q)) > 4 * ratio.std(0) / 200_000**0.5) > 0.5


def test_kl_is_zero_where_equal_and_keeps_its_digits_nearby():
    q, _ = gaussians()
    np.testing.assert_array_equal(gaussian_kl(q, q), 0.0)
    # In single precision, two Gaussians a hundredth apart; the truth from double precision.
    near = q._replace(log_std=q.log_std + 1e-2)
    single = gaussian_kl(*jax.tree.map(lambda x: x.astype(jnp.float32), (near, q)))
    np.testing.assert_allclose(single, gaussian_kl(near, q), rtol=1e-3)


def test_draws_have_the_mean_and_the_scale_of_the_density():
    p, _ = gaussians(3)
    z = np.asarray(gaussian_sample(p, np.random.default_rng(2).normal(size=(100_000, 6))))
    assert np.all(np.abs(z.mean(0) - p.mean) < 4 * z.std(0) / 100_000**0.5)
    np.testing.assert_allclose(np.log(z.std(0)), p.log_std, atol=0.02)


def test_bounds_of_scales():
    raw = jnp.linspace(-50.0, 50.0, 101)
    np.testing.assert_array_equal(bound_log_std(raw, (None, None)), raw)
    np.testing.assert_array_equal(bound_log_std(raw, None), raw)
    bounded = bound_log_std(raw, (-7.0, 5.0))
    assert np.all(bounded > -7.0 - 1e-4)  # the ceiling's bend reaches a little below the floor
    for lower, upper in ((-7.0, 5.0), (-1.0, 0.5)):  # by as much as the document says
        least = bound_log_std(jnp.array([-1e3]), (lower, upper))
        np.testing.assert_allclose(lower - least, np.log1p(np.exp(lower - upper)), rtol=1e-5, atol=1e-6)
    assert np.all(bounded <= 5.0)
    np.testing.assert_allclose(bound_log_std(jnp.array([-1.0]), (-20.0, 20.0)), -1.0, atol=1e-8)
    slope = jax.vmap(jax.grad(lambda r: bound_log_std(r, (-7.0, 5.0))))(raw)
    assert np.all(np.isfinite(slope))
    assert np.all(slope >= 0.0)


@pytest.mark.parametrize("bounds", [(5.0, -7.0), (1.0, 1.0)])
def test_bounds_that_leave_nothing_between_them_are_refused(bounds):
    for refuse in (check_bounds, lambda bounds: bound_log_std(jnp.zeros(1), bounds)):
        with pytest.raises(ValueError, match="must be below the upper one"):
            refuse(bounds)


@pytest.mark.parametrize("bounds", [(float("nan"), 1.0), (-float("inf"), 5.0), (None, float("inf"))])
def test_no_bound_is_none_and_not_infinity(bounds):
    with pytest.raises(ValueError, match=r"are finite, not .*; None means unbounded"):
        check_bounds(bounds)


@pytest.mark.parametrize("bounds", [5.0, 0.0, "ab", (1.0,), (-7.0, "5"), ()])
def test_what_is_no_pair_of_bounds_is_refused(bounds):
    with pytest.raises(ValueError, match=r"two numbers, \(lower, upper\), not"):
        check_bounds(bounds)


@pytest.mark.parametrize("bounds", [None, (None, None), (-7.0, None), (None, 5.0), (-7.0, 5.0)])
def test_bounds_that_can_be_kept_pass(bounds):
    check_bounds(bounds)
