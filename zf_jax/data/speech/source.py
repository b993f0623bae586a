"""Read pieces and whole recordings from stored blocks of samples.

A recording is stored as consecutive records of ``BLOCK`` samples, so a half-second piece is one or two short reads, and
recordings need not fit in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zf_jax.data.sources import frame_example
from zf_jax.protocols import Example
from zf_jax.typing import DataProtocol

BLOCK = 8000  # samples per record: 40 frames of 200, half a second at 16 kHz
KEPT_BLOCKS = 32_000  # blocks of a split kept in memory: 512 MB, four and a half hours at 16 kHz


class Blocks:
    """Read blocks of a split, and keep the first ``KEPT_BLOCKS`` in memory.

    No block is evicted: under shuffling all blocks are equally likely to be read next.
    """

    def __init__(self, records):
        self._records = records
        self._kept: dict[int, np.ndarray] = {}

    def __getitem__(self, number: int) -> np.ndarray:
        block = self._kept.get(number)
        if block is None:
            block = self._records[number]["samples"]
            if len(self._kept) < KEPT_BLOCKS:
                self._kept[number] = block
        return block


class SpeechSource:
    """Read sequences of normalised frames, each when indexed.

    Args:
      blocks: int16 samples by block number, each ``[BLOCK]``; the last block of a recording may be shorter.
      samples: the number of samples of every recording, ``[R]``.
      frame_size: samples per frame.
      piece_frames: the largest number of frames per sequence; None for whole recordings.
      protocol: ``full`` or ``srnn``.
      mean: the mean subtracted from the integer samples.
      std: the standard deviation by which samples are divided.
      names: of the recordings.
    """

    def __init__(
        self,
        blocks,
        samples,
        *,
        frame_size: int,
        piece_frames: int | None,
        protocol: DataProtocol,
        mean,
        std,
        names: Sequence[str] | None = None,
    ):
        self._blocks, self._frame_size = blocks, frame_size
        self._protocol: DataProtocol = protocol
        self._mean, self._scale = np.float32(mean), np.float32(1.0 / std)
        samples = np.asarray(samples, np.int64)
        held = -(-samples // BLOCK)
        self._first_block = np.cumsum(held) - held
        frames = samples // frame_size
        given = 1 if protocol == "srnn" else 0
        recording, start, size = [], [], []
        for index, total in enumerate(frames):
            step = piece_frames or max(int(total), 1)
            for begin in range(0, int(total), step):
                recording.append(index)
                start.append(begin)
                size.append(min(step, int(total) - begin))
        self.recording = np.array(recording, np.int64)
        self._start, self._size = np.array(start, np.int64), np.array(size, np.int64)
        scored = self._size > given
        self.pieces_too_short = int((~scored).sum())  # under srnn, the first frame is not scored
        self.recording, self._start, self._size = self.recording[scored], self._start[scored], self._size[scored]
        self.lengths = self._size - given
        self._names, self._in_pieces = names, piece_frames is not None
        self.samples_after_last_frame = int((samples % frame_size).sum())
        self.recordings_too_short = int((frames <= given).sum())

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Example:
        samples = self.read(index).astype(np.float32)
        frames = (samples - self._mean) * self._scale
        return frame_example(frames.reshape(-1, self._frame_size), self._protocol)

    @property
    def names(self) -> list[str] | None:
        """The recording of every sequence, and of a piece its frames: "NAME[40:80]"."""
        if self._names is None:
            return None
        names = [self._names[int(recording)] for recording in self.recording]
        if not self._in_pieces:
            return names
        pieces = zip(names, self._start, self._size, strict=True)
        return [f"{name}[{start}:{start + size}]" for name, start, size in pieces]

    def read(self, index: int) -> np.ndarray:
        """Return the integer samples of a sequence, int16 ``[frames * frame_size]``."""
        begin = int(self._start[index]) * self._frame_size
        end = begin + int(self._size[index]) * self._frame_size
        first = int(self._first_block[self.recording[index]])
        numbers = range(begin // BLOCK, -(-end // BLOCK))
        blocks = [self._blocks[first + number] for number in numbers]
        joined = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        offset = numbers[0] * BLOCK
        return joined[begin - offset : end - offset]
