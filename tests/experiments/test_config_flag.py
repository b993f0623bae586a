"""What ``--config`` reads: names, Python files, JSON and YAML; and what each is refused for, in one sentence."""

import json
import textwrap

import numpy as np
import pytest
from absl import flags
from helpers.runs import tiny_config

from experiments.configs import base, digits, timit
from experiments.lib import config_flag
from experiments.lib.cli import UserError
from experiments.lib.config_flag import load


def written(tmp_path, text, name="mine.py"):
    (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
    return str(tmp_path / name)


def same(one, other):
    return one.to_json() == other.to_json()


class Flag:
    name = "config"

    def __init__(self, value):
        self.value = value


def test_a_config_is_found_by_its_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert same(load("digits"), digits.get_config())
    assert same(load("digits.py"), digits.get_config())
    assert same(load("digits:pixels"), digits.get_config("pixels"))
    assert not same(load("digits:pixels"), digits.get_config())
    assert same(load("timit:srnn"), timit.get_config("srnn"))
    written(tmp_path, "from experiments.configs.base import get_base as get_config", "digits.py")
    assert same(load("digits"), digits.get_config())
    assert same(load("digits.py"), base.get_base())  # a file that is there goes first


def test_every_name_that_is_offered_loads():
    assert "digits" in config_flag.names()
    assert "base" not in config_flag.names()
    for name in config_flag.names():
        assert load(name).data.name


@pytest.mark.parametrize("named", ["nonesuch", "base", "", "family", "nonesuch.json", "\0", "x" * 5000])
def test_what_is_neither_a_file_nor_a_name_is_refused_with_the_names(named):
    with pytest.raises(UserError, match=r"audio_folder, .*digits|cannot be read"):
        load(named)


@pytest.mark.parametrize(
    "text, message",
    [
        ("get_config = dict", "not a dict"),
        ("def get_config(): pass", "not a NoneType"),
        ("x = 1", "no function get_config"),
        ("def get_config(variant): raise ValueError('mine has\\nno variant')", "^mine has no variant$"),
        ("import nonesuch", "line 1, fails: ModuleNotFoundError: No module named"),
        ("def get_config(variant):\n    return 1 / 0", "line 2, fails: ZeroDivisionError"),
        ("def get_config(variant) return", "fails: SyntaxError"),
        ("import sys\ndef get_config(variant):\n    sys.exit(0)", "ended the program"),
        (
            "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({'model': {}})",
            "lacks config.*and [0-9]+ more",
        ),
        ("def get_config(): return open('/nonesuch')", "fails"),
    ],
)
def test_a_config_file_that_gives_no_whole_config_is_refused(text, message, tmp_path):
    with pytest.raises(UserError, match=message) as refused:
        load(written(tmp_path, text) + (":small" if "variant" in text else ""))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_a_runs_own_config_is_read_back(kind, tmp_path):
    yaml = pytest.importorskip("yaml")
    config = digits.get_config()
    config.model.num_components = 3
    config.train.learning_rate = 0.25
    tree = json.loads(config.to_json())
    text = json.dumps(tree) if kind == "json" else yaml.safe_dump(tree)
    found = load(written(tmp_path, text, f"config.{kind}"))
    assert found.to_json() == config.to_json()
    assert found.model.emission_log_std_bounds == (-7.0, 5.0)


def test_fields_that_a_file_leaves_out_have_the_defaults_of_the_base(tmp_path):
    path = written(tmp_path, "{data: {name: digits, view: rows}, train: {learning_rate: 1e-3}}", "few.yaml")
    found = load(path)
    expected = base.get_base()
    expected.data.name = "digits"
    expected.data.view = "rows"
    assert found.to_json() == expected.to_json()
    assert isinstance(found.train.learning_rate, float)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{model: {rnn_dims: 3}}", "config.model has no field 'rnn_dims'"),
        ("{modle: {}}", "no config has a field 'modle'"),
        ("{model: 3}", "model must hold fields"),
        ("[1]", "the file must hold fields"),
        ("", "the file must hold fields"),
        ("{model: {rnn_dim: big}}", "config.model.rnn_dim must be a int"),
        ("{model: {rnn_dim: true}}", "config.model.rnn_dim must be a int"),
        ("{model: {rnn_dim: 2.5}}", "config.model.rnn_dim must be a int"),
        ("{model: {rnn_dim: null}}", "config.model.rnn_dim must be a int"),
        ("{train: {learning_rate: fast}}", "config.train.learning_rate must be a float"),
        ("{model: {num_components: many}}", "config.model.num_components"),
        ("{model: {emission_layers: 3}}", "config.model.emission_layers must be a tuple"),
        ("{seed: [1]}", "config.seed must be a int"),
        ("{model: [", "cannot be read"),
    ],
)
def test_fields_that_do_not_fit_are_refused_by_name(text, message, tmp_path):
    with pytest.raises(UserError, match=message) as refused:
        load(written(tmp_path, text, "wrong.yml"))
    assert len(str(refused.value).splitlines()) == 1


def test_a_damaged_file_of_fields_and_a_variant_of_one_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load(written(tmp_path, "{", "config.json"))
    with pytest.raises(UserError, match="no variants"):
        load(written(tmp_path, "{}", "config.json") + ":small")
    with pytest.raises(UserError, match="file system"):
        load("gs://bucket/config.json")


def test_fields_on_the_command_line_go_over_those_of_the_file(tmp_path, monkeypatch):
    path = written(tmp_path, "{data: {name: digits}, model: {rnn_dim: 5}}", "config.yaml")
    arguments = ["train", f"--config={path}", "--config.model.rnn_dim=7", "--config.data.dir=~/data"]
    monkeypatch.setattr("sys.argv", arguments)
    values = flags.FlagValues()
    holder = config_flag.define_config(flag_values=values)
    values(arguments)
    config = config_flag.config_of(holder)
    assert config.model.rnn_dim == 7
    assert config.data.name == "digits"
    assert "~" not in config.data.dir


def test_what_json_cannot_hold_and_a_folder_of_a_store_are_refused():
    config = tiny_config()
    with config.unlocked():
        del config.model.rnn_dim
        config.model.rnn_dim = np.ones(2)
    with pytest.raises(UserError, match="only what JSON can"):
        config_flag.config_of(Flag(config))
    with pytest.raises(UserError, match=r"config\.data\.dir=s3://.* file system"):
        config_flag.config_of(Flag(tiny_config(**{"data.dir": "s3://bucket"})))
