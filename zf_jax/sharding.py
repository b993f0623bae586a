"""Shard batches over one mesh axis of all devices of all processes; parameters are replicated.

``jit`` runs over global arrays with a ``NamedSharding``, so that sums over the batch become collectives.  No other
module of the library depends on the number of devices.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from zf_jax.typing import Batch

DATA_AXIS = "data"
LARGE = 2**16  # elements from which an array is divided among the devices


def data_mesh(devices: Any = None) -> Mesh:
    """Return a one-dimensional mesh over ``devices``, by default all devices of all processes."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.asarray(devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding that puts the whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_row(mesh: Mesh) -> NamedSharding:
    """Return the sharding that divides the first axis among the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def stacked_by_row(mesh: Mesh) -> NamedSharding:
    """Return the sharding that divides the second axis, the rows of stacked batches, among the devices."""
    return NamedSharding(mesh, PartitionSpec(None, DATA_AXIS))


def divided(shapes: Any, mesh: Mesh) -> Any:
    """Return a sharding for each leaf of ``shapes``: large arrays are divided among the devices, others are whole.

    The axis that is divided is the longest that the number of devices divides.

    Args:
      shapes: a tree of arrays or ``jax.ShapeDtypeStruct``.
    """

    def one(leaf: Any) -> NamedSharding:
        axes = [axis for axis, size in enumerate(leaf.shape) if size % mesh.size == 0]
        if leaf.size < LARGE or not axes:
            return replicated(mesh)
        axis = max(axes, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, DATA_AXIS))

    return jax.tree.map(one, shapes)


def check_batch_size(batch_size: int, mesh: Mesh, pieces: int = 1) -> None:
    """Raise ``ValueError`` if ``batch_size`` is not a positive multiple of devices times ``pieces``."""
    if batch_size < 1 or batch_size % mesh.size:
        raise ValueError(f"a batch of {batch_size} rows cannot be divided among {mesh.size} devices: choose a multiple")
    if batch_size % (mesh.size * pieces):
        raise ValueError(
            f"a batch of {batch_size} rows cannot be divided into accumulate={pieces} pieces on {mesh.size} devices: "
            f"choose a multiple of {mesh.size * pieces}"
        )


def rows_for(rows: int, mesh: Mesh) -> int:
    """Return ``rows``, rounded up to a multiple of the number of devices."""
    return -(-rows // mesh.size) * mesh.size


def global_batch(batch: Batch | Any, mesh: Mesh) -> Any:
    """Return the global batch, assembled from this process's rows; every leaf is numpy, ``[b, ...]``."""
    sharding = by_row(mesh)
    return jax.tree.map(functools.partial(jax.make_array_from_process_local_data, sharding), batch)


def global_batches(batches: Sequence[Batch], mesh: Mesh) -> Batch:
    """Return N global batches of one shape, stacked as ``[N, B, T, ...]``, from this process's rows of each."""

    def assemble(*leaves):
        return jax.make_array_from_process_local_data(stacked_by_row(mesh), np.stack(leaves))

    return jax.tree.map(assemble, *batches)


def to_host(tree: Any) -> Any:
    """Return numpy copies of global arrays, on every process."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)


def any_process(mine: bool) -> bool:
    """Return whether ``mine`` is true in any process; all processes must call this function together."""
    if jax.process_count() == 1:
        return mine
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(mine))))


def from_first(numbers: Sequence[int]) -> list[int]:
    """Return the ``numbers``, below 2**31, of process 0; all processes must call this function together."""
    if jax.process_count() == 1:
        return list(numbers)
    from jax.experimental import multihost_utils

    return [int(number) for number in multihost_utils.broadcast_one_to_all(np.asarray(numbers, np.int32))]


def wait_for_all(name: str) -> None:
    """Wait until all processes have reached the barrier ``name``."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def initialize_distributed(
    coordinator_address: str | None,
    num_processes: int | None,
    process_id: int | None,
    *,
    served: bool = False,
) -> None:
    """Connect this process to the others; call this function before any other use of JAX.

    If all arguments are None, JAX detects the cluster (TPU pods, Slurm, ...).

    Args:
      coordinator_address: ``host:port`` of process 0.
      num_processes: the number of processes.
      process_id: the index of this process, from 0.
      served: another program serves at ``coordinator_address``; otherwise process 0 does.
    """
    # Process 0 always serves; where another program does, nobody comes to this address.
    bind = "127.0.0.1:0" if served and process_id == 0 else None
    jax.distributed.initialize(coordinator_address, num_processes, process_id, coordinator_bind_address=bind)
