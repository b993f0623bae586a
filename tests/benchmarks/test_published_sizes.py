"""The command that starts the image systems at their published sizes, on smaller ones."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import published_sizes


def test_a_system_is_compiled_updated_and_reported_as_it_goes():
    seen = []
    row = published_sizes.measure("nade:digits", lambda row: seen.append(dict(row)))
    pixels, hidden = 64, 200
    assert row["parameters"] == hidden + pixels + (pixels - 1) * hidden + pixels * hidden
    assert row["state_bytes"] > 3 * 4 * row["parameters"], "parameters and two moments"
    assert len(row["losses"]) == published_sizes.UPDATES
    assert np.isfinite(row["losses"]).all() and row["losses"][1] < row["losses"][0]
    assert "seconds" not in seen[0] and seen[0]["temporary_bytes"] > 0
    assert seen[-1] == row
    assert f"| {row['parameters']:,} |" in published_sizes.as_line(row)
    assert "compiled only: limit of 5 s" in published_sizes.as_line(seen[0] | {"stopped": "limit of 5 s"})


def test_what_takes_longer_than_the_limit_is_said(tmp_path):
    path = tmp_path / "sizes.json"
    rows = published_sizes.main(["--configs=nade:digits", "--limit=0.01", f"--json={path}"])
    assert rows == [{"config": "nade:digits", "stopped": "limit of 0 s"}]
    assert json.loads(path.read_text())["systems"] == rows
    assert "not compiled" in published_sizes.as_line(rows[0])
