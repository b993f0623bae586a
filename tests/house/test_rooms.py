"""Imports run one way: no module is imported by what it imports, and no room by one that stands below it."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]

# From the bottom up; rooms of one line do not import each other.
LEVELS = (
    ("plain",),
    ("typing", "compiled", "extras", "locks"),
    ("context",),
    ("distributions", "memory", "sharding", "schedules", "averaging", "batch", "checks", "protocols", "shapes"),
    ("nn",),
    ("emissions",),
    ("models", "density"),
    ("bounds",),
    ("objective", "generation"),
    ("densities",),
    ("training",),
    ("data",),
    ("evaluation",),
    ("runs",),
    ("fitting", "plotting"),
)
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


def modules(package):
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / package).rglob("*.py")}


def imports(path, known):
    """The modules of ``known`` that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                module = name if name in known or f"{name}.__init__" in known else node.module
                yield f"{module}.__init__" if f"{module}.__init__" in known else module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def graph(package):
    known = modules(package)
    return {name: {m for m in imports(path, known) if m in known and m != name} for name, path in known.items()}


def test_no_module_is_imported_by_what_it_imports():
    for package in ("zf_jax", "experiments"):
        # A package's face imports what it shows, and that may import its neighbours through the face of another.
        without_faces = {
            name: {m for m in found if not m.endswith("__init__")}
            for name, found in graph(package).items()
            if not name.endswith("__init__")
        }
        assert list(TopologicalSorter(without_faces).static_order())


def test_no_room_imports_one_that_stands_above_it():
    upward = []
    for name, found in graph("zf_jax").items():
        room = name.split(".")[1]
        if room == "__init__":
            continue
        for module in found:
            other = module.split(".")[1]
            if other != "__init__" and other != room and LEVEL_OF[other] >= LEVEL_OF[room]:
                upward.append((name, module))
    assert not upward


def test_the_library_knows_no_program():
    for name, path in modules("zf_jax").items():
        assert not any(module.startswith(("experiments", "benchmarks")) for module in imports(path, {})), name


def test_training_knows_neither_the_particle_filter_nor_the_emissions():
    found = graph("zf_jax")["zf_jax.training"]
    assert not [m for m in found if m.startswith(("zf_jax.bounds.particle", "zf_jax.emissions", "zf_jax.evaluation"))]


def test_no_two_files_of_tests_have_one_name():
    """Pytest refuses to collect the second: the rooms of the tests are no packages."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
