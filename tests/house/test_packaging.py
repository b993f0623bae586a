"""What is installed: the core by itself, every package that is imported in the extra of its room, and nothing else."""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

import pytest

import experiments
from zf_jax.extras import MissingExtra, needs

ROOT = Path(__file__).parents[2]
OWN = ("zf_jax", "experiments", "benchmarks")
# The name that a requirement is imported by, where the two differ.
IMPORTED_AS = {
    "absl-py": "absl",
    "orbax-checkpoint": "orbax",
    "PyYAML": "yaml",
    "scikit-learn": "sklearn",
    "tensorflow-datasets": "tensorflow_datasets",
}
# Required and imported by no line here: jax's compiled half, and what tensorflow-datasets imports without saying so.
INDIRECT = {"jaxlib", "importlib_resources"}
CORE = ("models", "bounds", "objective", "training", "fitting", "generation", "evaluation")
EXTRA_OF_ROOM = {"zf_jax/data": "data", "zf_jax/plotting.py": "plots", "zf_jax/runs": "experiments"}


@cache
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@cache
def declared(extra):
    """The names that the core, ``""``, or the core and an extra may import."""
    lines = setup()["options.extras_require"][extra] if extra else setup()["options"]["install_requires"]
    found = set() if not extra else set(declared(""))
    for line in lines.split("\n"):
        name = re.match(r"[\w-]*", line)[0]
        if name == "zf_jax":
            for other in re.search(r"\[(.*)\]", line)[1].split(","):
                found |= declared(other)
        elif name:
            found.add(IMPORTED_AS.get(name, name))
    return found


def imported(path):
    """Yield the packages of others that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            package = name.split(".")[0]
            if package not in sys.stdlib_module_names and package not in OWN:
                yield package


def extra_of(path):
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("experiments"):
        return "experiments"
    if name.startswith("benchmarks"):
        return "benchmark"
    return next((extra for room, extra in EXTRA_OF_ROOM.items() if name.startswith(room)), "")


def files():
    return sorted(path for package in OWN for path in (ROOT / package).rglob("*.py"))


def test_what_a_room_imports_is_declared_in_its_extra():
    optional = {("zf_jax/runs/metrics.py", "tensorboardX")}  # which is read where it is installed
    undeclared = [
        (path.relative_to(ROOT).as_posix(), name)
        for path in files()
        for name in imported(path)
        if name not in declared(extra_of(path))
    ]
    assert set(undeclared) == optional


def test_every_requirement_is_imported():
    used = {name for path in files() for name in imported(path)}
    for extra in ("", "data", "plots", "experiments", "tensorboard", "benchmark"):
        assert declared(extra) - used - INDIRECT == set()


def test_the_core_is_imported_where_nothing_else_is_installed():
    script = f"""
import importlib, importlib.abc, pkgutil, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {sorted(declared("all") - declared("") - {"absl", "etils", "orbax", "scipy", "yaml"})}:
            raise ModuleNotFoundError(f"refused: {{name}}", name=name)
sys.meta_path.insert(0, Refuse())  # but what jax, flax, optax and chex bring themselves
import zf_jax
for room in {CORE}:
    module = importlib.import_module(f"zf_jax.{{room}}")
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"zf_jax.{{room}}."):
        importlib.import_module(found.name)
try:
    zf_jax.data.load("digits")
except ImportError as error:
    print(error)
try:
    import zf_jax.plotting
except ImportError as error:
    print(error)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.stdout.splitlines() == [
        "sklearn is not installed: pip install 'zf_jax[data]'",
        "matplotlib is not installed: pip install 'zf_jax[plots]'",
    ], result.stderr


def test_a_missing_package_is_told_by_its_extra_and_another_error_is_not():
    sentence = r"^no_such_package is not installed: pip install 'zf_jax\[data\]'$"
    with pytest.raises(MissingExtra, match=sentence), needs("data"):
        importlib.import_module("no_such_package")
    with pytest.raises(ZeroDivisionError), needs("data"):
        raise ZeroDivisionError


@pytest.mark.parametrize("argument", ["-m", "/usr/bin/zf_jax"])
def test_the_programs_name_the_extra_that_they_need(argument, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tqdm" else True)
    with pytest.raises(ImportError, match=r"^tqdm: not installed.*zf_jax\[experiments\]"):
        importlib.reload(experiments)
    monkeypatch.setattr(sys, "argv", [argument])
    with pytest.raises(SystemExit, match=r"^error: tqdm: not installed"):
        importlib.reload(experiments)


@pytest.mark.slow
def test_the_core_installs_into_an_empty_environment_and_the_readme_runs(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, str(ROOT)], check=True)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), flags=re.DOTALL)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [python, "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ELBO", "IWAE"]
    refused = subprocess.run([python, "-m", "experiments.train"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "pip install 'zf_jax[experiments]'" in refused.stderr
