"""The rows of image systems are those that the run and its evaluation wrote."""

from __future__ import annotations

import json

import pytest
from helpers.saved_runs import save_run

from benchmarks import image_rows
from experiments.configs import nade


def test_a_row_is_read_from_a_run_and_other_rows_stay(tmp_path, capsys):
    run, path = tmp_path / "run", tmp_path / "rows.json"
    config = nade.get_config("digits")
    config.model.mlp_dim = 3
    save_run(run, config)
    curve = [{"split": "train", "step": s, "steps_per_second": s / 4} for s in (2, 8)]
    curve.insert(1, {"split": "valid", "step": 2, "elbo_nats_per_sequence": -20.00004})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in curve))
    with pytest.raises(ValueError, match="has 0 results of the test split"):
        image_rows.row_of("nade.py:digits", run)
    result = {"model": "nade", "kind": "exact", "step": 8, "kl_nats_per_sequence": 0.0}
    result |= dict.fromkeys(image_rows.COPIED, -1.5) | {"split": "test"}
    (run / "eval_test_elbo.json").write_text(json.dumps(result))
    other = result | {"config": "other.py:small", "kind": "bound", "parameters": 7, "best_step": 2, "last_step": 8}
    path.write_text(json.dumps([other]))
    image_rows.main([f"--json={path}", f"nade.py:digits={run}"])
    first, row = json.loads(path.read_text())
    assert first == other
    assert row["parameters"] == 3 + 64 + 63 * 3 + 64 * 3
    assert row["seconds"] == pytest.approx(2 / 0.5 + 6 / 2)
    assert (row["best_step"], row["last_step"], row["validation"]) == (8, 8, [[2, -20.0]])
    printed = capsys.readouterr().out
    assert "| `nade.py:digits` | 448 | -1.50 ± -1.50 | 8 of 8, not converged | 7 |" in printed
    assert "2 of 8 |" in printed and "IWAE" in printed
