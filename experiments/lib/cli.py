"""What every binary's command line shares: flags, and errors that are one sentence instead of a traceback."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from zf_jax.data.dataset import DataError, Directory, Folder, Option, Prepare, Remedy, in_python
from zf_jax.memory import keep_memory


class UserError(Exception):
    """Something the user can put right: one sentence that says what is wrong and what to do."""


def warn(sentence: str) -> None:
    """Print a warning on stderr: something was lost, and the command goes on."""
    print(f"warning: {escaped(sentence)}", file=sys.stderr, flush=True)


def escaped(text: str) -> str:
    """Return ``text`` with control characters written out, since a name may hold sequences that a terminal obeys."""
    return "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def finite(figures: dict[str, Any]) -> dict[str, Any]:
    """Return ``figures`` with null for every number that is not finite, and the names of these in "not_finite"."""
    bad: list[str] = []

    def clean(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: clean(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(inner, name) for inner in value]
        if isinstance(value, float) and not math.isfinite(value):
            bad.append(name)
            return None
        return value

    cleaned = clean(figures, "")
    return cleaned | {"not_finite": sorted(set(bad))} if bad else cleaned


def write_json(path: Path, value: Any) -> None:
    """Write a result beside a run, or warn that it is not written: what was computed is printed all the same."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        warn(f"{path} cannot be written: {error.strerror}")
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def define_distributed_flags() -> None:
    """Flags for runs of several processes; a run of one process needs none of them."""
    flags.DEFINE_bool("distributed", False, "Join the other processes of a TPU pod or a Slurm job.")
    flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0, outside TPU pods and Slurm.")
    flags.DEFINE_integer("num_processes", None, "Number of processes, with --coordinator_address.")
    flags.DEFINE_integer("process_id", None, "This process's number from 0, with --coordinator_address.")


def join_processes() -> None:
    """Start distributed JAX if a flag asks for it; before any other use of JAX."""
    values = flags.FLAGS
    address, number, mine = values.coordinator_address, values.num_processes, values.process_id
    if (address is None, number is None, mine is None) not in ((True,) * 3, (False,) * 3):
        raise UserError("--coordinator_address, --num_processes and --process_id go together: give all three or none")
    if address is not None and not re.fullmatch(r"\S+:\d{1,5}", address):
        raise UserError(f"--coordinator_address must be HOST:PORT, not {address!r}")
    if number is not None and mine is not None and not 0 <= mine < number:
        raise UserError(f"--process_id must be from 0 to --num_processes - 1, and is {mine} of {number}")
    if values.distributed or values.coordinator_address:
        from zf_jax.sharding import initialize_distributed

        initialize_distributed(values.coordinator_address, values.num_processes, values.process_id)


def config_flags_for(remedy: Remedy) -> str:
    """A remedy of the library's in the flags of the programs that take a config."""
    match remedy:
        case Option(name, value, then):
            return f"pass --config.data.{name}={'VALUE' if value is None else value}{then and ' ' + then}"
        case Folder(name, then):
            return f"pass the folder of {name} with --config.data.dir=DIR{then and ' ' + then}"
        case Prepare(name, fetches):
            does = "fetches it" if fetches else "prepares it"
            return f"python -m experiments.prepare_data --name={name} --data_dir=DIR {does}"
        case Directory():
            return "choose another folder with --config.data.cache_dir=DIR or the environment variable ZF_JAX_CACHE"
    return in_python(remedy)


def run_flags_for(remedy: Remedy) -> str:
    """A remedy of the library's in the flags of the programs that read a run, whose config is fixed."""
    match remedy:
        case Option(name, value, _):
            return f"train another run with --config.data.{name}={'VALUE' if value is None else value}"
        case Folder(name, then):
            return f"pass the folder of {name} with --data_dir=DIR{then and ' ' + then}"
        case Directory():
            return "choose another folder with the environment variable ZF_JAX_CACHE"
    return config_flags_for(remedy)


def prepare_flags_for(remedy: Remedy) -> str:
    """A remedy of the library's in the flags of prepare_data."""
    match remedy:
        case Option("skip_bad_files", _, then):
            return f"pass --skip_bad_files{then and ' ' + then}"
        case Option(name, value, then):
            return f"pass --options={name}={'VALUE' if value is None else value}{then and ' ' + then}"
        case Folder(name, then):
            return f"pass the folder of {name} with --manual_dir=DIR{then and ' ' + then}"
        case Prepare(_, fetches):
            return "leave out --manual_dir to fetch it" if fetches else ""
        case Directory():
            return "choose another folder with --data_dir"
    return in_python(remedy)


def run(main: Callable[[], None], flags_for: Callable[[Remedy], str] = config_flags_for) -> None:
    """Parse the flags and call ``main``; what the user can put right ends with one sentence and status 1.

    ``flags_for`` phrases the library's remedies in this program's flags.
    """
    keep_memory()
    # A signal ends a program at once, also from within a compilation; the training loop takes over when it has begun.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Other libraries' informational lines would bury the run's own.
    logging.set_verbosity(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    def guarded(argv):
        if len(argv) > 1:
            _end(f"there is an argument too many: {argv[1]!r}; flags start with --")
        try:
            _check_paths()
            main()
        except _user_errors() as error:
            sentence = error.sentence(flags_for) if isinstance(error, DataError) else str(error)
            _end(sentence, at_once=type(error).__name__ in ("CheckpointError", "OtherModel"))
        except RuntimeError as error:  # jax's, whose type cannot be named before jax is imported
            jax = sys.modules.get("jax")
            if jax is None or not isinstance(error, jax.errors.JaxRuntimeError) or jax.process_count() == 1:
                raise
            # At once: JAX would wait at its exit for the process that is gone.
            _end("another process of the run was lost; start all of them again to go on from the last checkpoint", True)
        except OSError as error:
            _end(f"{error.filename or 'a file'} cannot be read or written: {error.strerror or error}")

    app.run(guarded, flags_parser=_parse)


def config_of(flag: flags.FlagHolder) -> Any:
    """The config that a flag names.

    Raises:
      UserError: its file is missing, or fails when it is run.
    """
    from ml_collections import ConfigDict

    from experiments.configs.base import get_base

    try:
        config: Any = flag.value  # a file that could not be loaded shows itself only when it is used
        getattr(config, "items", dict)()
    except SystemExit:
        raise UserError(
            f"the config file of --{flag.name} ended the program: get_config must return a config"
        ) from None
    except OSError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"the config file of --{flag.name} cannot be loaded: {reason}") from error
    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise UserError(f"get_config in the file of --{flag.name} must return what get_base() gave it, not a {kind}")
    missing = [name for name in _names(get_base()) if name not in _names(config)]
    if missing:
        raise UserError(f"the config of --{flag.name} lacks config.{missing[0]} and {len(missing) - 1} more")
    try:
        config.to_json()
    except (TypeError, ValueError) as error:
        raise UserError(f"the config of --{flag.name} may hold only what JSON can: {error}") from None
    checked: Any = config  # a type checker cannot know its fields
    if checked.data.dir:
        checked.data.dir = os.path.expanduser(checked.data.dir)
    return checked


def _names(config: Any, prefix: str = "") -> list[str]:
    """Return the names of all fields, "model.rnn_dim"."""
    names = []
    for name in config:
        inner = config.get(name)
        names += _names(inner, f"{prefix}{name}.") if hasattr(inner, "to_dict") else [prefix + name]
    return names


def _check_paths() -> None:
    """Refuse paths that no run can have, and expand ``~``."""
    for name in ("workdir", "out", "data_dir", "manual_dir"):
        if name not in flags.FLAGS or flags.FLAGS[name].value is None:
            continue
        value = str(flags.FLAGS[name].value)
        if not value.strip() or "\0" in value:
            raise UserError(f"--{name} is empty or no path: {value!r}")
        if "://" in value:
            raise UserError(f"--{name}={value}: only folders of a file system can be used; mount the store as one")
        flags.FLAGS[name].value = os.path.expanduser(value)


def as_json(found: Any) -> str:
    """One line of JSON that any terminal can show: names that are not UTF-8 are escaped."""
    line = json.dumps(found, ensure_ascii=False)
    return line if line.isprintable() else json.dumps(found)


def progress(items: Iterable[Any]) -> Iterable[Any]:
    """A progress bar over ``items`` on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    return tqdm(items, disable=not sys.stderr.isatty(), unit="batch", dynamic_ncols=True)


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except SystemExit:
        if any(argument.lstrip("-").split("=")[0].startswith("help") for argument in argv[1:]):
            sys.exit(0)  # absl ends with status 1
        _end("the config file ended the program: get_config must return a config")
    except (KeyError, AttributeError) as error:
        told = str(error.args[0]).replace("\\n", "\n").replace("\\", "").strip("'\"").splitlines()
        field, hint = told[0].strip("'\" "), " ".join(told[1:]).strip("'\" ")
        _end(f"the config has no field {field!r}; {hint or 'the config file lists its fields'}")
    except Exception as error:  # absl's own, or whatever a config file raises when it is run
        # ml_collections hands on a whole traceback, whose last line is the config file's own sentence.
        missing = re.match(r"flag --(\w+)=None", str(error))
        if missing:
            _end(f"--{missing[1]} is missing; see --help")
        lines = str(error).strip().splitlines() or [type(error).__name__]
        _end(
            re.sub(r"^\w+Error: ", "", lines[-1].strip()) if "Traceback" in str(error) else " ".join(str(error).split())
        )
    raise AssertionError


def _user_errors() -> tuple[type[Exception], ...]:
    from zf_jax.runs.checkpoints import CheckpointError

    return (UserError, CheckpointError, DataError)


def _end(message: str, at_once: bool = False) -> None:
    print(f"error: {escaped(message)}", file=sys.stderr, flush=True)
    if at_once:
        # Reads of a damaged checkpoint that are still under way would each print a traceback on the way out.
        sys.stdout.flush()
        os._exit(1)
    sys.exit(1)
