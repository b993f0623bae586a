"""A run on data with gaps: evaluated by what was observed, its gaps filled in the units of the data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.runs import TINY

from experiments import family
from experiments.lib.cli import UserError
from experiments.lib.experiment import build, initial_state
from experiments.lib.imputing import impute_split
from experiments.lib.run_folder import opened
from experiments.lib.scoring import evaluate
from zf_jax.data.description import fingerprint
from zf_jax.runs.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """A run before its first update, and the sequences of its test split, two channels around 20."""
    folder, rng = tmp_path_factory.mktemp("gaps"), np.random.default_rng(0)
    values = rng.normal(20.0, 3.0, (20, 4, 2))
    values[:, 1], values[:, 2, 0] = np.nan, np.nan
    lengths, split = np.full(20, 4), np.array(["train"] * 12 + ["valid"] * 4 + ["test"] * 4)
    lengths[17] = 3
    names = np.array([f"station {row}" for row in range(20)])
    np.savez(folder / "arrays.npz", values=values, lengths=lengths, split=split, names=names)
    config = family.get_config("arrays.py", "small")
    config.update_from_flattened_dict({k: v for k, v in TINY.items() if not k.startswith("objective")})
    config.data.dir, config.data.missing = str(folder), True
    experiment = build(config)
    with opened(str(folder / "run"), config) as path, Checkpoints(path) as checkpoints:
        saved = json.loads(config.to_json()) | {"data_fingerprint": fingerprint(experiment.data)}
        checkpoints.save(initial_state(experiment), saved, -1.0)
        checkpoints.wait()
    return str(folder / "run"), values[16:], lengths[16:]


def test_gaps_are_filled_and_what_was_observed_is_kept(gaps, capsys):
    workdir, values, lengths = gaps
    with np.load(impute_split(workdir, num_samples=6, num_particles=4)) as arrays:
        found = {name: arrays[name] for name in arrays}
    assert "in 4 of 4 sequences fewer particles than draws" in capsys.readouterr().err
    real = np.arange(4) < lengths[:, None]
    np.testing.assert_array_equal(found["observed"], ~np.isnan(values) & real[..., None])
    np.testing.assert_array_equal(found["lengths"], lengths)
    seen = found["observed"]
    np.testing.assert_allclose(found["values"][:, seen], np.broadcast_to(values[seen], (6, seen.sum())), rtol=1e-5)
    filled = found["values"][:, real[..., None] & ~seen]
    assert 14 < filled.mean() < 26
    assert (filled.std(axis=0) > 0).all()
    assert (found["values"][:, ~real] == 0).all()
    assert ((found["effective_sample_size"] >= 1) & (found["effective_sample_size"] <= 4 + 1e-4)).all()
    assert found["names"].tolist() == [f"station {row}" for row in range(16, 20)]
    with np.load(impute_split(workdir, num_samples=2, num_particles=4, num_sequences=2)) as arrays:
        assert arrays["index"].tolist() == [0, 3]  # the first and the last of the split
        assert arrays["names"].tolist() == ["station 16", "station 19"]
        np.testing.assert_array_equal(arrays["observed"], found["observed"][[0, 3]])
    with pytest.raises(UserError, match="cannot be written"):
        impute_split(workdir, num_samples=6, num_particles=4, out="/nonexistent/file.npz")
    with pytest.raises(UserError, match="--num_particles must be at least 1"):
        impute_split(workdir, num_particles=0)


def test_the_figures_are_of_what_was_observed(gaps):
    workdir, values, lengths = gaps
    found = evaluate(workdir, split="test", bound="elbo")
    real = (np.arange(4) < lengths[:, None])[..., None] & ~np.isnan(values)
    assert found["num_observed_elements"] == real.sum()
    assert found["num_observed_steps"] == real.any(axis=-1).sum()
    assert found["nats_per_sample"] == pytest.approx(found["nats_per_sequence"] * 4 / real.sum(), rel=1e-5)
