"""Read and validate one mono audio file as 16-bit samples.

Values are integers on the 16-bit scale whatever the file's own depth, so that "raw units" and the quantisation step
mean the same everywhere (rule A11).  soundfile decodes (RIFF, FLAC, NIST SPHERE), soxr resamples.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zf_jax.data.dataset import DataError

AUDIO_SUFFIXES = (".wav", ".flac", ".sph")
_FULL_SCALE = 32768.0


class Recording(NamedTuple):
    """One file of a set: its path, a name that does not depend on where the set lies, its speaker and its split."""

    path: str
    name: str
    speaker: str
    split: str


def is_audio(path: str) -> bool:
    """Return whether a file's name says that it is audio."""
    return path.lower().endswith(AUDIO_SUFFIXES)


def read_audio(path: str, sample_rate: int | None, *, resample: bool = False) -> tuple[np.ndarray, int]:
    """Return the samples of a mono file, int16 ``[N]``, and their rate in Hz.

    Args:
      path: a WAV, FLAC or SPHERE file.
      sample_rate: the rate wanted; None takes the file's own.
      resample: convert other rates; otherwise another rate is an error.

    Raises:
      DataError: the file is no audio, truncated, stereo, of another rate, empty, or constant throughout.
    """
    soundfile = _soundfile()
    if os.path.getsize(path) == 0:
        raise DataError(f"{path} is an empty file: copy it again from its source")
    _check_whole(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels, expected = file.samplerate, file.channels, file.frames
            if channels != 1:
                raise DataError(f"{path} has {channels} channels where one belongs: mix it down to mono first")
            if sample_rate is not None and rate != sample_rate and not resample:
                raise DataError(
                    f"{path} is sampled at {rate} Hz where {sample_rate} Hz belong: "
                    "pass --config.data.resample=True, or set --config.data.sample_rate"
                )
            # float64 holds 16 and 24 bit integers exactly, and scales floating-point files like all others.
            samples = file.read(dtype="float64")
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path} cannot be decoded as audio ({_reason(error)}): replace it or remove it") from None
    if samples.size < expected:
        raise DataError(f"{path} is truncated: {samples.size} samples where its header says {expected}; copy it again")
    if samples.size == 0:
        raise DataError(f"{path} holds no samples: replace it or remove it")
    if not np.isfinite(samples).all():
        raise DataError(f"{path} holds samples that are not numbers: replace it or remove it")
    if sample_rate is not None and rate != sample_rate:
        try:
            import soxr
        except ImportError:
            raise DataError("resampling needs the package soxr: pip install soxr") from None
        samples, rate = soxr.resample(samples, rate, sample_rate, quality="HQ"), sample_rate
    whole = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    if whole.size == 0:
        raise DataError(f"{path} is too short to be resampled to {sample_rate} Hz: remove it")
    if (whole == whole[0]).all():
        raise DataError(f"{path} is constant throughout, every sample is {int(whole[0])}: replace it or remove it")
    return whole, int(rate)


def common_rate(recordings: Sequence[Recording]) -> int:
    """Return the sample rate, in Hz, of the first readable recording: what a folder of files is expected to share."""
    soundfile = _soundfile()
    for recording in recordings:
        try:
            return int(soundfile.info(recording.path).samplerate)
        except (RuntimeError, OSError):
            continue
    raise DataError(
        f"{recordings[0].path} cannot be decoded as audio, nor can any file beside it: give a folder of WAV files"
    )


def _check_whole(path: str) -> None:
    """Raise where a RIFF or SPHERE header promises more than the file holds: libsndfile would shorten it in silence."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(1024)
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            _check_riff(path, file, size)
        elif head[:7] == b"NIST_1A":
            _check_sphere(path, head, size)


def _check_riff(path: str, file, size: int) -> None:
    place = 12
    while place + 8 <= size:
        file.seek(place)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind == b"data":
            # 0xFFFFFFFF is what a program writes that cannot know the length; such a file ends where it ends.
            if length != 0xFFFFFFFF and place + 8 + length > size:
                raise _truncated(path, size - place - 8, length)
            return
        place += 8 + length + (length & 1)
    raise DataError(f"{path} is truncated: it ends before its sound begins; copy it again")


def _check_sphere(path: str, head: bytes, size: int) -> None:
    def field(name: bytes, default: int) -> int:
        found = re.search(rb"\n" + name + rb" -i (\d+)", head)
        return int(found.group(1)) if found else default

    coding = re.search(rb"\nsample_coding -s\d+ (\S+)", head)
    if coding and b"shorten" in coding.group(1):
        raise DataError(f"{path} is compressed with shorten: convert it with sph2pipe -f rif IN OUT first")
    header = int(head[8:16]) if head[8:16].strip().isdigit() else 1024
    promised = field(b"sample_count", 0) * field(b"sample_n_bytes", 2) * field(b"channel_count", 1)
    if header + promised > size:
        raise _truncated(path, max(0, size - header), promised)


def _soundfile():
    try:
        import soundfile
    except (ImportError, OSError):  # the package, or the C library under it
        raise DataError("audio needs the package soundfile: pip install soundfile") from None
    return soundfile


def _truncated(path: str, there: int, promised: int) -> DataError:
    return DataError(f"{path} is truncated: {there} bytes of sound where its header says {promised}; copy it again")


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).strip().rstrip(".") or "unknown format"
