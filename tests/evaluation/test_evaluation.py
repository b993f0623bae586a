"""From per-sequence bounds to the figures people compare."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.models_under_test import KINDS, random_batch, random_params, small

from zf_jax.bounds.particle import particle_bound
from zf_jax.emissions import emission_values
from zf_jax.evaluation.scoring import evaluate_split, make_eval_step
from zf_jax.evaluation.statistics import Totals
from zf_jax.evaluation.units import Units, summarise
from zf_jax.models.base import unroll
from zf_jax.sharding import data_mesh

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


UNITS = {
    "words": Units("word", perplexity=True),
    "samples": Units("frame", frame_size=3, std=0.7, integers=True),
}


def many_sequences(count):
    """Totals of sequences whose figures rise with their lengths, as real ones' do."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 30, count)
    rate = rng.normal(-1.5, 0.3, count)
    return Totals(
        bound=lengths * rate,
        kl=lengths * rng.gamma(2.0, 0.2, count),
        lengths=lengths,
        small_scale_share=rng.uniform(0, 1, count) * lengths / 30,
        num_resampled=rng.binomial(lengths, 0.4),
    )


@pytest.mark.parametrize("kind", UNITS)
def test_every_figure_has_the_standard_error_that_a_bootstrap_over_sequences_finds(kind):
    totals, rng = many_sequences(400), np.random.default_rng(1)
    found = summarise(totals, UNITS[kind])
    names = [name for name, value in found.items() if isinstance(value, float) and not name.endswith("_stderr")]
    assert {f"{name}_stderr" for name in names} == {name for name in found if name.endswith("_stderr")}
    assert len(names) == {"words": 6, "samples": 9}[kind]
    redrawn = []
    for _ in range(2000):
        rows = rng.integers(0, 400, 400)
        again = summarise(jax.tree.map(lambda values, rows=rows: values[rows], totals), UNITS[kind])
        redrawn.append([again[name] for name in names])
    # Of 2000 draws the deviation is known to 1.6 percent; the delta method leaves out what is small as 1 / 400.
    np.testing.assert_allclose([found[f"{name}_stderr"] for name in names], np.std(redrawn, axis=0), rtol=0.07)


def test_the_error_of_a_figure_per_step_leaves_out_what_the_lengths_explain():
    """Every step gives -2 nats: the sequences' totals differ, and the figure per step is known exactly."""
    lengths = np.asarray([2, 4, 9])
    found = summarise(Totals(-2.0 * lengths, np.zeros(3), lengths), UNITS["words"])
    assert found["nats_per_sequence_stderr"] == pytest.approx(np.std([4, 8, 18], ddof=1) / math.sqrt(3))
    assert found["nats_per_step_stderr"] == pytest.approx(0.0, abs=1e-12)
    assert found["perplexity_stderr"] == pytest.approx(0.0, abs=1e-12)


def test_standard_errors_of_two_sequences_by_hand():
    found = summarise(TOTALS, Units("word", perplexity=True))
    # -3 over 2 steps and -9 over 4: the ratio is -2, the residuals are 1 and -1, and 3 the mean length.
    error = math.sqrt(2) / math.sqrt(2) / 3
    assert found["nats_per_step_stderr"] == pytest.approx(error)
    assert found["perplexity_stderr"] == pytest.approx(math.exp(2) * error)
    assert found["kl_nats_per_sequence_stderr"] == pytest.approx(0.5)
    assert found["kl_nats_per_step_stderr"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("kind", UNITS)
def test_one_sequence_has_figures_and_no_errors(kind):
    found = summarise(jax.tree.map(lambda values: values[:1], many_sequences(2)), UNITS[kind])
    errors = {name: value for name, value in found.items() if name.endswith("_stderr")}
    assert len(errors) == {"words": 6, "samples": 9}[kind]
    assert set(errors.values()) == {None}


def test_figures_per_sample_are_over_the_samples_of_all_sequences():
    found = summarise(TOTALS, Units("frame", frame_size=5, std=2.0, integers=True))
    assert found["nats_per_sample"] == pytest.approx(-12 / 30)
    assert found["bits_per_sample"] == pytest.approx((12 / 30 + math.log(2)) / math.log(2))
    # The shift by log std is every sample's own, so that the error is that of the nats per sample, in bits.
    assert found["nats_per_sample_stderr"] == pytest.approx(1 / 3 / 5)
    assert found["bits_per_sample_stderr"] == pytest.approx(1 / 3 / 5 / math.log(2))
    raw = [-3 - 10 * math.log(2), -9 - 20 * math.log(2)]
    assert found["raw_nats_per_sequence"] == pytest.approx(np.mean(raw))
    assert found["raw_nats_per_sequence_stderr"] == pytest.approx((raw[0] - raw[1]) / 2)


def test_the_share_of_small_scales_is_over_steps_not_a_mean_of_shares():
    totals = TOTALS._replace(small_scale_share=np.asarray([0.5, 0.125]))
    found = summarise(totals, Units("frame", frame_size=1))
    assert found["share_of_scales_below_one_step"] == pytest.approx((0.5 * 2 + 0.125 * 4) / 6)


def test_small_scales_of_ragged_sequences_against_every_real_step():
    model, lengths = small("rnn", "frames", emission_log_std_bounds=(None, None)), (6, 2, 0, 3)
    params = random_params(model, spread=1.0)
    batch, mesh = random_batch(KINDS["frames"][0], lengths, 6), data_mesh(jax.devices()[:1])
    features = model.encode(params, batch)
    sites = unroll(model, params, features, jnp.zeros((4, 6, 0)))[1]
    values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
    scales = np.exp(np.asarray(values["log_std"]))  # [B, T, D]
    scales = np.concatenate([scales[row, :length].ravel() for row, length in enumerate(lengths)])
    step = float(np.sort(scales)[[8, 9]].mean())
    bound = make_eval_step(model, mesh, quantisation_step=step)
    rows = (np.asarray([1, 0, -1, 2]), batch)
    totals = evaluate_split(bound, params, [rows], jax.random.key(0), mesh)
    found = summarise(totals, Units("frame", frame_size=2))["share_of_scales_below_one_step"]
    assert found == pytest.approx(9 / len(scales), rel=1e-6)


@pytest.fixture(scope="module")
def scored():
    """What each bound's evaluation step says of ragged sequences and a filler, and what it was given."""
    model, mesh = small("vrnn", "frames"), data_mesh(jax.devices()[:1])
    params = random_params(model, spread=1.0)
    batch, indices = random_batch(KINDS["frames"][0], (6, 4, 0, 5), 6), np.asarray([2, 0, -1, 1])
    totals = {}
    for bound in ("elbo", "iwae", "particle"):
        step = make_eval_step(model, mesh, bound, num_samples=8)
        totals[bound] = evaluate_split(step, params, [(indices, batch)], jax.random.key(5), mesh)
    return model, params, batch, indices, totals


@pytest.mark.slow
def test_the_particle_bound_says_how_often_it_resampled(scored):
    model, params, batch, indices, totals = scored
    keys = jax.vmap(lambda index: jax.random.fold_in(jax.random.key(5), index))(np.maximum(indices, 0))
    direct = np.asarray(particle_bound(model, params, batch, keys, num_particles=8).num_resampled)[[1, 3, 0]]
    assert direct.sum() > 0 and len(set(direct)) > 1
    np.testing.assert_array_equal(totals["particle"].num_resampled, direct)
    found = summarise(totals["particle"])
    assert found["resampled_steps_per_sequence"] == pytest.approx(direct.mean())
    assert found["resampled_steps_per_sequence_stderr"] == pytest.approx(direct.std(ddof=1) / math.sqrt(3))
    assert "resampled_steps_per_sequence" not in summarise(totals["elbo"]) | summarise(totals["iwae"])


def test_the_kl_beside_any_bound_is_that_of_the_one_sample_elbo(scored):
    totals = scored[-1]
    for bound in ("iwae", "particle"):
        np.testing.assert_allclose(totals[bound].kl, totals["elbo"].kl, rtol=1e-5)
        assert np.abs(totals[bound].bound - totals["elbo"].bound).min() > 1e-3
