"""Read tar archives whole; a damaged archive is an error.

Python's streaming tarfile checks neither gzip's checksum nor the archive's end marker, and treats a damaged header as
the end.  So the stream is decompressed by gzip, bz2 or lzma, which check the data, and is read to the last byte.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

from zf_jax.data.dataset import DataError
from zf_jax.data.prepared.folders import check_regular, unreadable

_MAGIC = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_BLOCK = 1 << 20


class _Member(tarfile.TarInfo):
    """A member of an archive; a damaged header raises an error, whereas tarfile stops without an error."""

    @classmethod
    def fromtarfile(cls, tarfile):
        try:
            return super().fromtarfile(tarfile)
        except _EndMarker:
            raise
        except _BrokenHeader as error:
            raise _Error(f"a header is damaged, or the end marker is missing ({error})") from None


_Error = tarfile.TarError
_EndMarker = tarfile.EOFHeaderError  # type: ignore[attr-defined]
_BrokenHeader = tarfile.HeaderError


def contents(path: str, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, bytes | None]]:
    """Yield (name, content) of the regular members whose names are ``wanted``.

    The content of a member above ``limit`` bytes is None.

    Raises:
      DataError: the archive is unreadable or damaged; the error may come after the last member.
    """
    with _members(path) as archive:
        for member in archive:
            if member.isfile() and wanted(member.name):
                content = archive.extractfile(member) if member.size <= limit else None
                yield member.name, content and content.read()


def unpack(path: str, folder: str) -> None:
    """Unpack an archive below ``folder``; ``DataError`` if a member is a link or would be written elsewhere."""
    top = os.path.realpath(folder)
    with _members(path) as archive:
        # tarfile's own filters exist from Python 3.11.4 on; the check below stands in their place.
        archive.extraction_filter = lambda member, path: member
        for member in archive:
            inside = os.path.commonpath([top, os.path.realpath(os.path.join(top, member.name))]) == top
            if not inside or not (member.isfile() or member.isdir()):
                what = f"holds a member that must not be unpacked ({member.name!r})"
                raise DataError(path, what, "use another copy")
            try:
                archive.extract(member, folder, set_attrs=False)
            except OSError as error:
                if error.errno is None:
                    raise
                what = f"cannot be written ({error.strerror})"
                raise DataError(folder, what, "make room, or choose another folder") from None


@contextlib.contextmanager
def _members(path: str) -> Iterator[tarfile.TarFile]:
    """Open an archive as a stream; after the last member, check the rest of the stream."""
    check_regular(path)
    try:
        with (
            open(path, "rb") as raw,
            _decompressed(raw) as stream,
            tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive,
        ):
            yield archive
            _check_rest(stream, archive)
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from None
    except OSError as error:
        # bz2 reports damage as an OSError without a number.
        raise (_damaged(path, error) if error.errno is None else unreadable(path, error)) from None


def _decompressed(raw: IO[bytes]) -> Any:
    head = raw.read(6)
    raw.seek(0)
    for magic, opener in _MAGIC.items():
        if head.startswith(magic):
            return opener(raw, "rb")
    return raw


def _check_rest(stream: IO[bytes], archive: tarfile.TarFile) -> None:
    """Read to the end of the stream, which checks the checksum; only zeros may follow the end marker."""
    behind = getattr(archive.fileobj, "buf", b"")  # bytes that tarfile has read ahead
    while True:
        if behind.strip(b"\0"):
            raise _Error("data follow the end marker")
        behind = stream.read(_BLOCK)
        if not behind:
            return


def _damaged(path: str, error: Exception) -> DataError:
    what = f"is damaged ({str(error)[:100] or type(error).__name__})"
    return DataError(os.fspath(path), what, "copy the file again from its source")
