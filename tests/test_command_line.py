"""What the command line refuses, each with one sentence, before anything is written."""

from typing import Any, cast

import numpy as np
import pytest
from absl import flags
from helpers.runs import one_sentence, run, tiny_config, tiny_flags

from experiments.lib import cli, comparison, training_loop
from experiments.lib.cli import UserError


class Flag:
    name = "config"

    def __init__(self, value):
        self.value = value


def partial():
    config = tiny_config()
    with config.unlocked():
        del config.train.num_steps
    return config


def unwritable():
    config = tiny_config()
    with config.unlocked():
        del config.model.rnn_dim
        config.model.rnn_dim = np.ones(2)
    return config


@pytest.mark.parametrize(
    "value, message",
    [
        ({}, "not a dict"),
        (None, "not a NoneType"),
        (partial(), "lacks config.train.num_steps"),
        (unwritable(), "only what JSON can"),
    ],
)
def test_a_config_file_that_returns_something_else_is_refused(value, message):
    with pytest.raises(UserError, match=message):
        cli.config_of(cast(Any, Flag(value)))
    assert cli.config_of(cast(Any, Flag(tiny_config()))).model.rnn_dim == 8


@pytest.mark.parametrize("path", ["", " ", "gs://bucket/run"])
def test_a_path_that_no_run_can_have_is_refused(path, monkeypatch):
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", path, "", flag_values=values)
    values.mark_as_parsed()
    monkeypatch.setattr(flags, "FLAGS", values)
    with pytest.raises(UserError, match="--workdir"):
        cli._check_paths()
    values["workdir"].value = "~/run"
    cli._check_paths()
    assert values.workdir.endswith("/run") and "~" not in values.workdir


@pytest.mark.parametrize(
    "address, number, mine, message",
    [
        ("host:1", None, None, "go together"),
        (None, 2, None, "go together"),
        ("host", 2, 0, "HOST:PORT"),
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
        cli.join_processes()


def test_a_model_beyond_the_memory_is_refused_with_its_bytes_and_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match=r"take [\d,]{15,} bytes"):
        training_loop.train(tiny_config(**{"model.rnn_dim": 10_000_000}), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_comparison_is_refused_before_anything_is_trained(tmp_path):
    for models, count in ((["rnn"], -1), (["rnn:"], 0)):
        with pytest.raises(UserError):
            comparison.compare(tiny_config(), tmp_path, models=models, seeds=[0], num_samples=1, num_sequences=count)
    assert not list(tmp_path.iterdir())


def test_a_config_file_that_ends_the_program_does_not_end_it_well(tmp_path):
    (tmp_path / "ends.py").write_text("import sys\ndef get_config():\n    sys.exit(0)\n")
    result = run("train", f"--config={tmp_path}/ends.py", *tiny_flags(tmp_path / "run")[1:])
    assert "ended the program" in one_sentence(result)
