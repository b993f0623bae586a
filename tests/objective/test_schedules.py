"""Schedules: the paper's KL annealing, cycles, learning rates."""

import numpy as np
import pytest

from zf_jax import schedules


def values(schedule, steps):
    return np.asarray([float(schedule(step)) for step in steps])


def test_kla_rises_by_5e_5_an_update_from_one_fifth_to_one():
    kla = schedules.linear_ramp(0.2, 1.0, 16_000)
    np.testing.assert_allclose(values(kla, [0, 1, 100, 16_000, 50_000]), [0.2, 0.20005, 0.205, 1.0, 1.0], rtol=1e-6)


def test_a_ramp_of_no_steps_is_constant():
    np.testing.assert_array_equal(values(schedules.linear_ramp(0.2, 1.0, 0), [0, 1, 9]), 1.0)


def test_cycles_start_over_and_end_at_the_end_value():
    cyclical = schedules.cyclical_ramp(0.0, 1.0, 40, 2)
    np.testing.assert_allclose(values(cyclical, [0, 5, 10, 19, 20, 25, 30, 40, 99]), [0, 0.5, 1, 1, 0, 0.5, 1, 1, 1])
    with pytest.raises(ValueError, match="cycles"):
        schedules.cyclical_ramp(0.0, 1.0, 3, 2)


def test_the_learning_rate_warms_up_and_decays_along_a_cosine():
    rate = schedules.learning_rate(2.0, warmup_steps=10, decay_steps=110)
    expected = [0.0, 1.0, 2.0, 1.0, 0.0, 0.0]
    np.testing.assert_allclose(values(rate, [0, 5, 10, 60, 110, 500]), expected, atol=1e-6)
    with pytest.raises(ValueError, match="decay_steps"):
        schedules.learning_rate(1.0, warmup_steps=10, decay_steps=5)
