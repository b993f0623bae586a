"""Compare the length of sound in an audio file's header with the file's size.

libsndfile reads a truncated file without an error.  RIFF, RIFX, RF64, Wave64, AIFF, AU and NIST SPHERE are checked;
decoders of other formats detect the end of the stream.
"""

from __future__ import annotations

import os
import re
import struct
from typing import BinaryIO

from zf_jax.data.dataset import DataError

_MOST_CHUNKS = 10_000


def check_whole(path: str) -> None:
    """Raise ``DataError`` if the header states more sound than the file holds, or was never finished."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(1024)
        kind = head[:4]
        if kind in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
            _check_riff(path, file, size, ">" if kind == b"RIFX" else "<")
        elif kind == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            _check_aiff(path, file, size)
        elif kind == b"riff" and head[24:28] == b"wave":
            _check_wave64(path, file, size)
        elif kind == b".snd" and len(head) >= 12:
            start, promised = struct.unpack(">II", head[4:12])
            _check(path, size - start, promised, closed=False)
        elif head[:7] == b"NIST_1A":
            _check_sphere(path, head, size)


def _check(path: str, there: int, promised: int, *, closed: bool) -> None:
    """Compare the number of bytes of sound with the number in the header.

    ``closed`` states that the header's total size equals the file's size, so that a length of 0 is no error.
    """
    if promised == 0 and there > 0 and not closed:
        raise DataError(
            path,
            f"has a header that was never finished: the header states 0 bytes of sound, and {there} bytes follow",
            "rewrite the header, for example with ffmpeg -i IN OUT.wav",
        )
    if promised > there and not _is_placeholder(promised):
        raise _truncated(path, max(there, 0), promised)


def _is_placeholder(size: int) -> bool:
    """Whether a size is a placeholder of a program that writes into a pipe: about 2^31, about 2^32, or 2^62 and up."""
    return any(abs(size - limit) <= 1 << 16 for limit in (1 << 31, 1 << 32)) or size >= 1 << 62


def _check_riff(path: str, file: BinaryIO, size: int, order: str) -> None:
    file.seek(4)
    (whole,) = struct.unpack(order + "I", file.read(4))
    long_size = None
    place = 12
    for _ in range(_MOST_CHUNKS):
        if place + 8 > size:
            break
        file.seek(place)
        kind, length = struct.unpack(order + "4sI", file.read(8))
        if kind == b"ds64":
            body = file.read(16)
            long_size = struct.unpack("<Q", body[8:16])[0] if len(body) == 16 else None
        if kind == b"data":
            if long_size is not None and length == 0xFFFFFFFF:
                length = long_size
            _check(path, size - place - 8, length, closed=whole + 8 == size)
            return
        place += 8 + length + (length & 1)
    raise DataError(path, "is truncated: the file ends before the sound begins", "copy the file again")


def _check_aiff(path: str, file: BinaryIO, size: int) -> None:
    file.seek(4)
    (whole,) = struct.unpack(">I", file.read(4))
    place = 12
    for _ in range(_MOST_CHUNKS):
        if place + 8 > size:
            break
        file.seek(place)
        kind, length = struct.unpack(">4sI", file.read(8))
        if kind == b"SSND":
            _check(path, size - place - 8, length, closed=whole + 8 == size)
            return
        place += 8 + length + (length & 1)
    raise DataError(path, "is truncated: the file ends before the sound begins", "copy the file again")


def _check_wave64(path: str, file: BinaryIO, size: int) -> None:
    place = 40
    for _ in range(_MOST_CHUNKS):
        if place + 24 > size:
            break
        file.seek(place)
        kind, length = struct.unpack("<16sQ", file.read(24))  # the length counts these 24 bytes
        if kind[:4] == b"data":
            _check(path, size - place - 24, max(length - 24, 0), closed=False)
            return
        place += max(length, 24) + -length % 8
    raise DataError(path, "is truncated: the file ends before the sound begins", "copy the file again")


def _check_sphere(path: str, head: bytes, size: int) -> None:
    def field(name: bytes, default: int) -> int:
        found = re.search(rb"\n" + name + rb" -i (\d{1,18})", head)
        return int(found.group(1)) if found else default

    coding = re.search(rb"\nsample_coding -s\d+ (\S+)", head)
    if coding and b"shorten" in coding.group(1):
        raise DataError(path, "is compressed with shorten", "convert the file with sph2pipe -f rif IN OUT first")
    header = int(head[8:16]) if head[8:16].strip().isdigit() else 1024
    promised = field(b"sample_count", 0) * field(b"sample_n_bytes", 2) * field(b"channel_count", 1)
    if header + promised > size:
        raise _truncated(path, max(0, size - header), promised)


def _truncated(path: str, there: int, promised: int) -> DataError:
    what = f"is truncated: {there} bytes of sound where its header says {promised}"
    return DataError(path, what, "copy the file again")
