"""What every binary's command line shares: flags, and errors that are one sentence instead of a traceback."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from experiments.lib import lifeline
from zf_jax.data.dataset import DataError, Directory, Folder, Option, Prepare, Register, Remedy, in_python
from zf_jax.extras import MissingExtra
from zf_jax.memory import keep_memory

_PATHS = ("workdir", "out", "init_from", "future_context")
_NO_MEMORY = "the memory does not suffice: choose a smaller batch or model, fewer samples, or a smaller --chunk_size"

flags.disclaim_key_flags()  # --help lists what is defined here among the program's own flags


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


def seeds_of(flag: flags.FlagHolder) -> list[int]:
    """Return the seeds of a flag that lists them.

    Raises:
      UserError: there is none, or one is no whole number of 32 bits.
    """
    given = flag.value or []
    seeds = [int(seed) for seed in given if re.fullmatch(r"\s*\d{1,10}\s*", seed) and int(seed) < 2**32]
    if not given or len(seeds) < len(given):
        raise UserError(f"--{flag.name} must be whole numbers between 0 and {2**32 - 1}, not {','.join(given)!r}")
    return seeds


_PLACES = {"folder": "DIR", "file or folder": "PATH"}


def config_flags_for(remedy: Remedy) -> str:
    """A remedy of the library's in the flags of the programs that take a config."""
    match remedy:
        case Option(name, value, then):
            return f"pass --config.data.{name}={'VALUE' if value is None else value}{then and ' ' + then}"
        case Folder(name, then, _, kind):
            return f"pass the {kind} of {name} with --config.data.dir={_PLACES[kind]}{then and ' ' + then}"
        case Prepare(name, fetches):
            does = "fetches it" if fetches else "prepares it"
            return f"zf_jax prepare_data --name={name} --data_dir=DIR {does}"
        case Directory():
            return "choose another folder with --config.data.cache_dir=DIR or the environment variable ZF_JAX_CACHE"
        case Register():
            return "pass the config file that registers your own, with --config=FILE"
    return in_python(remedy)


def run_flags_for(remedy: Remedy) -> str:
    """A remedy of the library's in the flags of the programs that read a run, whose config is fixed."""
    match remedy:
        case Option(name, value, _):
            return f"train another run with --config.data.{name}={'VALUE' if value is None else value}"
        case Folder(name, then, _, kind):
            return f"pass the {kind} of {name} with --data_dir={_PLACES[kind]}{then and ' ' + then}"
        case Directory():
            return "choose another folder with the environment variable ZF_JAX_CACHE"
    return config_flags_for(remedy)


def split_flags_for(remedy: Remedy) -> str:
    """Likewise in the flags of the programs for which --data_dir without --split is other data, read whole."""
    phrase = run_flags_for(remedy)
    return f"{phrase}, and --split=NAME to read one of its splits" if isinstance(remedy, Folder) else phrase


def prepare_flags_for(remedy: Remedy) -> str:
    """A remedy of the library's in the flags of prepare_data."""
    match remedy:
        case Option("skip_bad_files", _, then):
            return f"pass --skip_bad_files{then and ' ' + then}"
        case Option(name, value, then):
            return f"pass --options={name}={'VALUE' if value is None else value}{then and ' ' + then}"
        case Folder(name, then, _, kind):
            return f"pass the {kind} of {name} with --manual_dir={_PLACES[kind]}{then and ' ' + then}"
        case Prepare(_, fetches):
            return "leave out --manual_dir to fetch it" if fetches else ""
        case Directory():
            return "choose another folder with --data_dir"
        case Register():
            return ""
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
            _check_flags()
            main()
            lifeline.leave()
        except SystemExit:
            lifeline.leave()
            raise
        except _user_errors() as error:
            sentence = error.sentence(flags_for) if isinstance(error, DataError) else str(error)
            if not isinstance(error, (UserError, DataError, MissingExtra)):
                lifeline.wait_for_news()
            _end(sentence)
        except MemoryError:
            _end(_NO_MEMORY)
        except OSError as error:
            lifeline.wait_for_news()
            _end(f"{error.filename or 'a file'} cannot be read or written: {error.strerror or error}")
        except Exception as error:
            if "RESOURCE_EXHAUSTED" in str(error) and _is_jax_error(error):
                _end(_NO_MEMORY)
            if not lifeline.joined():
                raise
            lifeline.wait_for_news()  # what is raised where another process is lost is of many kinds
            lifeline.take_last_word()
            traceback.print_exc()
            lifeline.tell("by an error of the program, which its own output shows")
            os._exit(1)

    app.run(guarded, flags_parser=_parse)


def check_path(name: str, value: str) -> str:
    """Return a path with ``~`` expanded.

    Raises:
      UserError: it is empty, or on a store that is no file system.
    """
    if not value.strip() or "\0" in value:
        raise UserError(f"{name} is empty or no path: {value!r}")
    if "://" in value:
        raise UserError(f"{name}={value}: only folders of a file system can be used; mount the store as one")
    return os.path.expanduser(value)


def _check_flags() -> None:
    """Check whole numbers, and the flags that are paths by their names, which end in _dir but for a few."""
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise UserError(f"--{name}={value} is beyond 64 bits")
        path = name in _PATHS or name.endswith("_dir")
        if path and isinstance(value, str) and (value or not flags.FLAGS[name].using_default_value):
            flags.FLAGS[name].value = check_path(f"--{name}", value)


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
    except SystemExit:  # absl ends --help with status 1
        sys.exit(0)
    except UserError as error:
        _end(str(error))
    except (KeyError, AttributeError) as error:
        told = str(error.args[0]).replace("\\n", "\n").replace("\\", "").strip("'\"").splitlines()
        field, hint = told[0].strip("'\" "), " ".join(told[1:]).strip("'\" ")
        _end(f"the config has no field {field!r}; {hint or 'the config file lists its fields'}")
    except Exception as error:  # absl's own
        missing = re.match(r"flag --(\w+)=None", str(error))
        if missing:
            _end(f"--{missing[1]} is missing; see --help")
        _end(_plain(" ".join(str(error).split())))
    raise AssertionError


def _plain(told: str) -> str:
    """Return what absl says of a value in the words of this program."""
    told = re.sub(r"invalid literal for int\(\) with base 10: .*", "must be a whole number", told)
    told = re.sub(r"could not convert string to float: .*", "must be a number", told)
    return re.sub(r"\('Non-boolean argument to boolean flag', .*\)", "must be true or false", told)


def _user_errors() -> tuple[type[Exception], ...]:
    from zf_jax.checks import BatchError
    from zf_jax.runs.errors import RunError

    return (UserError, RunError, DataError, BatchError, MissingExtra)


def _is_jax_error(error: Exception) -> bool:
    jax = sys.modules.get("jax")  # not imported before it is needed
    return jax is not None and isinstance(error, jax.errors.JaxRuntimeError)


def _end(message: str) -> None:
    lifeline.take_last_word()
    print(f"error: {escaped(message)}", file=sys.stderr, flush=True)
    lifeline.tell(message)
    if lifeline.joined():  # at once: JAX would wait at its exit for the other processes
        sys.stdout.flush()
        os._exit(1)
    sys.exit(1)
