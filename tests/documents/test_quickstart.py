"""The notebook runs from top to bottom: its code cells in turn, a few updates of a small network."""

import json
from pathlib import Path

import matplotlib

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def test_the_notebook_runs(monkeypatch, capsys):
    matplotlib.use("agg")
    monkeypatch.setenv("QUICKSTART_STEPS", "3")
    monkeypatch.setenv("QUICKSTART_SIZE", "8")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    exec(compile(code, NOTEBOOK.name, "exec"), {})
    printed = capsys.readouterr().out
    assert "Z-Forcing, IWAE-64" in printed
    assert "nan" not in printed
    matplotlib.pyplot.close("all")
