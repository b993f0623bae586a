"""The counts of data that a data set leaves out, as lines to print."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_SHOWN = 10
_LEFT_OUT = re.compile("left_out|not_read|not_scored|too_short|skipped|clipped|outside|without|copies")


def left_out(counts: Mapping[str, Any], of: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and value of every count of data left out or clipped, and the names of the first bad files."""
    for name, value in counts.items():
        if isinstance(value, Mapping):
            yield from left_out(value, f"{of}{name}: ")
        elif name == "bad_files":
            yield from ((f"{of}bad file", file) for file in value[:_SHOWN])
            if len(value) > _SHOWN:
                yield f"{of}further bad files", len(value) - _SHOWN
        elif value and _LEFT_OUT.search(name):
            if isinstance(value, (list, tuple)):
                value = f"{len(value)}: {', '.join(value)}"
            yield of + name.replace("_", " "), value
