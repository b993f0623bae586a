"""The comparison: every model by the same evaluation, baselines beside them, parameter counts matched on request."""

import json

import numpy as np
import pytest
from helpers.runs import tiny_config
from scipy import stats

from experiments.lib import comparison
from experiments.lib.cli import UserError
from experiments.lib.tables import table
from zf_jax.data import DataError


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def rows(workdir):
    config = tiny_config(**{"train.num_steps": 2, "train.log_every": 1})
    found = comparison.compare(
        config, workdir, models=["zforcing", "rnn"], seeds=[0], num_samples=2, split="valid", match_parameters=True
    )
    assert json.loads((workdir / "compare.json").read_text()) == found
    return {row["model"]: row for row in found}


def test_models_and_baselines_stand_in_one_table(rows):
    assert set(rows) == {"zforcing", "rnn", "independent pixels"}
    text = table(list(rows.values())).splitlines()
    legend, blank, *ruled = text
    assert "single run" in legend and "standard error over the scored sequences" in legend and blank == ""
    assert len(ruled) == 5
    assert len({len(line) for line in ruled}) == 1
    assert "IWAE-2" in ruled[0]
    for line in ruled[2:]:
        name = line.split("|")[1].strip()
        figures = (rows[name]["elbo.nats_per_sequence"], rows[name]["elbo.nats_per_sequence_stderr"])
        assert "{:.4f} ± {:.4f}".format(*figures) in line


def test_the_spread_over_seeds_and_the_standard_error_over_sequences_are_told_apart():
    figures = {"elbo.nats_per_sequence": -5.0, "elbo.nats_per_sequence_stderr": 0.25, "active_units": 3.0}
    spread = {"elbo.nats_per_sequence.spread": 0.5, "elbo.nats_per_sequence_stderr.spread": 0.125}
    baseline = {"model": "unigram", "parameters": None} | figures
    several = table([{"model": "rnn", "seeds": [0, 1, 2]} | figures | spread, baseline])
    assert "-5.0000 ± 0.5000" in several.splitlines()[4]
    assert "-5.0000 ± 0.2500" in several.splitlines()[5]
    legend = several.splitlines()[0]
    assert "mean of 3 seeds is the standard deviation over the seeds" in legend
    assert legend.index("standard deviation") < legend.index("baseline") < legend.index("standard error")
    single = table([{"model": "rnn", "seeds": [0]} | figures, baseline])
    assert "-5.0000 ± 0.2500" in single.splitlines()[4]
    assert "standard deviation" not in single
    assert "3.0000 ±" not in several + single, "a count of units has no standard error"


def test_the_best_step_of_every_seed_is_shown():
    row = {"model": "rnn", "seeds": [0, 1], "best_step": 150.0, "best_step.values": [200.0, 100.0]}
    assert "200, 100" in table([row]).splitlines()[4]
    assert "150 (mean)" in table([{"model": "rnn", "seeds": [0, 1], "best_step": 150.0}]).splitlines()[4]
    assert table([{"model": "rnn", "seeds": [0], "best_step": 150.0}]).splitlines()[4].split("|")[2].strip() == "150"


def test_a_model_without_latents_has_an_exact_likelihood(rows):
    np.testing.assert_allclose(rows["rnn"]["elbo.nats_per_sequence"], rows["rnn"]["iwae.nats_per_sequence"], rtol=1e-6)
    assert rows["rnn"]["elbo.kl_nats_per_sequence"] == 0.0
    assert rows["zforcing"]["iwae.nats_per_sequence"] > rows["zforcing"]["elbo.nats_per_sequence"]


def test_latents_in_use_are_counted_and_updates_timed(rows):
    assert 0 <= rows["zforcing"]["active_units"] <= 2
    assert rows["rnn"]["active_units"] == 0.0
    assert min(rows["zforcing"]["seconds_per_update"], rows["rnn"]["seconds_per_update"]) > 0


def test_parameter_counts_are_matched(rows):
    assert abs(rows["rnn"]["parameters"] / rows["zforcing"]["parameters"] - 1) < 0.1


def test_a_comparison_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="at least one model"):
        comparison.compare(tiny_config(), tmp_path, models=[], seeds=[0], num_samples=2)
    with pytest.raises(UserError, match="matches the first model's count: name two models"):
        comparison.compare(tiny_config(), tmp_path, models=["rnn"], seeds=[0], num_samples=2, match_parameters=True)
    with pytest.raises(DataError, match="no split 'dev'"):
        comparison.compare(tiny_config(), tmp_path, models=["rnn"], seeds=[0], num_samples=2, split="dev")


@pytest.mark.parametrize("models, seeds", [(["rnn"], [0, 0]), (["rnn", "zforcing", "rnn:bernoulli"], [0, 1])])
def test_what_is_named_twice_is_refused_for_it_would_have_no_spread(tmp_path, models, seeds):
    with pytest.raises(UserError, match="named twice"):
        comparison.compare(tiny_config(), tmp_path, models=models, seeds=seeds, num_samples=2)
    assert not list(tmp_path.iterdir())


def test_an_unknown_model_is_refused_before_any_is_trained(tmp_path):
    with pytest.raises(UserError, match="unknown model"):
        comparison.compare(tiny_config(), tmp_path, models=["zforcing", "nonesuch"], seeds=[0], num_samples=2)
    assert not list(tmp_path.iterdir())


def test_figures_over_seeds_are_the_mean_the_deviation_of_a_sample_and_each_seeds_own():
    row = comparison._over_seeds([{"elbo": 1.0}, {"elbo": 2.0}, {"elbo": 6.0}])
    assert row == {
        "elbo": 3.0,
        "elbo.spread": pytest.approx(np.sqrt((4 + 1 + 9) / 2)),
        "elbo.values": [1.0, 2.0, 6.0],
    }
    assert comparison._over_seeds([{"elbo": 1.0}]) == {"elbo": 1.0}


def test_a_run_of_another_length_is_no_part_of_the_comparison(rows, workdir):
    shorter = tiny_config(**{"train.num_steps": 1, "train.log_every": 1})
    with pytest.raises(UserError, match="holds a run of 2 updates"):
        comparison.compare(shorter, workdir, models=["zforcing"], seeds=[0], num_samples=2, split="valid")


@pytest.mark.slow
def test_a_mass_stands_beside_baselines_of_masses_and_not_beside_densities(audio, tmp_path):
    config, data = audio[0].copy_and_resolve_references(), audio[1]
    config.model.update(rnn_dim=4, latent_dim=2, mlp_dim=4, embed_dim=4, num_components=2, levels=256)
    config.train.update(num_steps=2, decay_steps=0, log_every=1, eval_every=2, checkpoint_every=2)
    settings = {"seeds": [0], "num_samples": 1}
    with pytest.raises(UserError, match="do not compare"):
        comparison.compare(config, tmp_path, models=["rnn", "rnn:dmol"], **settings)
    found = comparison.compare(config, tmp_path, models=["rnn:dmol"], **settings)
    rows = {row["model"]: row for row in found}
    assert (rows["rnn:dmol"]["emission"], rows["rnn:dmol"]["density"]) == ("dmol", False)
    samples = np.concatenate([one.targets.ravel() for one in data.split("test")])
    width = 256 / data.normalisation["std"]  # of a bin, in the units of the samples
    bits = -np.mean(stats.norm.logpdf(samples) + np.log(width)) / np.log(2)
    np.testing.assert_allclose(rows["unit Gaussian"]["elbo.bits_per_sample"], bits, rtol=1e-5)
