"""A seed's keys: the same numbers whatever JAX's default generator, and none shared by two seeds or purposes."""

import jax
import numpy as np
import pytest

from zf_jax.bounds.noise import seed_key


@pytest.mark.parametrize("default", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_a_seeds_numbers_do_not_change_with_the_default_generator(default):
    expected = np.asarray(jax.random.normal(jax.random.key(3, impl="threefry2x32"), (4,)))
    with jax.default_prng_impl(default):
        np.testing.assert_array_equal(jax.random.normal(seed_key(3), (4,)), expected)


def test_no_two_seeds_or_purposes_share_a_key():
    keys = [seed_key(seed, purpose) for seed in range(50) for purpose in ("", "training noise", "evaluation")]
    assert len({tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}) == len(keys)
