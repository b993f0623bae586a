"""One training at a time in a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from zf_jax.locks import lock


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Make the folder if it is missing, and keep other trainings out of it.

    Raises:
      BlockingIOError: another training is in the folder.
      OSError: the folder cannot be made or written.
    """
    path.mkdir(parents=True, exist_ok=True)
    with open(path / ".training", "w", encoding="utf-8") as file:
        lock(file, wait=False)
        yield
