"""Write and check the record of a checkpoint, whose digests detect a single changed bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

Record = dict[str, Any]
DESCRIPTION = "data_description"


class Damaged(Exception):
    """A checkpoint differs from what was saved, or cannot be read."""


def leaf_digests(tree: Any) -> dict[str, dict[str, Any]]:
    """Return ``{"params/prior/kernel": {"shape", "dtype", "sha256"}, ...}`` of the arrays' global values.

    The digest is of the global value, not of shards, so a state saved on four devices can be checked on one.  An array
    sharded over several processes is gathered, one array at a time; all processes must call this function together.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {leaf_name(path): _digest(_whole(leaf)) for path, leaf in leaves}


def leaf_name(path: Any) -> str:
    """Return the name of the leaf at a key path, "params/prior/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def make_record(
    state: Any, config: dict[str, Any], elbo: float | None, description: dict[str, Any] | None = None
) -> Record:
    """Return the record of ``state``: digests of arrays, config and description, the ELBO, and a digest of these."""
    record: Record = {"arrays": leaf_digests(state), "config": json_digest(config), "elbo_nats_per_sequence": elbo}
    if description is not None:
        record[DESCRIPTION] = json_digest(description)
    return record | {"sha256": json_digest(record)}


def read_record(folder: Path) -> Record | None:
    """Return the record of the checkpoint in ``folder``; None for a checkpoint of a version that wrote no records.

    Raises:
      Damaged: the record is missing, unreadable, or does not match the record's own digest.
    """
    if not (folder / "record").exists():
        # A checkpoint with a record lists the record among the items, so a deleted record is detected.
        if '"record"' in _text(folder / "_CHECKPOINT_METADATA"):
            raise Damaged(f"the record of {folder} is missing")
        return None
    record = read_json(folder / "record")
    if not isinstance(record, dict) or record.get("sha256") != json_digest(
        {name: value for name, value in record.items() if name != "sha256"}
    ):
        raise Damaged(f"the record of {folder} is damaged")
    return record


def changed_arrays(record: Record, state: Any) -> list[str]:
    """Return the names of arrays in ``state`` whose digests differ from the record's."""
    found = leaf_digests(state)
    return sorted(
        name for name in found.keys() | record["arrays"].keys() if found.get(name) != record["arrays"].get(name)
    )


def read_json(item: Path, filename: str = "metadata") -> Any:
    """Return one JSON item of a checkpoint.

    Raises:
      Damaged: the item is missing or unreadable.
    """
    # Not by orbax, whose readers wait for all processes: some files are read by process 0 alone.
    return _guarded(item, lambda: json.loads((item / filename).read_text(encoding="utf-8")))


def json_digest(value: Any) -> str:
    """Return the SHA-256 of ``value`` as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _guarded(item: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(f"{item} cannot be read") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _whole(leaf: Any) -> np.ndarray:
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return np.asarray(leaf)
    if leaf.is_fully_replicated:
        return np.asarray(leaf.addressable_data(0))
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))


def _digest(value: np.ndarray) -> dict[str, Any]:
    digest = hashlib.sha256(np.ascontiguousarray(value).view(np.uint8).data)
    return {"shape": list(value.shape), "dtype": str(value.dtype), "sha256": digest.hexdigest()}
