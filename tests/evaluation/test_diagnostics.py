"""The diagnostics against direct computation, and on models whose latents are known to be used or not."""

from __future__ import annotations

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import linear_gaussian_models as linear
from helpers.few import few
from helpers.models_under_test import KINDS, NAMES, random_batch, random_params, small, take

from zf_jax import bounds
from zf_jax.emissions import build_emission, emission_values
from zf_jax.evaluation.latents import inspect, summarise_latents
from zf_jax.evaluation.mutual_information import mutual_information
from zf_jax.models.base import replay, unroll
from zf_jax.typing import Batch, Observation

pytestmark = pytest.mark.x64

LENGTHS = (6, 3, 0, 5, 6)
FRAMES = KINDS["frames"][0]


@functools.cache
def case(name):
    model = small(name, "frames")
    keys = jax.random.split(jax.random.key(1), len(LENGTHS))
    look = jax.jit(functools.partial(inspect, model), static_argnames="quantisation_step")
    return model, random_params(model, spread=0.1), random_batch(FRAMES, LENGTHS, 6), keys, look


@pytest.mark.parametrize("name", few(NAMES, "zforcing", "vrnn", "rnn"))
def test_figures_against_direct_computation(name):
    model, params, batch, keys, look = case(name)
    result = summarise_latents([look(params, batch, keys)])
    assert result["num_sequences"] == 4
    assert result["num_steps"] == sum(LENGTHS)
    if name == "rnn":
        assert set(result) == {"num_sequences", "num_steps"}
        return

    @jax.jit
    def direct(params):
        noise = bounds.draw_noise(keys, batch, model.latent_dim)
        features = model.encode(params, batch)
        sites = unroll(model, params, features, noise)[1]
        zero = model.score(params, features, replay(model, params, features, jnp.zeros_like(sites.latent)))
        gaussians = sites.proposal, model.prior(params, features, sites)
        return model.score(params, features, sites), sites.proposal.mean, zero.emission_log_prob, gaussians

    terms, means, zero, (proposal, prior) = direct(params)
    real = np.array(LENGTHS) > 0
    kl = np.asarray(terms.kl)[real]
    per_step = [kl[np.array(LENGTHS)[real] > t, t].mean() for t in range(6)]
    np.testing.assert_allclose(result["kl_nats_per_sequence"], kl.sum(1).mean())
    np.testing.assert_allclose(result["kl_nats_per_step"], per_step)
    np.testing.assert_allclose(np.sum(result["kl_nats_per_step_and_dimension"], axis=1), per_step)
    np.testing.assert_allclose(np.sum(result["kl_nats_per_dimension"]), kl.sum() / sum(LENGTHS))
    check_kl_errors(result, proposal, prior)
    emission = np.asarray(terms.emission_log_prob).sum(1)[real]
    np.testing.assert_allclose(result["emission_nats_per_sequence"]["posterior"]["mean"], emission.mean())
    lost = emission - np.asarray(zero).sum(1)[real]
    found = result["emission_loss_nats_per_sequence"]["zero"]
    np.testing.assert_allclose([found["mean"], found["stderr"]], [lost.mean(), lost.std(ddof=1) / 2.0])
    variances, weights = [], []
    for t in range(6):
        rows = np.asarray(means)[np.array(LENGTHS) > t, t]
        variances.append(rows.var(axis=0, ddof=1))
        weights.append(len(rows))
    expected = np.average(variances, axis=0, weights=weights)
    np.testing.assert_allclose(result["posterior_mean_variance"], expected)
    assert result["active_units"] == np.sum(expected > 0.01)


def check_kl_errors(result, proposal, prior):
    """The KL's standard errors from its definition, over the four real sequences of ``LENGTHS``."""
    (m, s), (m0, s0) = ((np.asarray(x.mean), np.exp(np.asarray(x.log_std))) for x in (proposal, prior))
    kl = np.log(s0 / s) + (s**2 + (m - m0) ** 2) / (2 * s0**2) - 0.5  # [B, T, Z]
    rows = [kl[row, :length] for row, length in enumerate(LENGTHS) if length]

    def error(values):
        return np.std(values, axis=0, ddof=1) / len(values) ** 0.5

    totals = np.array([row.sum(axis=0) for row in rows])  # [N, Z]
    np.testing.assert_allclose(result["kl_nats_per_sequence_stderr"], error(totals.sum(axis=1)))
    lengths = np.array([len(row) for row in rows])[:, None]
    residuals = totals - totals.sum(axis=0) / lengths.sum() * lengths
    np.testing.assert_allclose(result["kl_nats_per_dimension_stderr"], error(residuals) / lengths.mean())
    for t in range(6):
        reach = np.array([row[t] for row in rows if len(row) > t])
        np.testing.assert_allclose(result["kl_nats_per_step_and_dimension_stderr"][t], error(reach), rtol=1e-5)
        np.testing.assert_allclose(result["kl_nats_per_step_stderr"][t], error(reach.sum(axis=1)), rtol=1e-5)


def test_batches_and_buckets_change_nothing():
    _, params, batch, keys, look = case("zforcing")
    whole = summarise_latents([look(params, batch, keys)])
    short = Batch(*(x[1:2, :3] for x in batch[:4]), batch.lengths[1:2])
    rest = np.array([0, 2, 3, 4, 2])  # an empty row more: the shape, and so the program, of the whole
    parts = [look(params, take(batch, rest), keys[rest]), look(params, short, keys[1:2])]
    cut = summarise_latents(parts)
    unaffected = [name for name in whole if name.split("_")[0] in ("kl", "posterior", "sequences", "active")]
    assert len(unaffected) == 11
    for name in unaffected:
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-9)
    for source in ("posterior", "prior", "zero"):  # with whom a sequence is shuffled does depend on its company
        expected = whole["emission_nats_per_sequence"][source]
        np.testing.assert_allclose(cut["emission_nats_per_sequence"][source]["mean"], expected["mean"], rtol=1e-9)


def test_shuffling_swaps_two_sequences():
    model, params, batch, keys, look = case("vrnn")
    rows = np.array([0, 2, 4])  # the middle one is empty
    pair, pair_keys = take(batch, rows), keys[rows]
    found = look(params, pair, pair_keys).ablations

    @jax.jit
    def swapped(params):
        features = model.encode(params, pair)
        latents = unroll(model, params, features, bounds.draw_noise(pair_keys, pair, model.latent_dim))[1].latent
        sites = replay(model, params, features, latents[::-1])
        return model.score(params, features, sites).emission_log_prob.sum(axis=1)

    np.testing.assert_allclose(found.shuffled, swapped(params), rtol=1e-9)
    assert np.abs(found.shuffled - found.posterior)[[0, 2]].min() > 1e-3


def test_a_sequence_alone_in_its_batch_is_not_its_own_donor():
    _, params, batch, keys, look = case("vrnn")
    pair, alone = ([look(params, take(batch, rows), keys[rows])] for rows in np.array([[0, 2, 4], [1, 2, 2]]))
    both, one = summarise_latents(pair + alone), summarise_latents(alone)
    assert (both["num_sequences"], both["num_sequences_shuffled"]) == (3, 2)
    for name in ("emission_nats_per_sequence", "emission_loss_nats_per_sequence"):
        assert both[name]["shuffled"] == summarise_latents(pair)[name]["shuffled"]
        assert one[name]["shuffled"]["mean"] is one[name]["shuffled"]["stderr"] is None
        assert "alone" in one[name]["shuffled"]["why"]
        assert abs(one[name]["zero"]["mean"]) > 1e-3
    assert one["num_sequences_shuffled"] == 0
    assert both["emission_nats_per_sequence"]["zero"] != summarise_latents(pair)["emission_nats_per_sequence"]["zero"]


def test_one_sequence_has_figures_without_errors_and_is_valid_json():
    _, params, batch, keys, look = case("vrnn")
    one = summarise_latents([look(params, take(batch, slice(1)), keys[:1])])
    assert json.loads(json.dumps(one, allow_nan=False)) == one
    assert one["kl_nats_per_sequence"] > 0 and one["kl_nats_per_sequence_stderr"] is None
    assert one["kl_nats_per_step_stderr"] == [None] * 6
    assert one["active_units"] is None
    assert one["kl_nats_per_step_and_dimension_stderr"] == [[None] * 3] * 6


def test_latents_that_nothing_reads_and_latents_that_know_nothing():
    model, params, batch, keys, look = case("storn")
    deaf = params | {"latent_embedding": jax.tree.map(jnp.zeros_like, params["latent_embedding"])}
    for loss in summarise_latents([look(deaf, batch, keys)])["emission_loss_nats_per_sequence"].values():
        assert abs(loss["mean"]) < 1e-9
    posterior = params["posterior"]
    blind = params | {"posterior": posterior | {"hidden": jax.tree.map(jnp.zeros_like, posterior["hidden"])}}
    whole = random_batch(FRAMES, (6,) * 5, 6)
    information = jax.jit(functools.partial(mutual_information, model))(blind, whole, keys)
    np.testing.assert_allclose(information.nats, 0.0, atol=1e-9)
    assert summarise_latents([look(blind, batch, keys)])["active_units"] == 0


def test_latents_that_are_used_are_missed():
    """A linear model with its exact posterior: any other z explains the data worse, and the wrong one worst."""
    matrices = linear.separable("srnn")._replace(emission_log_std=np.full(linear.D, -1.0))
    params = linear.parameters("srnn", matrices, linear.exact_posterior("srnn", matrices))
    model = linear.build("srnn")
    batch = random_batch(Observation("frames", linear.D), (4,) * 64, 4)
    batch = batch._replace(targets=3.0 * batch.targets)
    look = jax.jit(functools.partial(inspect, model))
    result = summarise_latents([look(params, batch, jax.random.key(0))])
    assert result["active_units"] == linear.Z
    for loss in result["emission_loss_nats_per_sequence"].values():
        assert loss["mean"] > 5 * loss["stderr"] > 0


@pytest.mark.parametrize(
    "name, options",
    [("gaussian", {}), ("gmm", {"num_components": 2}), ("gmm", {"num_components": 2, "per_dimension": True})],
)
def test_share_of_scales_below_the_quantisation_step(name, options):
    head = build_emission(name, Observation("frames", 2), log_std_bounds=(None, None), **options)
    log_std = np.array([-3.0, 1.0, -1.0, -4.0]) if name == "gmm" else np.array([-3.0, 1.0])
    logits = np.log([0.9, 0.1]) if not options.get("per_dimension") else np.log([0.9, 0.1, 0.6, 0.4])
    values = {"mean": jnp.zeros(log_std.shape), "log_std": jnp.asarray(log_std), "logits": jnp.asarray(logits)}
    share = head.small_scale_share(values, np.exp(-2.0), None)
    expected = {"gaussian": 0.5, "gmm": (0.9 + (0.4 if options.get("per_dimension") else 0.1)) / 2}[name]
    np.testing.assert_allclose(share, expected)


def test_the_share_of_small_scales_is_over_all_real_steps_of_all_batches():
    model, (_, _, batch, keys, _) = small("rnn", "frames", emission_log_std_bounds=(None, None)), case("rnn")
    params = random_params(model, spread=1.0)

    @jax.jit
    def log_scales(params):
        features = model.encode(params, batch)
        sites = unroll(model, params, features, jnp.zeros((*batch.mask.shape, 0)))[1]
        return emission_values(params["emission"], model.emission, model.readout(params, features, sites))["log_std"]

    scales = np.exp(log_scales(params))
    step = float(np.median(scales[np.asarray(batch.mask) > 0, 0]))  # of one dimension: the other lies apart
    shares = [(scales[row, :length] < step).mean(axis=1) for row, length in enumerate(LENGTHS) if length]
    look = jax.jit(functools.partial(inspect, model, quantisation_step=step))
    parts = np.array([0, 2]), np.array([1, 3, 4])
    found = summarise_latents([look(params, take(batch, rows), keys[rows]) for rows in parts])
    expected = np.concatenate(shares).mean()
    assert abs(np.mean([share.mean() for share in shares]) - expected) > 0.01
    np.testing.assert_allclose(found["small_scale_share"], expected)
    residuals = [share.sum() - expected * len(share) for share in shares]
    np.testing.assert_allclose(found["small_scale_share_stderr"], np.std(residuals, ddof=1) / 2.0 / 5.0)


def test_small_scales_are_counted_on_real_steps():
    _, params, batch, keys, look = case("rnn")
    emission = params["emission"]
    params = params | {"emission": emission | {"log_std": jax.tree.map(jnp.zeros_like, emission["log_std"])}}
    for step, share in ((0.5, 0.0), (2.0, 1.0)):
        assert summarise_latents([look(params, batch, keys, quantisation_step=step)])["small_scale_share"] == share
