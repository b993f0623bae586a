"""Pieces and whole recordings, cut out of stored blocks of samples as they are asked for.

A recording is a run of records of ``BLOCK`` samples, so that a half-second piece is one short read at a random place
and nothing has to fit in memory.
"""

from __future__ import annotations

import numpy as np

from zf_jax.data.sources import frame_example
from zf_jax.protocols import Example
from zf_jax.typing import DataProtocol

BLOCK = 8000  # samples a record: 40 frames of 200, the paper's half second at 16 kHz
KEPT_BLOCKS = 32_000  # a split keeps so many in memory once read: 512 MB, four and a half hours at 16 kHz


class Blocks:
    """The blocks of a split; what was read is kept while there is room, and read again beyond that.

    Nothing is evicted: under shuffling all blocks are equally likely to be read next.
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
    """Sequences of normalised frames, cut out of blocks of samples as they are asked for.

    Args:
      blocks: int16 samples by number, each ``[BLOCK]`` but a recording's last.
      samples: the length of every recording, ``[R]``.
      frame_size: samples a frame.
      piece_frames: frames a sequence at most; None for whole recordings.
      protocol: ``full`` or ``srnn``.
      mean: subtracted from the integer samples.
      std: divided by.
    """

    def __init__(
        self, blocks, samples, *, frame_size: int, piece_frames: int | None, protocol: DataProtocol, mean, std
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
        self.pieces_too_short = int((~scored).sum())  # under srnn, a piece of one frame has nothing to score
        self.recording, self._start, self._size = self.recording[scored], self._start[scored], self._size[scored]
        self.lengths = self._size - given
        self.samples_after_last_frame = int((samples % frame_size).sum())
        self.recordings_too_short = int((frames <= given).sum())

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Example:
        samples = self.read(index).astype(np.float32)
        frames = (samples - self._mean) * self._scale
        return frame_example(frames.reshape(-1, self._frame_size), self._protocol)

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
