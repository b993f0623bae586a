"""What orbax prints that says nothing to a user, or says what it raises too."""

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


@contextlib.contextmanager
def no_word_of_metadata() -> Iterator[None]:
    """Leave out orbax's warning that a file is absent which no checkpoint of several items has."""
    logger = logging.getLogger("absl")
    logger.addFilter(_is_not_of_metadata)
    try:
        yield
    finally:
        logger.removeFilter(_is_not_of_metadata)


def _is_not_of_metadata(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Metadata file does not exist")


def _is_no_orbax_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR or "orbax" not in Path(record.pathname).parts
