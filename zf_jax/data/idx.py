"""Read MNIST's idx files of grey images as binary images, by a fixed threshold."""

from __future__ import annotations

import gzip
import os
import struct
import zlib

import numpy as np

from zf_jax.data.dataset import DataError
from zf_jax.data.prepared.folders import check_regular, unreadable

_FILES = ("train-images", "t10k-images")
_THRESHOLD = 128


def find_idx(folder: str) -> tuple[str, str] | None:
    """Return the paths of MNIST's training and test images in a folder, or None if a file is missing."""
    found = []
    for name in _FILES:
        forms = (f"{name}{dot}idx3-ubyte{end}" for dot in "-." for end in ("", ".gz"))
        paths = [os.path.join(folder, form) for form in forms]
        found += [path for path in paths if os.path.isfile(path)][:1]
    return (found[0], found[1]) if len(found) == 2 else None


def read_idx_splits(train: str, test: str, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return the three splits, uint8 ``[N, pixels]`` each; valid is the last sixth of the training images."""
    images = read_idx(train, shape)
    left = len(images) - len(images) // 6
    return {"train": images[:left], "valid": images[left:], "test": read_idx(test, shape)}


def read_idx(path: str, shape: tuple[int, int]) -> np.ndarray:
    """Return the images of an idx file, uint8 ``[N, pixels]``; a grey value of 128 or more, of 255, is 1.

    Args:
      path: an idx file, plain or .gz.
      shape: the rows and columns of an image.

    Raises:
      DataError: the file is unreadable or damaged, or holds images of another shape.
    """
    check_regular(path)
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            head = file.read(16)
            if len(head) < 16 or head[:4] != b"\0\0\x08\x03":
                raise DataError(path, "is not an idx file of images", "copy the file again from its source")
            number, rows, columns = struct.unpack(">III", head[4:])
            if (rows, columns) != shape:
                what = f"holds images of {rows} x {columns} pixels where {shape[0]} x {shape[1]} belong"
                raise DataError(path, what, f"pass image_shape=({rows}, {columns})")
            blocks, there = [], 0
            # Read in blocks: a damaged header may state more images than memory can hold.
            while block := file.read(1 << 20):
                blocks.append((np.frombuffer(block, np.uint8) >= _THRESHOLD).astype(np.uint8))
                there += len(block)
                if there > number * rows * columns:
                    break
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(path, f"is damaged ({error})", "copy the file again from its source") from None
    except OSError as error:
        raise unreadable(path, error) from None
    if there != number * rows * columns or not number:
        what = f"holds {there} bytes of images where its header says {number} of {rows} x {columns}"
        raise DataError(path, what, "copy the file again from its source")
    return np.concatenate(blocks).reshape(number, rows * columns)
