"""Read the arrays of one checkpoint, and tell damage from another model's arrays."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from zf_jax.extras import needs
from zf_jax.runs.errors import CheckpointError, OtherModel, first_line
from zf_jax.runs.mending import is_json
from zf_jax.runs.record import Damaged, Record, changed_arrays, leaf_name, read_record
from zf_jax.runs.silence import no_word_of_metadata
from zf_jax.sharding import any_process
from zf_jax.typing import Params

with needs("experiments"):
    import orbax.checkpoint as ocp

_Arrays = dict[str, tuple[list[int], str]]


def read_state(folder: Path, like: Any) -> tuple[Any, bool]:
    """Read all arrays of a checkpoint, and return them with whether there was a record to check them against.

    Args:
      like: a tree of the structure, shapes and shardings to read into; its ``step`` must come out as the folder's name.

    Raises:
      OtherModel: the arrays are not those of ``like``.
      CheckpointError: the checkpoint is damaged.
    """

    def read():
        with ocp.StandardCheckpointer() as reader:
            return reader.restore(folder / "state", jax.tree.map(ocp.utils.to_shape_dtype_struct, like))

    return _read(folder, like, read, ("",), lambda state: state.step)


def read_params(folder: Path, like: Params) -> tuple[Params, bool]:
    """Read the parameters alone, onto one device: their average, where the optimiser keeps one.

    They are of the type that they were saved in, whatever floating type ``like`` has.  Arguments and errors as for
    ``read_state``; ``OtherModel`` also where they are float64 and JAX has no such numbers now.
    """
    here = SingleDeviceSharding(jax.local_devices()[0])
    arrays = _arrays(folder)
    places = _place_of_average(arrays, like)
    part: dict[str, Any] = {"params": like, "step": jax.ShapeDtypeStruct((), jnp.int32)}
    if places:
        part |= functools.reduce(lambda inner, name: {name: inner}, reversed(places), like)
    part = jax.tree_util.tree_map_with_path(lambda path, leaf: _as_stored(arrays.get(leaf_name(path)), leaf), part)
    if jnp.result_type(float) != np.float64 and any(leaf.dtype == np.float64 for leaf in jax.tree.leaves(part)):
        raise OtherModel(
            f"the checkpoint {folder} is sound, and holds parameters of float64, which JAX has once it is told so: "
            'jax.config.update("jax_enable_x64", True), or JAX_ENABLE_X64=true in the environment'
        )
    prefixes = ("step", "params/", *(["/".join(places) + "/"] if places else []))

    def wanted(path, stored):
        if not leaf_name(path).startswith(prefixes):
            return ocp.PLACEHOLDER  # not read
        return jax.ShapeDtypeStruct(stored.shape, stored.dtype, sharding=here)

    def read():
        with ocp.PyTreeCheckpointer() as reader, _without_damaged_sharding(folder / "state") as state:
            tree = reader.metadata(state).item_metadata.tree
            item = jax.tree_util.tree_map_with_path(wanted, tree)
            how = ocp.checkpoint_utils.construct_restore_args(item)
            stored = reader.restore(state, args=ocp.args.PyTreeRestore(item=item, restore_args=how))
        by_name = {leaf_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(stored)}
        return jax.tree_util.tree_map_with_path(lambda path, _: by_name[leaf_name(path)], part)

    found, checked = _read(folder, part, read, prefixes, lambda found: found["step"])
    if not places:
        return found["params"], checked
    average = functools.reduce(lambda tree, name: tree[name], places, found)
    return jax.tree.map(lambda a, x: a.astype(x.dtype), average, found["params"]), checked


@contextlib.contextmanager
def _without_damaged_sharding(state: Path) -> Iterator[Path]:
    """Give a folder of links without ``_sharding`` where that file is damaged.

    It says where the arrays lay, which nobody asks here; but with a damaged one orbax tells nothing of a checkpoint.
    """
    if not (state / "_sharding").exists() or is_json(state / "_sharding"):
        yield state
        return
    with tempfile.TemporaryDirectory() as folder:
        for path in state.absolute().iterdir():
            if path.name != "_sharding":
                os.symlink(path, os.path.join(folder, path.name), target_is_directory=path.is_dir())
        yield Path(folder)


@contextlib.contextmanager
def _all_reads_end() -> Iterator[None]:
    """Make event loops that are opened in this context end their tasks before they close.

    Orbax reads all arrays at once and closes its loop at the first error.  The other reads would find the loop closed,
    and each would print a traceback from a thread of its own.
    """
    open_loop = asyncio.new_event_loop

    def new_event_loop() -> asyncio.AbstractEventLoop:
        loop = open_loop()
        close = loop.close

        def end_and_close() -> None:
            while left := asyncio.all_tasks(loop):  # a task may begin others
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            close()

        loop.set_exception_handler(lambda *_: None)  # of the reads of one checkpoint the first error is told
        with contextlib.suppress(AttributeError):  # a loop of another library may be sealed
            loop.close = end_and_close
        return loop

    asyncio.new_event_loop = new_event_loop
    try:
        yield
    finally:
        asyncio.new_event_loop = open_loop


def _arrays(folder: Path) -> _Arrays:
    """Return shapes and types of all arrays; none where they cannot be read, which the reading will say."""
    try:
        record = read_record(folder)
        if record is not None:
            return _recorded(record)
        with _all_reads_end(), no_word_of_metadata():
            return _stored(folder)
    except Exception:  # orbax raises many kinds
        return {}


def _place_of_average(arrays: _Arrays, like: Params) -> list[str]:
    """Where the optimiser keeps an average of the parameters, "opt_state", "1", "average"; empty if it keeps none."""
    leaves = [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(like)]
    for name in arrays:
        prefix = name.removesuffix(leaves[0])
        kept = name.startswith("opt_state/") and prefix.endswith("/average/")
        if kept and all(prefix + leaf in arrays for leaf in leaves):
            return prefix.removesuffix("/").split("/")
    return []


def _as_stored(stored: tuple[list[int], str] | None, leaf: Any) -> jax.ShapeDtypeStruct:
    """Return the shape of ``leaf``, and its type, or that of the stored array where both are floating."""
    dtype = leaf.dtype if stored is None else jnp.dtype(stored[1])
    both = jnp.issubdtype(dtype, jnp.floating) and jnp.issubdtype(leaf.dtype, jnp.floating)
    return jax.ShapeDtypeStruct(leaf.shape, dtype if both else leaf.dtype)


def _read(folder: Path, like: Any, read: Any, prefixes: tuple[str, ...], step_of: Any) -> tuple[Any, bool]:
    """Read the arrays whose names begin with one of ``prefixes``."""
    found, record, reason = None, None, ""
    try:
        record = read_record(folder)
        with _all_reads_end(), no_word_of_metadata():
            _check_names(folder, record, like, prefixes)
            try:
                found = read()
            except Exception as error:
                _check_structure(folder, record, error)
                raise
        changed = [] if record is None else changed_arrays(_part(record, prefixes), found)
        reason = f"{', '.join(changed[:3])}: not the values that were saved" if changed else ""
        step = int(step_of(found))
        if step != int(folder.name):
            reason = f"it holds step {step}"
    except CheckpointError:
        raise
    except Exception as error:  # orbax and its stores raise many kinds; all mean the same to the user
        cause = error if isinstance(error, Damaged) or error.__cause__ is None else error.__cause__
        found, reason = None, first_line(cause)
    if any_process(bool(reason)) or found is None:
        raise CheckpointError(f"the checkpoint {folder} is damaged ({reason or 'as another process read it'})")
    return found, record is not None


def _part(record: Record, prefixes: tuple[str, ...]) -> Record:
    return {"arrays": {name: array for name, array in record["arrays"].items() if name.startswith(prefixes)}}


def _check_names(folder: Path, record: Record | None, like: Any, prefixes: tuple[str, ...]) -> None:
    """Tell another model's checkpoint from a damaged one."""
    mine = _shapes(like)
    if record is None:
        theirs = _stored(folder)
    else:
        theirs = _recorded(record)
    theirs = {name: array for name, array in theirs.items() if name.startswith(prefixes)}
    differing = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    if differing:
        name = differing[0]
        here, there = (f"{t[name][0]} {t[name][1]}" if name in t else "absent" for t in (mine, theirs))
        raise OtherModel(
            f"the checkpoint {folder} is sound, and of another model or optimiser: {len(differing)} arrays differ, "
            f"as {name}, there {there}, here {here}"
        )


def _check_structure(folder: Path, record: Record | None, error: Exception) -> None:
    """Raise ``OtherModel`` if the stored arrays are those of the record and only the tree around them differs."""
    words = str(error)
    if record is None or not ("structures do not match" in words or "Type mismatch" in words):
        return
    if _recorded(record) == _stored(folder):
        raise OtherModel(
            f"the checkpoint {folder} is sound, and its arrays stand in a tree of another structure, as that of an "
            "optimiser made of other parts: restore it with the optimiser that it was saved with, or read the "
            "parameters alone"
        )


def _recorded(record: Record) -> _Arrays:
    return {name: (array["shape"], array["dtype"]) for name, array in record["arrays"].items()}


def _stored(folder: Path) -> _Arrays:
    with ocp.StandardCheckpointer() as reader:
        return _shapes(reader.metadata(folder / "state").item_metadata.tree)


def _shapes(tree: Any) -> _Arrays:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {leaf_name(path): (list(leaf.shape), str(jnp.dtype(leaf.dtype))) for path, leaf in leaves}
