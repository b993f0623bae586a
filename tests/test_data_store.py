"""Preparing: safe to interrupt, to run twice and to run at once; what is half written is never read; no TensorFlow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zf_jax import data
from zf_jax.data.prepared import downloads, store

ROOT = Path(__file__).parents[1]
WORDS = ["the", "a", "cat", "dog", "tree", "sees", "likes", "finds", "old", "small", "red", "house"]


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("\n".join(" ".join(rng.choice(WORDS, 6)) + "." for _ in range(200)))
    return tmp_path / "corpus"


def run(code, *, wait=True):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=-1, stderr=-1, text=True)
    return process.communicate() + (process.returncode,) if wait else process


def recipe(records, *, fail_after=None):
    """A recipe of two splits of numbers; it can be made to die in the middle of the second."""
    import tensorflow_datasets as tfds

    def numbers(split):
        for i in range(records):
            if split == "test" and fail_after is not None and i == fail_after:
                raise KeyboardInterrupt
            yield {"number": np.int32(i)}

    splits = {split: (lambda split=split: numbers(split)) for split in ("train", "test")}
    return store.Recipe({"number": tfds.features.Scalar(dtype=np.int32)}, splits, {"records": records})


def test_records_keep_their_order_and_facts_are_stored_beside_them(tmp_path):
    path = store.prepare("numbers", lambda: recipe(50), str(tmp_path))
    records = store.open_splits(path)["train"]
    assert [int(records[i]["number"]) for i in range(len(records))] == list(range(50))
    assert store.read_metadata(path) == {"records": 50}


def test_an_interrupted_preparation_is_not_found_and_the_next_one_completes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        store.prepare("numbers", lambda: recipe(50, fail_after=10), str(tmp_path))
    assert store.find(str(tmp_path), "numbers") is None
    path = store.prepare("numbers", lambda: recipe(50), str(tmp_path))
    assert len(store.open_splits(path)["test"]) == 50
    assert not [name for name in os.listdir(Path(path).parent) if "incomplete" in name]


def test_a_killed_preparation_leaves_nothing_that_is_read(tmp_path):
    code = (
        "import os, numpy as np, tensorflow_datasets as tfds\nfrom zf_jax.data.prepared import store\n"
        "def numbers():\n    yield {'number': np.int32(0)}\n    os._exit(9)\n"
        "recipe = lambda: store.Recipe({'number': tfds.features.Scalar(dtype=np.int32)}, {'train': numbers}, {})\n"
        f"store.prepare('numbers', recipe, {str(tmp_path)!r})"
    )
    assert run(code)[2] == 9
    assert list(tmp_path.rglob("*incomplete*"))  # it had begun to write
    assert store.find(str(tmp_path), "numbers") is None
    assert len(store.open_splits(store.prepare("numbers", lambda: recipe(5), str(tmp_path)))["train"]) == 5
    assert not list(tmp_path.rglob("*incomplete*"))


def test_a_half_copied_preparation_is_not_read_and_is_prepared_afresh(tmp_path):
    path = store.prepare("numbers", lambda: recipe(50), str(tmp_path))
    os.remove(os.path.join(path, "dataset_info.json"))
    assert store.find(str(tmp_path), "numbers") is None
    assert len(store.open_splits(store.prepare("numbers", lambda: recipe(7), str(tmp_path)))["train"]) == 7


def test_preparing_twice_leaves_the_first_as_it_is(tmp_path):
    first = store.prepare("numbers", lambda: recipe(5), str(tmp_path))
    before = os.stat(os.path.join(first, "dataset_info.json")).st_mtime_ns
    assert store.prepare("numbers", lambda: pytest.fail("prepared again"), str(tmp_path)) == first
    assert os.stat(os.path.join(first, "dataset_info.json")).st_mtime_ns == before


def test_processes_that_start_together_prepare_once_and_read_the_same(corpus, tmp_path):
    code = (
        "from zf_jax import data\n"
        f"found = data.load('text_folder', data_dir={str(corpus)!r}, cache_dir={str(tmp_path / 'cache')!r})\n"
        "print(found.describe())"
    )
    started = [run(code, wait=False) for _ in range(2)]
    printed = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], printed
    assert printed[0][0] == printed[1][0] != ""
    assert len(list((tmp_path / "cache").rglob("dataset_info.json"))) == 1


def test_tensorflow_is_never_imported(corpus, tmp_path):
    code = (
        "import sys\nfrom zf_jax import data\n"
        f"found = data.load('text_folder', data_dir={str(corpus)!r}, cache_dir={str(tmp_path / 'cache')!r})\n"
        "next(data.train_batches(found.splits['train'], batch_size=4, seed=0))\n"
        "print('served', 'tensorflow' in sys.modules)"
    )
    out, err, _ = run(code)
    assert out == "served False\n", err


def test_importing_the_library_reads_no_data_package():
    code = (
        "import sys, zf_jax\n"
        "print([m for m in ('tensorflow_datasets', 'grain', 'sklearn', 'soundfile', 'soxr') if m in sys.modules])"
    )
    assert run(code)[0] == "[]\n"


def test_a_changed_folder_is_prepared_afresh(corpus, tmp_path):
    before = data.load("text_folder", data_dir=str(corpus), cache_dir=str(tmp_path / "cache"))
    with open(corpus / "a.txt", "a") as file:
        file.write("\nan unheard word.\n" * 40)
    after = data.load("text_folder", data_dir=str(corpus), cache_dir=str(tmp_path / "cache"))
    documents = [sum(c["documents"] for c in x.describe()["text"].values()) for x in (before, after)]
    assert documents[1] == documents[0] + 40


def test_a_damaged_preparation_is_named(corpus, tmp_path):
    path = data.prepare("text_folder", manual_dir=str(corpus), data_dir=str(tmp_path / "tfds"))
    metadata = Path(path) / "metadata.json"
    metadata.write_text("{")
    with pytest.raises(data.DataError, match=r"metadata\.json is damaged"):
        data.load("text_folder", data_dir=str(tmp_path / "tfds"))
    metadata.unlink()
    with pytest.raises(data.DataError, match=r"metadata\.json is damaged or missing"):
        data.load("text_folder", data_dir=str(tmp_path / "tfds"))


def test_options_that_change_what_is_stored_are_part_of_its_name(corpus, tmp_path):
    data.prepare("text_folder", manual_dir=str(corpus), data_dir=str(tmp_path / "tfds"), max_words=10)
    assert data.load("text_folder", data_dir=str(tmp_path / "tfds"), max_words=10).name == "text_folder"
    with pytest.raises(data.DataError, match=r"prepared with other options \(text_folder-max_words_10-"):
        data.load("text_folder", data_dir=str(tmp_path / "tfds"))


def test_a_place_that_cannot_be_written_is_named(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(data.DataError, match=r"cannot be written.*cache_dir"):
        data.load("text_folder", data_dir=str(corpus), cache_dir=str(tmp_path / "file"))


def test_the_cache_stays_out_of_the_users_folder(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("ZF_JAX_CACHE", str(tmp_path / "elsewhere"))
    data.load("text_folder", data_dir=str(corpus))
    assert os.listdir(corpus) == ["a.txt"]
    assert list((tmp_path / "elsewhere").rglob("dataset_info.json"))


def serve(tmp_path, monkeypatch, content, **registered):
    import hashlib

    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "binarized_mnist_train.amat").write_bytes(content)
    values = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), **registered}
    remote = downloads.Remote((tmp_path / "served" / "binarized_mnist_train.amat").as_uri(), **values)
    monkeypatch.setitem(downloads.REMOTES, "mnist", (remote,))


def test_a_fetched_file_is_the_registered_one(tmp_path, monkeypatch):
    serve(tmp_path, monkeypatch, b"0 1\n")
    folder = Path(downloads.fetch("mnist", str(tmp_path / "tfds")))
    assert (folder / "binarized_mnist_train.amat").read_bytes() == b"0 1\n"
    (tmp_path / "served" / "binarized_mnist_train.amat").unlink()
    assert downloads.fetch("mnist", str(tmp_path / "tfds")) == str(folder)  # it is not fetched twice


@pytest.mark.parametrize("registered", [{"size": 5}, {"sha256": "0" * 64}])
def test_a_fetched_file_that_is_another_is_refused_and_not_kept(tmp_path, monkeypatch, registered):
    serve(tmp_path, monkeypatch, b"0 1\n", **registered)
    with pytest.raises(data.DataError, match="not the registered file"):
        downloads.fetch("mnist", str(tmp_path / "tfds"))
    assert os.listdir(tmp_path / "tfds" / "downloads" / "mnist") == []


def test_an_address_that_does_not_answer_says_what_to_do(tmp_path, monkeypatch):
    serve(tmp_path, monkeypatch, b"0 1\n")
    (tmp_path / "served" / "binarized_mnist_train.amat").unlink()
    with pytest.raises(data.DataError, match=r"cannot be fetched.*--manual_dir"):
        downloads.fetch("mnist", str(tmp_path / "tfds"))


@pytest.mark.parametrize("name", ["timit", "blizzard", "audio_folder", "text_folder"])
def test_what_is_licensed_or_the_users_own_is_not_fetched(tmp_path, name):
    with pytest.raises(data.DataError, match="--manual_dir=DIR"):
        data.prepare(name, manual_dir=None, data_dir=str(tmp_path))


def test_the_command_prepares_and_prints_the_counts(corpus, tmp_path):
    command = [sys.executable, "-m", "experiments.prepare_data", "--name=text_folder", f"--manual_dir={corpus}"]
    command += [f"--data_dir={tmp_path / 'tfds'}", "--options=max_words=10,vocabulary_size=9"]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["vocabulary"] == 9


def test_the_command_ends_with_one_sentence(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    command = [sys.executable, "-m", "experiments.prepare_data", "--name=text_folder", f"--manual_dir={tmp_path}"]
    done = subprocess.run([*command, f"--data_dir={tmp_path / 'tfds'}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "a.txt is not UTF-8" in sentence
    assert "--skip_bad_files" in sentence
