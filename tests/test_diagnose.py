"""The binary that looks at a run's latents: JSON and pictures, for models with and without latents."""

from __future__ import annotations

import json

import pytest
from test_experiments import tiny_config

from experiments import loop
from experiments.command_line import UserError
from experiments.diagnosis import diagnose


@pytest.mark.parametrize("name", ["srnn", "rnn"])
def test_a_run_is_diagnosed(name, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "Gallery", lambda experiment: None)
    loop.train(tiny_config(**{"train.num_steps": 10, "model.name": name}), str(tmp_path))
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
    with pytest.raises(UserError, match="num_mutual"):
        diagnose(str(tmp_path), num_mutual=1)
