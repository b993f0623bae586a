"""Read and validate one mono audio file as 16-bit samples.

Values are integers on the 16-bit scale, also for files of another depth, so that "raw units" and the quantisation step
are the same for all data (rule A11).  soundfile decodes WAV, AIFF, FLAC, NIST SPHERE, Ogg and MP3; soxr resamples.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zf_jax.data.dataset import DataError, Option
from zf_jax.data.prepared.folders import check_regular, unreadable
from zf_jax.data.speech.containers import check_whole
from zf_jax.extras import needs

AUDIO_SUFFIXES = (".wav", ".flac", ".sph", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
_FULL_SCALE = 32768.0
_BLOCK = 1 << 16  # samples decoded at a time
_MOST_CLIPPED = 0.01  # of a file's samples
_HIGHEST_PEAK = 2.0  # times full scale: 6 dB


class Recording(NamedTuple):
    """One file of a set: the path, the path relative to the set's folder as a name, the speaker and the split."""

    path: str
    name: str
    speaker: str
    split: str


class Audio(NamedTuple):
    """Facts about a decoded file: the rate in Hz after resampling, the count of samples and of clipped samples."""

    rate: int
    samples: int
    clipped: int


def is_audio(path: str) -> bool:
    """Return whether a path ends in one of ``AUDIO_SUFFIXES``."""
    return path.lower().endswith(AUDIO_SUFFIXES)


def without_audio_suffix(name: str) -> str:
    """Return a name without the audio suffixes at the end (``a.WAV.wav`` gives ``a``)."""
    while is_audio(name):
        name = os.path.splitext(name)[0]
    return name


def read_audio(
    path: str, sample_rate: int | None, *, resample: bool = False, downmix: bool = False
) -> tuple[np.ndarray, int]:
    """Return the samples of a file, int16 ``[N]``, and the rate in Hz; arguments and errors as for ``decode``."""
    blocks: list[np.ndarray] = []
    decoding = decode(path, sample_rate, resample=resample, downmix=downmix)
    while True:
        try:
            blocks.append(next(decoding))
        except StopIteration as stop:
            return np.concatenate(blocks), stop.value.rate


def decode(
    path: str, sample_rate: int | None, *, resample: bool = False, downmix: bool = False
) -> Generator[np.ndarray, None, Audio]:
    """Yield the samples of a file in blocks of int16 ``[n]``; return facts about the whole file.

    The error of a bad file may come after the last block.  In that case the caller must discard the blocks.

    Args:
      path: a file that libsndfile reads.
      sample_rate: the wanted sample rate in Hz; None for the file's own.
      resample: convert files of another sample rate; if False, another sample rate is an error.
      downmix: average the channels of a file with several; if False, several channels are an error.

    Raises:
      DataError: the file is unreadable, not audio, truncated, empty or constant, has several channels or another
        sample rate, or is not on the scale of -1 to 1.
    """
    check_regular(path)
    try:
        if os.path.getsize(path) == 0:
            raise DataError(path, "is an empty file", "copy the file again from its source")
        check_whole(path)
    except OSError as error:
        raise unreadable(path, error) from None
    source = _Source(path, sample_rate, resample, downmix)
    lowest, highest, count = 1 << 15, -(1 << 15), 0
    for samples in _resampled(source, path, sample_rate):
        whole = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
        if whole.size:
            lowest, highest, count = min(lowest, int(whole.min())), max(highest, int(whole.max())), count + whole.size
            yield whole
    if source.decoded == 0:
        raise DataError(path, "holds no samples", "replace or remove the file")
    if source.peak > _HIGHEST_PEAK or source.clipped > _MOST_CLIPPED * source.decoded:
        share = 100.0 * source.clipped / source.decoded
        raise DataError(
            path,
            f"is not on the scale of -1 to 1: its samples reach {source.peak:.4g}, and {share:.4g}% are beyond 1",
            "divide the samples by full scale (32768 for 16 bits), or lower the volume",
        )
    if count == 0:
        raise DataError(path, f"is too short to be resampled to {sample_rate} Hz", "remove the file")
    if lowest == highest:
        raise DataError(path, f"is constant: every sample is {lowest}", "replace or remove the file")
    return Audio(sample_rate or source.rate, count, source.clipped)


class _Source:
    """Iterate over the decoded blocks of one file, float64 ``[n]`` of one channel, and count the samples.

    Attributes:
      rate: the file's sample rate in Hz.
      decoded: the number of samples so far.
      clipped: the number of samples so far whose absolute value is above 1.
      peak: the largest absolute value so far.
    """

    def __init__(self, path: str, sample_rate: int | None, resample: bool, downmix: bool):
        self._path, self._wanted, self._resample, self._downmix = path, sample_rate, resample, downmix
        self.rate, self.decoded, self.clipped, self.peak = 0, 0, 0, 0.0

    def __iter__(self) -> Iterator[np.ndarray]:
        path, expected = self._path, 0
        try:
            with _open(path) as file:
                self.rate = int(file.samplerate)
                self._check_form(file.channels)
                expected = file.frames
                size = max(1, _BLOCK // file.channels)
                while True:
                    # float64 holds 16-bit and 24-bit integers exactly, and puts files of floats on the same scale.
                    block = file.read(size, dtype="float64", always_2d=True)
                    if not len(block):
                        break
                    yield self._checked(block)
        except DataError:
            raise
        except Exception as error:  # decoders raise many kinds of error
            what = f"cannot be decoded as audio ({_reason(error)})"
            raise DataError(path, what, "replace or remove the file") from None
        # An encoder that writes into a pipe cannot know the count, and writes 0 or the largest number.
        if 0 < expected < 1 << 62 and self.decoded != expected:
            what = f"is truncated: {self.decoded} samples where its header says {expected}"
            raise DataError(path, what, "copy the file again")

    def _check_form(self, channels: int) -> None:
        if channels != 1 and not self._downmix:
            what = f"has {channels} channels instead of one"
            raise DataError(self._path, what, Option("downmix", True, "to average them"))
        if self._wanted and self.rate != self._wanted and not self._resample:
            what = f"is sampled at {self.rate} Hz instead of {self._wanted} Hz"
            raise DataError(self._path, what, Option("resample", True), Option("sample_rate"))

    def _checked(self, block: np.ndarray) -> np.ndarray:
        if not np.isfinite(block).all():
            raise DataError(self._path, "holds samples that are NaN or infinite", "replace or remove the file")
        samples = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        size = np.abs(samples)
        self.decoded += len(samples)
        self.clipped += int((size > 1.0).sum())
        self.peak = max(self.peak, float(size.max()))
        return samples


def _resampled(source: _Source, path: str, sample_rate: int | None) -> Iterator[np.ndarray]:
    """Yield the blocks of a source at ``sample_rate``."""
    stream = None
    for samples in source:
        if not sample_rate or source.rate == sample_rate:
            yield samples
            continue
        if stream is None:
            with needs("data"):
                import soxr
            stream = soxr.ResampleStream(source.rate, sample_rate, 1, dtype="float64", quality="HQ")
        yield stream.resample_chunk(samples)
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0), last=True)


def common_rate(recordings: Sequence[Recording]) -> int:
    """Return the sample rate in Hz of the first readable recording; ``DataError`` if no recording is readable."""
    soundfile = _soundfile()
    for recording in recordings:
        try:
            check_regular(recording.path)
            return int(soundfile.info(os.fsencode(recording.path)).samplerate)
        except (RuntimeError, OSError, DataError):
            continue
    what = "cannot be decoded as audio, and neither can any other file of the set"
    raise DataError(recordings[0].path, what, "pass a folder of WAV or FLAC files")


def same_sound(one: str, other: str) -> bool:
    """Return whether two audio files decode to the same samples; False if a file cannot be decoded."""
    try:
        with _open(one) as first, _open(other) as second:
            if (first.frames, first.channels, first.samplerate) != (second.frames, second.channels, second.samplerate):
                return False
            while True:
                blocks = [file.read(_BLOCK // file.channels + 1, dtype="float64") for file in (first, second)]
                if not np.array_equal(blocks[0], blocks[1]):
                    return False
                if not len(blocks[0]):
                    return True
    except (RuntimeError, ValueError, OSError):
        return False


def _soundfile() -> Any:
    try:
        with needs("data"):
            import soundfile
    except OSError:  # the C library under it
        raise DataError("", "audio needs the C library libsndfile", "install it with the system's packages") from None
    return soundfile


def _open(path: str) -> Any:
    """Open an audio file to be read from front to back."""

    class Forward(_soundfile().SoundFile):
        def seekable(self) -> bool:
            return False  # soundfile seeks after every read, which fails for a FLAC of unknown length

    return Forward(os.fsencode(path))  # as bytes, because a name need not be UTF-8


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).strip().rstrip(".") or "unknown format"
