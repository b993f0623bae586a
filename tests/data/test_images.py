"""Binary images: .amat files and prepared sets give the same pixels in raster order, and bad rows are named."""

import hashlib

import numpy as np
import pytest

from zf_jax import data
from zf_jax.data import images


@pytest.fixture
def pixels():
    rng = np.random.default_rng(0)
    return {
        split: rng.integers(0, 2, (n, 784)).astype(np.uint8) for split, n in (("train", 9), ("valid", 4), ("test", 5))
    }


@pytest.fixture
def folder(tmp_path, pixels):
    for split, rows in pixels.items():
        # As the original files: "0 1 0 ... 1 \n", values separated by one space.
        text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
        (tmp_path / f"binarized_mnist_{split}.amat").write_text(text)
    return tmp_path


def spoil(folder, row, change):
    path = folder / "binarized_mnist_valid.amat"
    lines = path.read_text().splitlines()
    lines[row] = change(lines[row])
    path.write_text("\n".join(lines) + "\n")


def targets(found, split):
    return np.stack([found.splits[split][i].targets for i in range(len(found.splits[split]))])


def test_digits_are_the_same_on_every_machine():
    digits = data.load("digits")
    assert {s: len(x) for s, x in digits.splits.items()} == {"train": 1297, "valid": 250, "test": 250}
    digest = hashlib.sha256(b"".join(targets(digits, s).astype(np.uint8).tobytes() for s in images.SPLITS)).hexdigest()
    assert digest.startswith("90ae0ffcae681fc7")


def test_digits_splits_are_disjoint_and_complete():
    from sklearn.datasets import load_digits

    everything = sorted(row.tobytes() for row in (load_digits().data >= 8).astype(np.int32))
    digits = data.load("digits")
    assert sorted(row.tobytes() for s in images.SPLITS for row in targets(digits, s)) == everything


def test_amat_rows_are_sequences_in_raster_order(folder, pixels):
    found = data.load("mnist", data_dir=str(folder))
    for split, rows in pixels.items():
        assert np.array_equal(targets(found, split), rows)
    assert found.image_shape == (28, 28)
    assert found.observation.size == 2
    assert found.default_emission == "bernoulli"


def test_a_prepared_set_holds_the_same_images_in_the_same_order(folder, pixels, tmp_path):
    data.prepare("mnist", manual_dir=str(folder), data_dir=str(tmp_path / "tfds"))
    found = data.load("mnist", data_dir=str(tmp_path / "tfds"))
    for split, rows in pixels.items():
        assert np.array_equal(targets(found, split), rows)


def test_images_of_another_prefix_are_another_set(tmp_path):
    for prefix, pixel in (("a", "0"), ("b", "1")):
        for split in ("train", "valid", "test"):
            (tmp_path / f"{prefix}_{split}.amat").write_text(f"{pixel} {pixel}\n")
        data.prepare(
            "images", manual_dir=str(tmp_path), data_dir=str(tmp_path / "tfds"), prefix=prefix, image_shape=(1, 2)
        )
    for prefix, pixel in (("a", 0), ("b", 1)):
        found = data.load("images", data_dir=str(tmp_path / "tfds"), prefix=prefix, image_shape=(1, 2))
        assert np.array_equal(targets(found, "test"), [[pixel, pixel]])
    with pytest.raises(data.DataError, match="prepared with other options"):
        data.load("images", data_dir=str(tmp_path / "tfds"), prefix="c", image_shape=(1, 2))


def test_a_set_that_the_stock_builder_prepared_is_read(tmp_path, pixels):
    tfds = pytest.importorskip("tensorflow_datasets")

    class BinarizedMnist(tfds.core.GeneratorBasedBuilder):
        """As the stock builder's: splits train, validation and test, images of (28, 28, 1).

        Its Image feature can be read without TensorFlow but not written, so a Tensor stands in for it.
        """

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            image = tfds.features.Tensor(shape=(28, 28, 1), dtype=np.uint8)
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"image": image}))

        def _split_generators(self, dl_manager):
            names = {"train": "train", "validation": "valid", "test": "test"}
            return {name: self._generate_examples(pixels[split]) for name, split in names.items()}

        def _generate_examples(self, rows):
            yield from ((i, {"image": row.reshape(28, 28, 1)}) for i, row in enumerate(rows))

    BinarizedMnist(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    found = data.load("mnist", data_dir=str(tmp_path))
    for split, rows in pixels.items():
        assert sorted(r.tobytes() for r in targets(found, split)) == sorted(r.astype(np.int32).tobytes() for r in rows)


def test_other_spacing_and_number_formats_are_read(folder, pixels):
    spoil(folder, 0, lambda line: "  ".join(f"{v}.0" for v in line.split()))
    assert np.array_equal(targets(data.load("mnist", data_dir=str(folder)), "valid"), pixels["valid"])


def test_any_binary_image_set_is_read_by_the_same_path(tmp_path):
    rows = np.random.default_rng(1).integers(0, 2, (3, 6))
    for split in images.SPLITS:
        (tmp_path / f"glyphs_{split}.amat").write_text("".join(" ".join(map(str, r)) + "\n" for r in rows))
    found = data.load("images", data_dir=str(tmp_path), prefix="glyphs", image_shape=(2, 3))
    assert np.array_equal(targets(found, "test"), rows)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda line: line[:-2], r"valid\.amat, row 3: 783 values where 784 belong"),
        (lambda line: line + " 1", r"valid\.amat, row 3: 785 values"),
        (lambda line: "7" + line[1:], r"valid\.amat, row 3: the value 7 is neither 0 nor 1"),
        (lambda line: "0.5" + line[1:], r"valid\.amat, row 3: the value 0\.5 is neither 0 nor 1"),
        (lambda line: "x" + line[1:], r"valid\.amat, row 3: a value is not a number"),
        (lambda line: "", r"valid\.amat, row 3: 0 values"),
    ],
)
def test_a_bad_row_is_named(folder, change, sentence):
    spoil(folder, 2, change)
    with pytest.raises(data.DataError, match=sentence):
        data.load("mnist", data_dir=str(folder))


def test_packed_files_are_named_with_the_advice_to_unpack_them(folder):
    (folder / "binarized_mnist_valid.amat").rename(folder / "binarized_mnist_valid.amat.xz")
    with pytest.raises(data.DataError, match=r"holds binarized_mnist_valid.amat.xz, which are not read: unpack them"):
        data.load("mnist", data_dir=str(folder))


def test_one_of_the_files_in_place_of_their_folder_is_refused(folder):
    with pytest.raises(data.DataError, match=r"train\.amat holds neither .* pass the folder of the three"):
        data.load("mnist", data_dir=str(folder / "binarized_mnist_train.amat"))


def test_missing_and_empty_places_say_what_to_do(folder, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(data.DataError, match="nothing is empty"):
        data.load("mnist", data_dir=str(tmp_path / "nothing"))
    with pytest.raises(data.DataError, match=r"absent does not exist: pass the folder of mnist as data_dir"):
        data.load("mnist", data_dir=str(tmp_path / "absent"))
    with pytest.raises(data.DataError, match=r"mnist needs a folder.*zf_jax\.data\.prepare\('mnist'"):
        data.load("mnist")
    (folder / "binarized_mnist_test.amat").unlink()
    with pytest.raises(data.DataError, match=r"binarized_mnist_test\.amat"):
        data.load("mnist", data_dir=str(folder))
    (folder / "binarized_mnist_test.amat").write_text("")
    with pytest.raises(data.DataError, match=r"test\.amat is empty"):
        data.load("mnist", data_dir=str(folder))


def test_a_view_of_rows_holds_the_same_images_a_frame_a_row():
    pixels, rows = data.load("digits"), data.load("digits", view="rows")
    assert (rows.observation.kind, rows.observation.size, rows.units) == ("frames", 8, "row")
    assert set(rows.split("test").lengths) == {8}
    token, frame = pixels.split("test")[3], rows.split("test")[3]
    np.testing.assert_array_equal(frame.targets.ravel(), token.targets)
    np.testing.assert_array_equal(frame.inputs[1:], frame.targets[:-1])
    assert not frame.inputs[0].any() and frame.input_mask.tolist() == [0.0] + [1.0] * 7
    with pytest.raises(data.DataError, match="the view of digits is 'pixels' or 'rows', not 'columns'"):
        data.load("digits", view="columns")
