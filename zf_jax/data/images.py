"""Binary images as sequences of pixels in raster order, or of whole rows: the original .amat files, or sets of TFDS.

A set has two views.  ``pixels``: a token a pixel, top left to bottom right, as the paper has it.  ``rows``: a frame of
binary pixels a row, top to bottom, for a head whose pixels are independent given the state: what the pixels of a row
have to do with each other is then left to the latents.  Both score the same images in the same unit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from zf_jax.data.dataset import DataError, DataSet, Prepare
from zf_jax.data.idx import find_idx, read_idx_splits
from zf_jax.data.prepared.folders import read_bytes
from zf_jax.data.prepared.splits import stable_order
from zf_jax.data.sources import TokenRows, frame_example, token_example
from zf_jax.extras import needs
from zf_jax.protocols import Example, Source
from zf_jax.typing import Observation

PIXEL = Observation("tokens", 2)
SPLITS = ("train", "valid", "test")
View = Literal["pixels", "rows"]


def load_digits(*, data_dir: str | None = None, view: View = "pixels") -> DataSet:
    """Return scikit-learn's 1,797 digits of 8 x 8 pixels, binarised at 8 of 16: 1,297 / 250 / 250, needing no file.

    The split is fixed and the same on every machine; ``data_dir`` is accepted and not needed.

    Args:
      view: ``pixels``, 64 steps of one, or ``rows``, 8 steps of 8.
    """
    del data_dir
    with needs("data"):
        from sklearn.datasets import load_digits as sklearn_digits

    pixels = (sklearn_digits(return_X_y=True)[0] >= 8).astype(np.uint8)
    # The images come grouped by writer, so neighbours are shuffled apart.
    order = stable_order([str(i) for i in range(len(pixels))])
    train, valid, test = np.split(pixels[order], [len(pixels) - 500, len(pixels) - 250])
    return _dataset("digits", dict(zip(SPLITS, (train, valid, test), strict=True)), (8, 8), view)


def load_images(
    *,
    data_dir: str | None = None,
    name: str = "images",
    prefix: str = "binarized_mnist",
    image_shape: Sequence[int] = (28, 28),
    view: View = "pixels",
) -> DataSet:
    """Return a set of binary images, from whichever of these ``data_dir`` holds.

    * ``<prefix>_train.amat``, ``_valid.amat``, ``_test.amat``: one image a row, 0 or 1 a pixel;
    * MNIST's own files, ``train-images-idx3-ubyte`` and ``t10k-images-idx3-ubyte``, as they are or as .gz: a pixel of
      128 or more (of 255) is 1, and the last sixth of the training images is the validation split;
    * a prepared TFDS set called ``<prefix>`` (array_record, feature ``image``), e.g. the stock ``binarized_mnist``;
    * what ``prepare`` made of the first two.

    Args:
      data_dir: the folder of the .amat files, or TFDS's data directory.
      name: the name the set goes by.
      prefix: what the files or the TFDS set are called.
      image_shape: rows and columns; a third number must be 1, the channel.
      view: ``pixels``, or ``rows``: a step a row.

    Raises:
      DataError: nothing is there, a row is ragged, or a value is neither 0 nor 1.
    """
    from zf_jax.data.prepared import folders, store

    rows, columns = _sides(image_shape)
    folder = folders.need_folder(data_dir, name)
    prepared = store.find(folder, name) or store.find_stock(folder, prefix)
    if prepared is not None:
        splits: Mapping[str, Any] = _prepared_rows(prepared, rows * columns)
        return _dataset(name, splits, (rows, columns), view)
    return _dataset(name, read_splits(folder, prefix, (rows, columns)), (rows, columns), view)


def load_mnist(*, data_dir: str | None = None, view: View = "pixels") -> DataSet:
    """Return the fixed binarised MNIST of Larochelle and Murray (2011): 50,000 / 10,000 / 10,000 images of 784 pixels.

    Args:
      view: ``pixels``, 784 steps of one, or ``rows``, 28 steps of 28.
    """
    return load_images(data_dir=data_dir, name="mnist", view=view)


def prepare_images(
    manual_dir: str,
    data_dir: str,
    *,
    name: str = "images",
    prefix: str = "binarized_mnist",
    image_shape: Sequence[int] = (28, 28),
) -> str:
    """Store the .amat or idx files of a folder as array_record under ``data_dir``; return the path; errors as above."""
    with needs("data"):
        import tensorflow_datasets as tfds

    from zf_jax.data.prepared import folders, store

    shape = _sides(image_shape)
    pixels = shape[0] * shape[1]

    def recipe() -> store.Recipe:
        rows = read_splits(folders.need_folder(manual_dir, name), prefix, shape)
        feature = tfds.features.Tensor(shape=(pixels,), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES)
        records = {split: (lambda s=split: _records(rows[s], s)) for split in rows}
        return store.Recipe({"image": feature}, records, lambda _: {})

    return store.prepare(name, recipe, data_dir)


def _sides(image_shape: Sequence[int]) -> tuple[int, int]:
    sides = list(image_shape) if isinstance(image_shape, (tuple, list)) else []
    whole = all(isinstance(side, int) and side > 0 for side in sides)
    if not whole or len(sides) not in (2, 3) or sides[2:] not in ([], [1]):
        raise DataError("", f"image_shape is (rows, columns), such as (28, 28), not {image_shape!r}")
    return sides[0], sides[1]


def _records(rows: np.ndarray, split: str):
    with needs("data"):
        from tqdm import tqdm

    yield from ({"image": row} for row in tqdm(rows, desc=f"writing {split}", unit="image", disable=None))


def read_splits(folder: str, prefix: str, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return the three splits of the idx or .amat files in a folder, uint8 ``[N, pixels]`` each."""
    idx = find_idx(folder)
    return read_idx_splits(*idx, shape) if idx else read_amat_splits(folder, prefix, shape[0] * shape[1])


def read_amat_splits(folder: str, prefix: str, pixels: int) -> dict[str, np.ndarray]:
    """Return the three splits of .amat files in a folder, uint8 ``[N, pixels]`` each; ``DataError`` where one lacks."""
    paths = {split: os.path.join(folder, f"{prefix}_{split}.amat") for split in SPLITS}
    missing = [os.path.basename(path) for path in paths.values() if not os.path.isfile(path)]
    if missing:
        what = f"holds neither a prepared {prefix} nor idx files nor {', '.join(missing)}"
        remedy = "give the folder of the three .amat files, or TFDS's data directory"
        raise DataError(folder, what, remedy, Prepare("mnist", True))
    return {split: read_amat(path, pixels) for split, path in paths.items()}


def read_amat(path: str, pixels: int) -> np.ndarray:
    """Return the rows of an .amat file as uint8 ``[N, pixels]``; ``DataError`` names a ragged row or a wrong value."""
    raw = np.frombuffer(read_bytes(path), np.uint8)
    if raw.size == 0:
        raise DataError(path, "is empty", "copy it again from its source")
    width = 2 * pixels  # a digit and a separator each; the separator of the last pixel is the end of the line
    if raw.size % width == 0:
        grid = raw.reshape(-1, pixels, 2)
        values, separators = grid[:, :, 0] - ord("0"), grid[:, :, 1]
        plain = (separators[:, -1] == ord("\n")).all() and (separators[:, :-1] == ord(" ")).all()
        if plain and (values <= 1).all():
            return values
    return _read_amat_slowly(path, pixels)


def _read_amat_slowly(path: str, pixels: int) -> np.ndarray:
    """The same for files with other spacing or number formats ("1.0"), and the errors that name a row."""
    rows = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = np.array(line.split(), dtype=np.float64)
            except ValueError:
                raise DataError(path, f", row {number}: a value is not a number", "is this an .amat file?") from None
            if row.size != pixels:
                what = f", row {number}: {row.size} values where {pixels} belong"
                raise DataError(path, what, "copy the file again")
            if not np.isin(row, (0.0, 1.0)).all():
                wrong = row[~np.isin(row, (0.0, 1.0))][0]
                raise DataError(path, f", row {number}: the value {wrong:g} is neither 0 nor 1", "binarise it first")
            rows.append(row.astype(np.uint8))
    return np.stack(rows)


class _PreparedRows:
    """Images of a TFDS set, decoded when first asked for and then kept: a byte a pixel."""

    def __init__(self, records, pixels: int, path: str):
        self._records = records
        self._rows = np.zeros((len(records), pixels), np.uint8)
        self._read = np.zeros(len(records), bool)
        self._path = path
        self.lengths = np.full(len(records), pixels, np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        if not self._read[index]:
            record = self._records[int(index)]
            if "image" not in record:
                what = f"has no feature 'image' but {', '.join(sorted(record))}"
                raise DataError(self._path, what, "prepare it again with that name")
            image = np.asarray(record["image"]).reshape(-1)
            # Before the cast: -1 would become 255, and a grey 0.
            if image.size != self._rows.shape[1] or not np.isin(image, (0, 1)).all():
                wrong = image[~np.isin(image, (0, 1))][:1]
                what = f", image {index}: {image.size} values{f', such as {wrong[0]:g}' if wrong.size else ''}, "
                what += f"where {self._rows.shape[1]} values of 0 or 1 belong"
                raise DataError(self._path, what, "binarise them first, or load them as images of another image_shape")
            self._rows[index] = image
            self._read[index] = True
        return token_example(self._rows[index], PIXEL.start_token)


def _prepared_rows(path: str, pixels: int) -> dict[str, _PreparedRows]:
    from zf_jax.data.prepared import store

    names = {"train": ("train",), "valid": ("valid", "validation"), "test": ("test",)}
    sources = store.open_splits(path)
    found = {}
    for split, candidates in names.items():
        source = next((sources[name] for name in candidates if name in sources), None)
        if source is None:
            raise DataError(path, f"has no {split} split", "prepare it again from files with all three")
        found[split] = _PreparedRows(source, pixels, path)
        if len(source):
            found[split][0]  # a set of another form is refused before it is trained on
    return found


class _ByRow:
    """The images of a source of pixels, a frame a row."""

    def __init__(self, pixels: Source, image_shape: tuple[int, int]):
        self._pixels = pixels
        self._shape = image_shape
        self.lengths = np.full(len(pixels), image_shape[0], np.int64)

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> Example:
        return frame_example(self._pixels[index].targets.reshape(self._shape))


def _dataset(name: str, splits: Mapping[str, Any], image_shape: tuple[int, int], view: View) -> DataSet:
    if view not in ("pixels", "rows"):
        raise DataError(f"the view of {name} is 'pixels' or 'rows', not {view!r}")
    sources: dict[str, Source] = {
        split: TokenRows(rows, PIXEL.start_token) if isinstance(rows, np.ndarray) else rows
        for split, rows in splits.items()
    }
    if view == "rows":
        sources = {split: _ByRow(source, image_shape) for split, source in sources.items()}
    return DataSet(
        name=name,
        observation=PIXEL if view == "pixels" else Observation("frames", image_shape[1]),
        default_emission="bernoulli",
        splits=sources,
        units="pixel" if view == "pixels" else "row",
        image_shape=image_shape,
    )
