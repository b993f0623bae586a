"""The page and the notebook about series: their table is read, and, among the slow tests, all of their code runs."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
import yaml

from zf_jax.data import load

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "series.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def cells():
    found = json.loads((ROOT / "examples" / "series.ipynb").read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the page makes before its first command."""
    path = tmp_path_factory.mktemp("series")
    (path / "housing.yaml").write_text(blocks("yaml")[0])
    with contextlib.chdir(path):
        exec(compile(blocks("python")[0], "series.md", "exec"), {})
    return path


def test_the_notebook_reads_the_table_of_the_page(folder, capsys):
    matplotlib.use("agg")
    names: dict = {}
    for cell in cells()[:3]:
        exec(compile(cell, "series.ipynb", "exec"), names)
    options = yaml.safe_load((folder / "housing.yaml").read_text())["data"]
    path = folder / options.pop("dir")
    assert path.read_text() == (names["folder"] / "housing.csv").read_text()
    assert load(options.pop("name"), data_dir=str(path), **options).describe() == names["data"].describe()
    assert (names["data"].columns, len(names["data"].split("test"))) == (
        ("sales", "median", "listings", "inventory"),
        46,
    )


@pytest.mark.slow
def test_the_notebook_runs(monkeypatch, capsys):
    matplotlib.use("agg")
    for name, value in (("STEPS", "2"), ("SIZE", "8"), ("DRAWS", "4")):
        monkeypatch.setenv(f"SERIES_{name}", value)
    exec(compile("\n".join(cells()), "series.ipynb", "exec"), {})
    printed = capsys.readouterr().out
    assert len(re.findall(r"nats per month$", printed, flags=re.MULTILINE)) == 12  # two models, ten cities
    assert "nan" not in printed.lower().replace("  nan", "")  # but for the missing numbers of the table
    matplotlib.pyplot.close("all")


@pytest.mark.slow
def test_the_commands_of_the_page_run(folder):
    commands = re.findall(r"^zf_jax .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {command.split()[1] for command in commands} >= {"train", "forecast", "impute", "score", "inspect_data"}
    for command in commands:
        name, *flags = shlex.split(command)[1:]
        flags += {"train": ["--config.train.num_steps=2"], "impute": ["--num_particles=2"]}.get(name, [])
        done = subprocess.run(
            [sys.executable, "-m", "experiments", name, *flags],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, (command, done.stderr)
    assert (folder / "runs" / "vrnn" / "forecast" / "test.png").exists()
    assert (folder / "runs" / "vrnn" / "imputed_test.npz").exists()
