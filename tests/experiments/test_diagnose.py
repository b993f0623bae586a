"""The binary that looks at a run's latents: JSON and pictures, for models with and without latents."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import random_params, small
from helpers.runs import tiny_config

from experiments.lib import training_loop
from experiments.lib.cli import UserError
from experiments.lib.diagnosis import diagnose, latent_figures
from experiments.lib.run_folder import RestoredRun
from zf_jax.data import Example
from zf_jax.sharding import data_mesh


@pytest.mark.parametrize("name", few(["storn", "srnn", "rnn"], "storn", "rnn"))
def test_a_run_is_diagnosed(name, tmp_path):
    training_loop.train(tiny_config(**{"train.num_steps": 10, "model.name": name}), str(tmp_path))
    result = diagnose(str(tmp_path), num_sequences=20, num_mutual=4)
    folder = tmp_path / "diagnostics"
    assert json.loads((folder / "valid.json").read_text()) == result
    assert result["num_sequences"] == 20
    assert "small_scale_share" not in result, "pixels have no scales"
    if name == "rnn":
        assert {path.name for path in folder.iterdir()} == {"valid.json"}
        return
    assert {path.name for path in folder.iterdir()} == {"valid.json", "valid_kl.png", "valid_latents.png"}
    assert len(result["kl_nats_per_step"]) == 64
    assert len(result["kl_nats_per_dimension"]) == 2
    assert 0.0 <= result["mutual_information_nats"]["mean"] + 1e-6 < result["mutual_information_ceiling_nats"] + 1e-5
    assert result["mutual_information_num_steps"] == 64
    assert result["mutual_information_num_sequences"] == 4
    with pytest.raises(UserError, match="num_mutual"):
        diagnose(str(tmp_path), num_mutual=1)
    alone = diagnose(str(tmp_path), num_sequences=1)
    assert alone["emission_loss_nats_per_sequence"]["shuffled"]["mean"] is None, "there is no other to swap with"
    assert alone["emission_loss_nats_per_sequence"]["zero"]["mean"] is not None
    assert "mutual_information_nats" not in alone
    assert (folder / "valid_latents.png").stat().st_size > 1000


class Ragged:
    """Random frames of given lengths."""

    def __init__(self, lengths):
        self.lengths = np.asarray(lengths)
        self._frames = np.random.default_rng(0).normal(size=(len(lengths), max(lengths), 2)).astype(np.float32)

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        targets = self._frames[index, : self.lengths[index]]
        inputs = np.concatenate([np.zeros((1, 2), np.float32), targets[:-1]])
        return Example(inputs, targets, (np.arange(len(targets)) > 0).astype(np.float32))


def test_one_very_short_sequence_does_not_spoil_the_mutual_information():
    model = small("vrnn", "frames")
    lengths = [9, 12, 1, 10, 8, 7, 11]
    experiment = SimpleNamespace(
        model=model,
        data=SimpleNamespace(split=lambda name: Ragged(lengths), quantisation_step=None),
        config=SimpleNamespace(train=SimpleNamespace(eval_batch_size=4)),
        mesh=data_mesh(jax.devices()[:1]),
    )
    restored = RestoredRun(experiment, SimpleNamespace(params=random_params(model)), Path())  # type: ignore[arg-type]
    found = latent_figures(restored, split="test")
    assert found["num_sequences"] == 7
    assert found["mutual_information_num_sequences"] == 4
    assert found["mutual_information_num_steps"] == 9, "the median length, not the shortest"
