"""Read binary images, from .amat files, idx files or TFDS sets, as sequences of pixels or of rows.

View ``pixels`` has one token per pixel, from top left to bottom right, as in the paper.  View ``rows`` has one frame of
binary pixels per row, from top to bottom.  Under ``rows`` the pixels of a row are independent given the state, so
latents must model the dependence.  A sequence is one image in both views, so nats per sequence are comparable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from zf_jax.data.amat import SPLITS, read_amat_splits
from zf_jax.data.dataset import DataError, DataSet
from zf_jax.data.idx import find_idx, read_idx_splits
from zf_jax.data.prepared.splits import stable_order
from zf_jax.data.sources import TokenRows, frame_example, token_example
from zf_jax.extras import needs
from zf_jax.protocols import Example, Source
from zf_jax.typing import Observation

PIXEL = Observation("tokens", 2)
View = Literal["pixels", "rows"]


def load_digits(*, data_dir: str | None = None, view: View = "pixels") -> DataSet:
    """Return scikit-learn's 1,797 digits of 8 x 8 binary pixels, split 1,297 / 250 / 250, without reading a file.

    A grey value of 8 or more, of 16, is 1.  The split is the same on every machine.

    Args:
      data_dir: None; other data are not read as digits.
      view: ``pixels``, 64 steps of one pixel, or ``rows``, 8 steps of 8 pixels.

    Raises:
      DataError: ``data_dir`` is given.
    """
    if data_dir is not None:
        raise DataError(data_dir, "is not read: digits are scikit-learn's", "leave out the folder")
    with needs("data"):
        from sklearn.datasets import load_digits as sklearn_digits

    pixels = (sklearn_digits(return_X_y=True)[0] >= 8).astype(np.uint8)
    # scikit-learn groups images by writer, so the images are shuffled.
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
    """Return a set of binary images.

    ``data_dir`` holds one of:

    * a set that ``prepare`` wrote;
    * a TFDS set named ``<prefix>`` (array_record, feature ``image``), such as TFDS's ``binarized_mnist``;
    * MNIST's idx files ``train-images-idx3-ubyte`` and ``t10k-images-idx3-ubyte``, plain or .gz.  A grey value of 128
      or more, of 255, is 1, and the last sixth of the training images is the validation split;
    * ``<prefix>_train.amat``, ``<prefix>_valid.amat`` and ``<prefix>_test.amat``, one image per line, 0 or 1 per pixel.

    If ``data_dir`` holds several, the first of this list is read.

    Args:
      data_dir: the folder of the files, or TFDS's data directory.
      name: the name of the set.
      prefix: the prefix of the .amat files, or the name of the TFDS set.
      image_shape: rows and columns; a third number must be 1, the channel.
      view: ``pixels``, one step per pixel, or ``rows``, one step per row.

    Raises:
      DataError: the folder holds no images, a row has the wrong number of pixels, or a value is neither 0 nor 1.
    """
    from zf_jax.data.prepared import folders, store

    rows, columns = _sides(image_shape)
    folder = folders.need_folder(data_dir, name)
    stored = _stored_name(name, prefix, (rows, columns))
    prepared = store.find(folder, stored) or store.find_stock(folder, prefix)
    if prepared is not None:
        splits: Mapping[str, Any] = _prepared_rows(prepared, rows * columns)
        return _dataset(name, splits, (rows, columns), view)
    store.refuse_other_options(folder, name)
    return _dataset(name, read_splits(folder, prefix, (rows, columns)), (rows, columns), view)


def load_mnist(*, data_dir: str | None = None, view: View = "pixels") -> DataSet:
    """Return binarised MNIST: 50,000 / 10,000 / 10,000 images of 784 pixels if read from the fixed .amat files.

    Args:
      data_dir: as for ``load_images``.
      view: ``pixels``, 784 steps of one pixel, or ``rows``, 28 steps of 28 pixels.

    Source: Larochelle and Murray, "The Neural Autoregressive Distribution Estimator", 2011.
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
    """Write the .amat or idx images in ``manual_dir`` as array_record files under ``data_dir``; return the path.

    Options and errors are those of ``load_images``.  An existing preparation is kept.
    """
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

    return store.prepare(_stored_name(name, prefix, shape), recipe, data_dir, manual_dir)


def _stored_name(name: str, prefix: str, sides: tuple[int, int]) -> str:
    from zf_jax.data.prepared import store

    defaults = {"prefix": "binarized_mnist", "image_shape": (28, 28)}
    return store.config_name(name, {"prefix": prefix, "image_shape": sides}, defaults)


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
    """Return the three splits of the idx files, or else of the .amat files, in a folder: uint8 ``[N, pixels]`` each."""
    idx = find_idx(folder)
    return read_idx_splits(*idx, shape) if idx else read_amat_splits(folder, prefix, shape[0] * shape[1])


class _PreparedRows:
    """Decode images of a TFDS set when first indexed, and keep one byte per pixel in memory."""

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
                raise DataError(self._path, what, "prepare the set again with a feature named image")
            image = np.asarray(record["image"]).reshape(-1)
            # Checked before the cast, which turns -1 into 255.
            if image.size != self._rows.shape[1] or not np.isin(image, (0, 1)).all():
                wrong = image[~np.isin(image, (0, 1))][:1]
                what = f", image {index}: {image.size} values{f', such as {wrong[0]:g}' if wrong.size else ''}, "
                what += f"where {self._rows.shape[1]} values of 0 or 1 belong"
                raise DataError(self._path, what, "binarise the images first, or pass another image_shape")
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
            raise DataError(path, f"has no {split} split", "prepare the set again with three splits")
        found[split] = _PreparedRows(source, pixels, path)
        if len(source):
            found[split][0]  # raises if images have another form
    return found


class _ByRow:
    """Convert a source of pixels to one frame per row."""

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
