"""The examples run, and do what they say."""

from __future__ import annotations

import jax
import numpy as np
from scipy import stats

import zf_jax
from examples import new_emission, own_data


def test_heavy_tails_are_better_scored_by_a_head_that_has_them(capsys):
    found = new_emission.main(num_updates=25)
    assert found["student_t"] > found["gaussian"] + 5.0
    assert "student_t" in capsys.readouterr().out


def test_the_head_is_student_s_t():
    head = new_emission.StudentT(zf_jax.Observation("frames", 1), degrees_of_freedom=4.0)
    values = {"location": np.full((3000, 1), 0.5, np.float32), "log_scale": np.full((3000, 1), -0.3, np.float32)}
    scale = float(np.exp(head._log_scale(values))[0, 0])
    law = stats.t(4.0, 0.5, scale)
    x = np.linspace(-4, 4, 3000, dtype=np.float32)[:, None]
    np.testing.assert_allclose(head.log_prob(values, x), law.logpdf(x[:, 0]), rtol=1e-4, atol=1e-5)
    drawn = np.asarray(head.sample(values, head.noise(jax.random.key(0), (3000,))))[:, 0]
    assert stats.kstest(drawn, law.cdf).pvalue > 1e-3


def test_arrays_lead_to_a_trained_model_and_a_bound(capsys):
    found = own_data.main(num_updates=40)
    assert found["num_sequences"] == 40
    # N(0, I) on two normalised numbers a step has -log(2 pi e) nats.
    assert found["nats_per_step"] > -np.log(2 * np.pi * np.e) + 0.3
    assert "test, IWAE-16: nats_per_step" in capsys.readouterr().out
