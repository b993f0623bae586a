"""The flag ``--config``: a config by its name, a Python file, or a JSON or YAML file of fields."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments.configs.base import get_base
from experiments.lib.cli import UserError, check_path

FOLDER = Path(__file__).parents[1] / "configs"
HELP = (
    "The experiment: a config's name, as digits or timit:VARIANT (a wrong one lists those there are), a Python file "
    "with get_config, FILE.py:VARIANT, or a JSON or YAML file of fields, as RUN/config.json."
)

flags.disclaim_key_flags()  # --help lists the flag among the program's own


def define_config(text: str = HELP, flag_values: flags.FlagValues = flags.FLAGS) -> flags.FlagHolder:
    """Define the flag ``--config``, whose fields are flags too, ``--config.train.num_steps=200``."""
    holder = config_flags.DEFINE_config_file("config", None, text, flag_values)
    flag_values["config"].parser = _Parser()
    return holder


def define_own_config() -> None:
    """Define the flag ``--config`` of a program that opens a run, whose config it reads from the run.

    The file is run for what it registers: a model, an emission or a data set of the user's own.
    """
    text = (
        "The config file that the run was trained with, where it registers a model, an emission or a data set of your "
        "own; the fields are read from the run."
    )
    flags.DEFINE(_Parser(), "config", None, text)


class _Parser(flags.ArgumentParser):
    def parse(self, argument: str) -> Any:
        return load(argument)

    def flag_type(self) -> str:
        return "config"


def load(named: str) -> Any:
    """Return the config that ``named`` names, complete and locked.

    Args:
      named: a name or a path; behind a colon the variant, the argument of ``get_config``.

    Raises:
      UserError: there is none, its file fails, or what it gives is no whole config.
    """
    if "://" in named:
        raise UserError(f"--config={named}: only files of a file system can be read")
    drive, rest = os.path.splitdrive(named)
    head, colon, variant = rest.partition(":")
    path = _find(drive + head)
    if path.suffix not in (".json", ".yaml", ".yml"):
        config = _of_python(path, [variant] if colon else [])
    elif colon:
        raise UserError(f"{path} has no variants: leave out :{variant}")
    else:
        config = _of_fields(_read(path), path)
    _check_whole(config, path)
    return config.lock()


def names() -> list[str]:
    """Return the configs that are called by their names."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if "def get_config(" in path.read_text(encoding="utf-8"))


def config_of(flag: flags.FlagHolder) -> Any:
    """Return the config of a flag, with the fields that other flags set, ``~`` expanded in its paths.

    Raises:
      UserError: it holds what JSON cannot, or a path that no data can have.
    """
    config: Any = flag.value
    try:
        config.to_json()
    except (TypeError, ValueError) as error:
        raise UserError(f"the config of --{flag.name} may hold only what JSON can: {error}") from None
    for name in ("dir", "cache_dir"):
        if config.data.get(name):
            config.data[name] = check_path(f"config.data.{name}", config.data[name])
    return config


def set_on_the_command_line(flag: flags.FlagHolder) -> set[str]:
    """Return the fields of a config that flags of their own set, as ``train.num_steps``."""
    return set(config_flags.get_override_values(flags.FLAGS[flag.name]))


def _find(given: str) -> Path:
    path = Path(os.path.expanduser(given))
    try:
        if path.is_file():
            return path
    except (OSError, ValueError) as error:
        raise UserError(f"the config file {given!r} cannot be read: {error}") from None
    name = given.removesuffix(".py")
    if name in names():
        return FOLDER / f"{name}.py"
    raise UserError(f"--config={given} is neither a file nor one of the configs {', '.join(names())}")


def _of_python(path: Path, variant: list[str]) -> Any:
    loader = SourceFileLoader("config_file", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    if folder not in sys.path:  # last, so that a module beside the config never stands in for an installed one
        sys.path.append(folder)
    try:
        loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError(f"the config file {path} has no function get_config")
        return module.get_config(*variant)
    except UserError:
        raise
    except SystemExit:
        raise UserError(f"the config file {path} ended the program: get_config must return a config") from None
    except Exception as error:
        if type(error) is ValueError and module.__dict__.get("get_config"):
            raise UserError(" ".join(str(error).split())) from error  # the file's own sentence
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        at = f", line {lines[-1]}" if lines else ""
        told = " ".join(str(error).split())
        raise UserError(f"the config file {path}{at}, fails: {type(error).__name__}: {told}") from error


def _read(path: Path) -> Any:
    """Return the tree of a JSON or YAML file."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        told = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UserError(f"the config file {path} cannot be read: {told}") from None


def _of_fields(tree: Any, path: Path) -> Any:
    """Return the base config with the fields of a tree; what only the data set knows is checked by its loader."""
    config = get_base()
    for section, fields in _mapping(tree, path, "the file").items():
        if section not in config:
            raise UserError(f"{path}: no config has a field {section!r}; there are {', '.join(config)}")
        if not isinstance(config[section], ConfigDict):
            _set(config, section, fields, path, section)
            continue
        for name, value in _mapping(fields, path, section).items():
            known = config[section]
            if name in known:
                _set(known, name, value, path, f"{section}.{name}")
            elif section == "data":
                known[name] = value
            else:
                raise UserError(f"{path}: config.{section} has no field {name!r}; there are {', '.join(known)}")
    return config


def _mapping(tree: Any, path: Path, what: str) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise UserError(f"{path}: {what} must hold fields by their names, not {tree!r}"[:300])
    return {str(name): value for name, value in tree.items()}


def _set(fields: Any, name: str, value: Any, path: Path, full: str) -> None:
    default = fields[name]
    if isinstance(default, float) and isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)  # YAML reads 1e-3 as text
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    try:
        if default is not None and (value is None or isinstance(value, bool) != isinstance(default, bool)):
            raise TypeError
        fields[name] = value
    except (TypeError, ValueError):
        kind = "of another type" if default is None else f"a {type(default).__name__}"
        raise UserError(f"{path}: config.{full} must be {kind}, not {value!r}"[:300]) from None


def _check_whole(config: Any, path: Path) -> None:
    """Refuse what is no config with all fields of the base."""
    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise UserError(f"get_config of {path} must return what get_base() gave it, not a {kind}")
    there = field_names(config)
    missing = [name for name in field_names(get_base()) if name not in there]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"the config of {path} lacks config.{missing[0]}{more}: begin with get_base()")


def field_names(config: Any, prefix: str = "") -> list[str]:
    """Return the names of all fields, "model.rnn_dim"."""
    found = []
    for name in config:
        inner = config.get(name)
        found += field_names(inner, f"{prefix}{name}.") if isinstance(inner, ConfigDict) else [prefix + name]
    return found
