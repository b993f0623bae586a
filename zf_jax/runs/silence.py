"""What orbax prints from threads of its own about a write whose error it raises too."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def one_error() -> Iterator[None]:
    """Print neither orbax's logged errors nor those of writes that end after the event loop that began them."""
    heard, logger = sys.unraisablehook, logging.getLogger("absl")

    def hook(problem: Any) -> None:
        if not (isinstance(problem.exc_value, RuntimeError) and str(problem.exc_value) == "Event loop is closed"):
            heard(problem)

    logger.addFilter(_is_no_orbax_error)
    sys.unraisablehook = hook
    try:
        yield
    finally:
        logger.removeFilter(_is_no_orbax_error)
        if sys.unraisablehook is hook:
            sys.unraisablehook = heard


def _is_no_orbax_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR or "orbax" not in Path(record.pathname).parts
