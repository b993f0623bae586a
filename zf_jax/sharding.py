"""Data parallelism: one mesh axis over all devices of all processes, batches cut along it, parameters everywhere.

The programs are written in the global view: ``jit`` over arrays with a ``NamedSharding``.  Sums over the batch
become collectives, and nothing else in the library knows how many devices there are.
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


def data_mesh(devices: Any = None) -> Mesh:
    """A one-dimensional mesh over all devices of all processes, or over those given."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.asarray(devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_row(mesh: Mesh) -> NamedSharding:
    """The first axis cut into one piece a device."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def stacked_by_row(mesh: Mesh) -> NamedSharding:
    """The second axis cut into one piece a device: every batch of a stack as one alone is."""
    return NamedSharding(mesh, PartitionSpec(None, DATA_AXIS))


def check_batch_size(batch_size: int, mesh: Mesh, pieces: int = 1) -> None:
    """Raise ``ValueError`` where the rows of a global batch, or of each of its pieces, cannot be shared evenly."""
    if batch_size < 1 or batch_size % mesh.size:
        raise ValueError(
            f"a batch of {batch_size} cannot be shared by {mesh.size} devices: choose a multiple of their number"
        )
    if batch_size % (mesh.size * pieces):
        raise ValueError(
            f"a batch of {batch_size} cannot be cut into accumulate={pieces} pieces that {mesh.size} devices share: "
            f"choose a multiple of {mesh.size * pieces}"
        )


def rows_for(rows: int, mesh: Mesh) -> int:
    """Return the least number of rows from ``rows`` on that the devices can share evenly."""
    return -(-rows // mesh.size) * mesh.size


def global_batch(batch: Batch | Any, mesh: Mesh) -> Any:
    """Assemble the global batch from the rows this process holds; every leaf ``[b, ...]`` numpy."""
    sharding = by_row(mesh)
    return jax.tree.map(functools.partial(jax.make_array_from_process_local_data, sharding), batch)


def global_batches(batches: Sequence[Batch], mesh: Mesh) -> Batch:
    """Assemble N global batches of one shape, ``[N, B, T, ...]``, from the rows this process holds of each."""

    def assemble(*leaves):
        return jax.make_array_from_process_local_data(stacked_by_row(mesh), np.stack(leaves))

    return jax.tree.map(assemble, *batches)


def to_host(tree: Any) -> Any:
    """Numpy copies of global arrays, on every process."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)


def any_process(mine: bool) -> bool:
    """Return whether ``mine`` is true in any process; all processes must call together."""
    if jax.process_count() == 1:
        return mine
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(mine))))


def wait_for_all(name: str) -> None:
    """Return when all processes have come to the barrier ``name``."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def initialize_distributed(coordinator_address: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Join the other processes; call before any other use of JAX.

    With all arguments None the cluster is found by itself (TPU pods, Slurm, ...).
    """
    jax.distributed.initialize(coordinator_address, num_processes, process_id)
