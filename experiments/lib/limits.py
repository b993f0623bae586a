"""How many sequences the memory can hold at once."""

from __future__ import annotations

from experiments.lib.cli import UserError
from zf_jax.data import DataSet
from zf_jax.memory import physical_memory


def check_rows(name: str, rows: int, data: DataSet, split: str, steps: int = 0) -> None:
    """Refuse more sequences at once than fit into the memory, before they are made.

    Args:
      name: the flag or field that sets ``rows``.
      split: of the data, whose longest sequence the others are padded to.
      steps: of a sequence, in place of the longest.

    Raises:
      UserError: their numbers alone, four bytes each, take more than the memory has.
    """
    steps = steps or int(max(data.split(split).lengths, default=0))
    needed = 4 * rows * steps * (data.observation.size if data.observation.kind == "frames" else 1)
    there = physical_memory()
    if needed > there:
        raise UserError(f"{name}={rows}: the sequences take {needed:,} bytes, and the memory has {there:,}")
