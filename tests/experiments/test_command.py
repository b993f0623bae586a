"""The command ``zf_jax``: it finds the programs in their folder, and runs them as ``python -m`` does."""

import subprocess
import sys

import pytest
from helpers.runs import ROOT, environment

from experiments.lib import command


def called(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["zf_jax", *arguments])
    command.main()
    return capsys.readouterr()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_is_a_screen_with_a_line_for_each_program(arguments, monkeypatch, capsys):
    printed = called(arguments, monkeypatch, capsys).out.splitlines()
    there = {path.stem for path in (ROOT / "experiments").glob("*.py")} - {"__init__", "__main__"}
    assert {"train", "evaluate", "sample", "diagnose", "compare"} <= there
    assert [line.split()[0] for line in printed if line.startswith("  ") and line[2] != " "] == sorted(there)
    assert max(map(len, printed)) <= 80
    assert len(printed) <= 40


def test_a_program_that_is_added_to_the_folder_is_in_the_list(tmp_path, monkeypatch):
    (tmp_path / "dream.py").write_text('"""Draw at night: and more.\n\nMuch more."""\n', encoding="utf-8")
    (tmp_path / "_hidden.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    assert command.programs() == {"dream": "Draw at night"}


def test_an_unknown_program_ends_with_the_screen_and_one_sentence(monkeypatch, capsys):
    with pytest.raises(SystemExit, match=r"^error: there is no program 'trian'; is it train\?"):
        called(["trian"], monkeypatch, capsys)
    assert "usage: zf_jax PROGRAM" in capsys.readouterr().err


def test_a_program_has_its_own_flags_and_sentences(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "experiments", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)

    helped = run("train", "--help")
    assert helped.returncode == 0
    assert "--config:" in helped.stdout
    assert "--coordinator_address:" in helped.stdout
    refused = run("train", "--config=nonesuch", "--workdir=run")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: --config=nonesuch is neither")
    assert len(refused.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
