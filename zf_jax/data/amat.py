"""Read .amat files of binary images: one image per line, 0 or 1 per pixel."""

from __future__ import annotations

import os

import numpy as np

from zf_jax.data.dataset import DataError, Prepare
from zf_jax.data.prepared.folders import read_bytes

SPLITS = ("train", "valid", "test")
_PACKED = (".bz2", ".gz", ".xz", ".zip", ".zst")


def read_amat_splits(folder: str, prefix: str, pixels: int) -> dict[str, np.ndarray]:
    """Return the splits of the .amat files in a folder, uint8 ``[N, pixels]`` each; ``DataError`` if one lacks."""
    paths = {split: os.path.join(folder, f"{prefix}_{split}.amat") for split in SPLITS}
    missing = [os.path.basename(path) for path in paths.values() if not os.path.isfile(path)]
    if missing:
        what = f"holds neither a prepared {prefix} nor idx files nor {', '.join(missing)}"
        packed = [name + end for name in missing for end in _PACKED if os.path.isfile(os.path.join(folder, name + end))]
        if packed:
            raise DataError(folder, f"holds {', '.join(packed)}, which are not read", "unpack them there first")
        remedy = "pass the folder of the three .amat files, of the idx files, or TFDS's data directory"
        raise DataError(folder, what, remedy, Prepare("mnist", True))
    return {split: read_amat(path, pixels) for split, path in paths.items()}


def read_amat(path: str, pixels: int) -> np.ndarray:
    """Return the images of an .amat file, uint8 ``[N, pixels]``; ``DataError`` names the first bad row."""
    raw = np.frombuffer(read_bytes(path), np.uint8)
    if raw.size == 0:
        raise DataError(path, "is empty", "copy the file again from its source")
    width = 2 * pixels  # a digit and a separator per pixel; the last separator is the newline
    if raw.size % width == 0:
        grid = raw.reshape(-1, pixels, 2)
        values, separators = grid[:, :, 0] - ord("0"), grid[:, :, 1]
        plain = (separators[:, -1] == ord("\n")).all() and (separators[:, :-1] == ord(" ")).all()
        if plain and (values <= 1).all():
            return values
    return _read_amat_slowly(path, pixels)


def _read_amat_slowly(path: str, pixels: int) -> np.ndarray:
    """Return the images of an .amat file with any spacing and number format ("1.0"), or raise for the first bad row."""
    rows = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = np.array(line.split(), dtype=np.float64)
            except ValueError:
                raise DataError(
                    path, f", row {number}: a value is not a number", "check that this is an .amat file"
                ) from None
            if row.size != pixels:
                what = f", row {number}: {row.size} values where {pixels} belong"
                raise DataError(path, what, "copy the file again")
            if not np.isin(row, (0.0, 1.0)).all():
                wrong = row[~np.isin(row, (0.0, 1.0))][0]
                raise DataError(
                    path, f", row {number}: the value {wrong:g} is neither 0 nor 1", "binarise the images first"
                )
            rows.append(row.astype(np.uint8))
    return np.stack(rows)
