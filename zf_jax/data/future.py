"""Read what is given beside steps that are still to come: the context after the end of sequences."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np

from zf_jax.context import check_row
from zf_jax.data.dataset import DataError
from zf_jax.data.description import DataDescription
from zf_jax.data.prepared.npz import open_npz
from zf_jax.data.tables import holds_tables, read_tables


def read_future_context(path: str, data: DataDescription, **options: Any) -> dict[str, np.ndarray]:
    """Return the context to come of each sequence by the sequence's name, ``[k_i, K]`` in its own units.

    Args:
      path: tables with the columns of context, in the form of the run's own tables; or an npz file, or the folder of
        arrays.npz, with ``context`` ``[N, k, K]`` and, where the sequences have names, ``names`` ``[N]``.
      data: what the run's data are.
      **options: those of the run's data; of tables ``context_columns``, ``sequence_column`` and ``order_column``.

    Raises:
      DataError: the file is missing, damaged, or holds something else.
    """
    if not os.path.exists(path):
        raise DataError(path, "does not exist", "give a file or folder of the context to come")
    if holds_tables(path):
        columns = options.get("context_columns")
        if not columns:
            raise DataError(path, "holds tables, and the run's context came from an npz file", "give an npz file")
        reading: dict[str, Any] = {name: options.get(name) or "" for name in ("sequence_column", "order_column")}
        found = read_tables(path, columns=columns, **reading)
        return dict(zip(found.names, found.values, strict=True))
    if os.path.isdir(path):
        path = os.path.join(path, "arrays.npz")
    with open_npz(path) as arrays:
        if "context" not in arrays:
            raise DataError(path, "lacks context", "it must hold context [N, k, K]")
        context, names = arrays["context"], arrays.get("names")
    if context.ndim != 3:
        raise DataError(path, f"holds context {context.dtype} {list(context.shape)}, and it must be [N, k, K]")
    names = [str(index) for index in range(len(context))] if names is None else names.astype(str).tolist()
    if len(names) != len(context):
        raise DataError(path, f"holds {len(names)} names and {len(context)} contexts", "give one name each")
    ((most, count),) = Counter(names).most_common(1) or [("", 0)]
    if count > 1:
        raise DataError(path, f"holds {count} contexts called {most!r}", "give each sequence a name of its own")
    for index, row in enumerate(context):
        try:
            check_row(f"context[{index}]", row, context.shape[1], data.observation.context)
        except ValueError as error:
            raise DataError(path, f": {error}") from None
    return dict(zip(names, context.astype(np.float64), strict=True))
