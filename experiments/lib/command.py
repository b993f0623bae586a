"""The command ``zf_jax``: every program of the folder ``experiments`` by its name."""

from __future__ import annotations

import ast
import difflib
import re
import runpy
import sys
import textwrap
from pathlib import Path

FOLDER = Path(__file__).parents[1]
WIDTH = 80


def main() -> None:
    """Run the program that the first argument names, with the arguments after it."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("", "-h", "-help", "--help", "help"):
        print(screen())
        return
    if name not in programs():
        print(screen(), file=sys.stderr)
        near = difflib.get_close_matches(name, programs(), 1)
        sys.exit(f"error: there is no program {name!r}{f'; is it {near[0]}?' if near else ''}")
    del sys.argv[1]
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)


def programs() -> dict[str, str]:
    """Return what each program does, the first clause of its docstring, by its name."""
    found = {}
    for path in sorted(FOLDER.glob("[!_]*.py")):
        documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = re.split(r"[:.;](?:\s|$)", " ".join(documentation.split()), maxsplit=1)[0]
    return found


def screen() -> str:
    """Return the help: how the command is called, and a line for each program."""
    found = programs()
    indent = max(map(len, found)) + 4
    lines = ["usage: zf_jax PROGRAM [--flag=value ...]", ""]
    for name, does in found.items():
        first = f"  {name}".ljust(indent)
        lines += textwrap.wrap(does, WIDTH, initial_indent=first, subsequent_indent=" " * indent)
    lines += ["", "zf_jax PROGRAM --help lists the flags of a program."]
    return "\n".join(lines)
