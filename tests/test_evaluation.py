"""From per-sequence bounds to the figures people compare."""

import math

import numpy as np
import pytest

from zf_jax.evaluation import Totals, Units, summarise

TOTALS = Totals(np.asarray([-3.0, -9.0]), np.asarray([1.0, 2.0]), np.asarray([2, 4]))


def test_averages_are_over_sequences_and_over_steps():
    found = summarise(TOTALS, Units("word", perplexity=True))
    assert found["num_sequences"] == 2
    assert found["num_words"] == 6
    assert found["nats_per_sequence"] == -6.0
    assert found["nats_per_step"] == -2.0
    assert found["kl_nats_per_sequence"] == 1.5
    # The standard error of the mean of -3 and -9: sqrt(18) / sqrt(2).
    assert found["nats_per_sequence_stderr"] == pytest.approx(3.0)


def test_perplexity_is_over_the_corpus_not_a_mean_of_perplexities():
    assert summarise(TOTALS, Units("word", perplexity=True))["perplexity"] == pytest.approx(math.exp(12 / 6))
    assert "perplexity" not in summarise(TOTALS, Units("frame"))


def test_a_unit_gaussian_on_integers_has_the_bits_of_its_definition():
    # FIELD: bits per sample = log2(std) - LL / (N ln 2); an iid unit Gaussian has LL / N = -1.4189 nats.
    frame, frames, std = 200, 40, 548.136
    log_likelihood = -0.5 * (1 + math.log(2 * math.pi)) * frame * frames
    totals = Totals(np.asarray([log_likelihood]), np.zeros(1), np.asarray([frames]))
    found = summarise(totals, Units("frame", frame_size=frame, std=std, integers=True))
    assert found["nats_per_sample"] == pytest.approx(-1.4189385)
    assert found["bits_per_sample"] == pytest.approx(math.log2(std) + 1.4189385 / math.log(2))
    assert found["raw_nats_per_sequence"] == pytest.approx(log_likelihood - frame * frames * math.log(std))
