"""A run of a model that the user's own config file registers: every program that opens it takes the file."""

from __future__ import annotations

import re
import shutil

import pytest
from helpers.runs import ROOT, TINY, run

import zf_jax
from experiments.lib.cli import UserError
from experiments.lib.command import FOLDER
from experiments.lib.config_flag import load
from experiments.lib.forecasting import forecast_past_end
from experiments.lib.scoring import evaluate
from experiments.lib.training_loop import train

OPEN_RUNS = ("evaluate", "sample", "diagnose", "score", "forecast", "encode", "impute", "interpolate")
FILE = """
import zf_jax
from experiments.configs import digits
from markov import Markov

zf_jax.MODELS["markov"] = Markov


def get_config():
    config = digits.get_config()
    config.model.name = "markov"
    return config
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A config file beside a file of its model, and the folder of a run of it, after two updates."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copy(ROOT / "examples" / "new_model.py", folder / "markov.py")
    (folder / "mine.py").write_text(FILE, encoding="utf-8")
    config = load(str(folder / "mine.py"))
    sizes = {name: value for name, value in TINY.items() if not name.startswith(("objective", "model.name"))}
    config.update_from_flattened_dict(sizes | {"train.num_steps": 2})
    train(config, str(folder / "run"))
    del zf_jax.MODELS["markov"]
    yield str(folder / "mine.py"), str(folder / "run")
    zf_jax.MODELS.pop("markov", None)


def test_without_the_file_the_sentence_says_what_to_pass(own):
    for opens in (lambda: evaluate(own[1]), lambda: forecast_past_end(own[1], steps=1)):
        with pytest.raises(
            UserError, match=r"unknown model 'markov': .*; or pass the config file .* with --config=FILE"
        ):
            opens()
    with pytest.raises(ValueError, match=r"zf_jax\.MODELS\['markov'\] = \.\.\., or give one to zf_jax\.open_run"):
        zf_jax.open_run(own[1])


def test_with_the_file_the_run_is_scored_as_a_program(own):
    result = run("score", f"--workdir={own[1]}", f"--config={own[0]}", "--lowest=2")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_every_program_that_opens_a_run_takes_the_file():
    programs = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("[!_]*.py")}
    readers = {name for name, text in programs.items() if re.search(r"cli\.(run|split)_flags_for", text)}
    assert readers == set(OPEN_RUNS)
    for name in readers:
        assert "\ndefine_own_config()\n" in programs[name], name
