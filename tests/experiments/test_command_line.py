"""What the command line refuses, each with one sentence, before anything is written."""

import re
import signal
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from absl import flags
from helpers.runs import ROOT, one_sentence, run, tiny_config

from experiments.lib import cli, comparison, processes, training_loop
from experiments.lib.cli import UserError
from experiments.lib.limits import check_rows
from zf_jax import sharding
from zf_jax.data import from_arrays
from zf_jax.memory import physical_memory


@pytest.mark.parametrize("name", ["workdir", "out", "speech_dir"])
@pytest.mark.parametrize("path", ["", " ", "gs://bucket/run", "s3://bucket"])
def test_a_path_that_no_run_can_have_is_refused(name, path, monkeypatch):
    values = flags.FlagValues()
    flags.DEFINE_string(name, "", "", flag_values=values)
    values(["program"])
    monkeypatch.setattr(flags, "FLAGS", values)
    cli._check_flags()  # a default may be empty
    values(["program", f"--{name}={path}"])
    with pytest.raises(UserError, match=f"--{name}"):
        cli._check_flags()
    values(["program", f"--{name}=~/run"])
    cli._check_flags()
    assert values[name].value == str(Path.home() / "run")


def test_a_number_beyond_64_bits_is_refused(monkeypatch):
    values = flags.FlagValues()
    flags.DEFINE_integer("num_samples", 1, "", flag_values=values)
    monkeypatch.setattr(flags, "FLAGS", values)
    for number in (2**63 - 1, -(2**63)):
        values(["program", f"--num_samples={number}"])
        cli._check_flags()
    for number in (2**63, -(2**63) - 1):
        values(["program", f"--num_samples={number}"])
        with pytest.raises(UserError, match=r"--num_samples=-?92233720368547758[0-9]+ is beyond 64 bits"):
            cli._check_flags()


@pytest.mark.parametrize("error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")])
def test_a_lack_of_memory_ends_with_a_sentence(error, monkeypatch, capsys):
    def fails():
        raise error

    monkeypatch.setattr(cli.app, "run", lambda main, flags_parser: main(["program"]))
    monkeypatch.setattr(cli, "_check_flags", lambda: None)
    monkeypatch.setattr(cli, "keep_memory", lambda: None)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        cli.run(fails)
    signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.startswith("error: the memory does not suffice")


def test_a_flag_that_is_a_folder_is_checked_as_a_path():
    """By its name: a program defines its own flags, and the names are all that the command line knows of them."""
    for path in (ROOT / "experiments").glob("[!_]*.py"):
        for name, told in re.findall(r'DEFINE_string\(\s*"(\w+)",[^,]*,\s*"([^"]*)', path.read_text(encoding="utf-8")):
            if re.search(r"\b[Ff]older (of|for|that)|Where to", told):
                assert name in cli._PATHS or name.endswith("_dir"), (path.name, name)


@pytest.mark.parametrize(
    "address, number, mine, message",
    [
        ("host:1", None, None, "go together"),
        (None, 2, None, "go together"),
        ("host", 2, 0, "HOST:PORT"),
        ("host:70000", 2, 0, "HOST:PORT"),
        ("host:1", 2, 2, "from 0 to"),
    ],
)
def test_distributed_flags_that_do_not_fit_together_are_refused(address, number, mine, message, monkeypatch):
    values = flags.FlagValues()
    flags.DEFINE_bool("distributed", False, "", flag_values=values)
    flags.DEFINE_string("coordinator_address", address, "", flag_values=values)
    flags.DEFINE_integer("num_processes", number, "", flag_values=values)
    flags.DEFINE_integer("process_id", mine, "", flag_values=values)
    values.mark_as_parsed()
    monkeypatch.setattr(flags, "FLAGS", values)
    with pytest.raises(UserError, match=message):
        processes.join_processes()


def test_processes_that_do_not_find_each_other_end_with_a_sentence(monkeypatch):
    def fails(*_):
        raise ValueError("coordinator_address should be defined.")

    values = flags.FlagValues()
    flags.DEFINE_bool("distributed", True, "", flag_values=values)
    for name in ("coordinator_address", "num_processes", "process_id"):
        flags.DEFINE_string(name, None, "", flag_values=values)
    values.mark_as_parsed()
    monkeypatch.setattr(flags, "FLAGS", values)
    monkeypatch.setattr(sharding, "initialize_distributed", fails)
    with pytest.raises(UserError, match="TPU pods and Slurm jobs"):
        processes.join_processes()


@pytest.mark.parametrize("given", [[], ["a"], ["0", "-1"], [str(2**32)], [str(2**64 + 1)], ["1.0"], ["²"]])
def test_seeds_that_are_none_are_refused(given):
    with pytest.raises(UserError, match="--seeds must be whole numbers between 0 and 4294967295"):
        cli.seeds_of(SimpleNamespace(name="seeds", value=given))
    assert cli.seeds_of(SimpleNamespace(name="seeds", value=["0", " 4294967295"])) == [0, 2**32 - 1]


def test_a_model_beyond_the_memory_is_refused_with_its_bytes_and_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match=r"take [\d,]{15,} bytes"):
        training_loop.train(tiny_config(**{"model.rnn_dim": 10_000_000}), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_more_sequences_at_once_than_the_memory_holds_are_refused_before_anything_is_written(tmp_path):
    for field in ("batch_size", "eval_batch_size"):
        sentence = f"config.train.{field}=4000000000000: the sequences take 1,024,000,000,000,000 bytes"
        with pytest.raises(UserError, match=sentence):
            training_loop.train(tiny_config(**{f"train.{field}": 4 * 10**12}), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    frames = from_arrays(np.random.default_rng(0).normal(size=(20, 5, 3)))  # 60 bytes each
    fits = physical_memory() // 60
    check_rows("--num_samples", fits, frames, "valid")
    for rows, steps in ((fits + 1, 0), (fits, 6)):
        with pytest.raises(UserError, match=f"--num_samples={rows}: the sequences take"):
            check_rows("--num_samples", rows, frames, "valid", steps)


@pytest.mark.parametrize("given, instead", [("seed=3", "--seeds"), ("model.name=rnn", "--models")])
def test_fields_that_a_comparison_would_not_read_are_refused(given, instead, tmp_path):
    result = run("compare", "--config=digits", f"--config.{given}", f"--workdir={tmp_path / 'run'}")
    assert one_sentence(result) == f"error: --config.{given.split('=')[0]} is not read by compare: give {instead}"
    assert not list(tmp_path.iterdir())


def test_a_comparison_is_refused_before_anything_is_trained(tmp_path):
    for models, count in ((["rnn"], -1), (["rnn:"], 0)):
        with pytest.raises(UserError):
            comparison.compare(tiny_config(), tmp_path, models=models, seeds=[0], num_samples=1, num_sequences=count)
    assert not list(tmp_path.iterdir())
