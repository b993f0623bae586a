"""A run whose data lie elsewhere now: every program that reads a run takes --data_dir, and says so."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.few import few
from helpers.runs import TINY, one_sentence, run

import zf_jax
from experiments import family
from experiments.lib.cli import UserError, run_flags_for, split_flags_for
from experiments.lib.experiment import build, initial_state
from experiments.lib.gallery import Gallery
from experiments.lib.run_folder import opened, restore
from experiments.lib.scoring import evaluate
from experiments.lib.training_loop import train
from zf_jax.data import DataError
from zf_jax.data.dataset import Directory, Folder, Option, Prepare
from zf_jax.data.description import fingerprint
from zf_jax.runs.checkpoints import Checkpoints


def write_text(folder, words, seed=0):
    """Forty short documents of so many different words."""
    folder.mkdir()
    for i, drawn in enumerate(np.random.default_rng(seed).integers(0, words, (40, 5))):
        (folder / f"{i}.txt").write_text(" ".join(f"w{chr(97 + word)}" for word in drawn) + ".\n")


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A run whose folder of text was renamed after its first checkpoint: the workdir, and where the text lies now."""
    folder = tmp_path_factory.mktemp("moved")
    write_text(folder / "before", words=9)
    config = family.get_config("text_folder.py", "small")
    config.update_from_flattened_dict({k: v for k, v in TINY.items() if not k.startswith("objective")})
    config.data.dir, config.data.cache_dir = str(folder / "before"), str(folder / "cache")
    experiment = build(config)
    with opened(str(folder / "run"), config) as path, Checkpoints(path) as checkpoints:
        saved = json.loads(config.to_json()) | {"data_fingerprint": fingerprint(experiment.data)}
        checkpoints.save(initial_state(experiment), saved, -1.0)
        checkpoints.wait()
    (folder / "before").rename(folder / "after")
    return str(folder / "run"), folder / "after"


@pytest.mark.parametrize("name", few(["evaluate", "sample", "diagnose", "interpolate"], "evaluate"))
def test_a_program_reads_the_folder_of_its_flag_and_advises_that_flag(moved, name):
    result = run(name, f"--workdir={moved[0]}", "--data_dir=/nonexistent")
    assert one_sentence(result) == (
        "error: /nonexistent does not exist: pass the folder of text_folder with --data_dir=DIR"
    )


def test_moved_data_are_still_the_runs_own_and_others_are_named(moved, tmp_path):
    workdir, after = moved
    with pytest.raises(DataError, match="before does not exist"):
        restore(workdir)
    found = evaluate(workdir, split="train", data_dir=str(after))
    assert found["num_sequences"] == len(restore(workdir, data_dir=str(after)).experiment.data.split("train"))
    # The run is left as it was: only that call read the other folder.
    assert Path(json.loads((Path(workdir) / "config.json").read_text())["data"]["dir"]).name == "before"
    # Of as many words, so that the model is the same; and of fewer, so that it is not.
    for words, seed in ((9, 1), (4, 0)):
        other = tmp_path / f"{words}"
        write_text(other, words=words, seed=seed)
        with pytest.raises(UserError, match="not those that the run was trained on: "):
            evaluate(workdir, data_dir=str(other))


def test_a_refused_folder_of_other_data_is_not_written_into_the_run_and_a_moved_one_is(tmp_path):
    rng, folders = np.random.default_rng(0), {name: tmp_path / f"{name}.npz" for name in ("first", "other", "moved")}
    for name in ("first", "other"):
        splits = np.repeat(["train", "valid", "test"], 8)
        np.savez(folders[name], values=rng.normal(size=(24, 3, 2)), lengths=np.full(24, 3), split=splits)
    config = family.get_config("arrays.py", "small")
    config.update_from_flattened_dict({k: v for k, v in TINY.items() if not k.startswith("objective")})
    config.train.num_steps = 2

    def train_in(place, steps):
        config.data.dir, config.train.num_steps = str(place), steps
        train(config, str(tmp_path / "run"))

    def written():
        return json.loads((tmp_path / "run" / "config.json").read_text())["data"]["dir"]

    train_in(folders["first"], 2)
    with pytest.raises(UserError, match="not those that the run was trained on"):
        train_in(folders["other"], 4)
    assert written() == str(folders["first"])
    folders["first"].rename(folders["moved"])
    train_in(folders["moved"], 2)  # finished: no checkpoint is written, and only the folder of the run says where
    assert written() == zf_jax.open_run(tmp_path / "run").config["data"]["dir"] == str(folders["moved"])


def test_numbers_that_the_emission_cannot_score_are_named_before_the_training(tmp_path):
    values = np.random.default_rng(0).normal(size=(6, 3, 2))
    values[5, 2, 0] = np.nan  # of the test split alone
    np.savez(tmp_path / "a.npz", values=values, lengths=np.full(6, 3), split=np.repeat(["train", "valid", "test"], 2))
    flags = (f"--config.data.dir={tmp_path / 'a.npz'}", "--config.data.missing=True", "--config.model.emission=nade")
    flags += ("--config.train.num_steps=1",)
    result = run("train", "--config=experiments/configs/arrays.py:small", f"--workdir={tmp_path / 'run'}", *flags)
    assert "error: sequence 1 of the test split: targets[" in one_sentence(result)
    assert "the NADE emission scores whole frames" in one_sentence(result)
    assert not (tmp_path / "run").exists()


def test_no_remedy_of_a_run_is_a_flag_that_its_programs_lack():
    assert (
        run_flags_for(Option("split_by", "file", "to divide")) == "train another run with --config.data.split_by=file"
    )
    assert "zf_jax prepare_data --name=mnist" in run_flags_for(Prepare("mnist"))
    assert "--" not in run_flags_for(Directory())


def test_the_programs_that_read_other_data_whole_advise_the_split():
    advised = split_flags_for(Folder("arrays", kind="file or folder"))
    assert advised.endswith("with --data_dir=PATH, and --split=NAME to read one of its splits")
    assert split_flags_for(Directory()) == run_flags_for(Directory())
    for name in ("score", "encode", "forecast"):
        assert "cli.run(main, cli.split_flags_for)" in (Path(family.__file__).parent / f"{name}.py").read_text()


def test_every_sample_of_text_is_written_also_where_there_are_fewer_real_sentences(moved, tmp_path):
    experiment = restore(moved[0], data_dir=str(moved[1])).experiment
    real = len(experiment.data.split("valid"))
    Gallery(experiment, real + 3, length=2).draw(initial_state(experiment).params, tmp_path / "drawn", seed=0)
    lines = (tmp_path / "drawn" / "samples.txt").read_text().splitlines()
    titles = [line.split(":")[0] for line in lines if line]
    assert (titles.count("samples"), titles.count("real text_folder")) == (real + 3, real)
