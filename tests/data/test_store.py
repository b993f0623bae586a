"""Preparing: safe to interrupt, to run twice and to run at once; what is half written is never read; no TensorFlow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zf_jax import data
from zf_jax.data.prepared import downloads, shards, store

ROOT = Path(__file__).parents[2]
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
    facts = {"records": records}
    return store.Recipe({"number": tfds.features.Scalar(dtype=np.int32)}, splits, lambda _: facts)


def test_records_keep_their_order_and_facts_are_stored_beside_them(tmp_path):
    path = store.prepare("numbers", lambda: recipe(50), str(tmp_path))
    records = store.open_splits(path)["train"]
    assert [int(records[i]["number"]) for i in range(len(records))] == list(range(50))
    assert store.read_metadata(path) == {"records": 50}


def test_a_split_of_any_size_is_written_shard_by_shard(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import shuffle

    monkeypatch.setattr(shards, "SHARD_BYTES", 200)
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 100)  # beyond which TFDS's own writer wants TensorFlow
    path = store.prepare("numbers", lambda: recipe(50), str(tmp_path))
    files = sorted(name for name in os.listdir(path) if "train.array_record" in name)
    assert len(files) == 5
    assert files[0] == f"zf_jax-train.array_record-00000-of-{len(files):05d}"
    assert [int(r["number"]) for r in store.open_splits(path)["train"]] == list(range(50))
    read_by_tfds = tfds.builder_from_directory(path).as_data_source("train")
    assert [int(read_by_tfds[i]["number"]) for i in range(50)] == list(range(50))
    again = store.prepare("numbers", lambda: recipe(50), str(tmp_path / "again"))
    for name in files:
        assert Path(path, name).read_bytes() == Path(again, name).read_bytes()


def test_writing_needs_the_memory_of_a_record_not_of_a_split(tmp_path):
    code = (
        "import resource, numpy as np, tensorflow_datasets as tfds\nfrom zf_jax.data.prepared import store\n"
        "feature = tfds.features.Tensor(shape=(None,), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES)\n"
        "def numbers(n):\n"
        "    for i in range(n):\n        yield {'x': np.random.default_rng(i).integers(0, 256, 1 << 20, np.uint8)}\n"
        "def peak(n):\n"
        "    recipe = store.Recipe({'x': feature}, {'train': lambda: numbers(n)}, lambda facts: {})\n"
        f"    store.prepare(f'x{{n}}', lambda: recipe, {str(tmp_path)!r})\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "small = peak(4)\nprint((peak(60) - small) / 1024)"
    )
    out, err, code = run(code)
    assert code == 0, err
    assert float(out) < 30  # MiB; the split has 60


@pytest.mark.parametrize("damage", ["lost", "cut", "emptied"])
def test_a_damaged_prepared_set_is_found_on_opening(tmp_path, damage):
    path = store.prepare("numbers", lambda: recipe(50), str(tmp_path))
    (shard,) = Path(path).glob("*train.array_record*")
    if damage == "lost":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[: 0 if damage == "emptied" else shard.stat().st_size // 2])
    with pytest.raises(
        data.DataError, match=r"the train split's file zf_jax-train\S+ (is missing|does not hold the 50)"
    ):
        store.open_splits(path)


def test_a_bit_flipped_in_a_record_is_an_error_when_it_is_read(tmp_path):
    path = store.prepare("numbers", lambda: recipe(200), str(tmp_path))
    (shard,) = Path(path).glob("*train.array_record*")
    whole, refused = shard.read_bytes(), 0
    places = [place for place, byte in enumerate(whole) if byte]
    for place in places[:: len(places) // 20]:
        shard.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            records = store.open_splits(path)["train"]
            found = [int(records[i]["number"]) for i in range(200)]
        except data.DataError:
            refused += 1
        else:
            assert found == list(range(200))  # a bit of what only says how to go on from the middle
    assert refused > 10


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    code = (
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import numpy as np, tensorflow_datasets as tfds\n"
        "from zf_jax.data import DataError\nfrom zf_jax.data.prepared import store\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "feature = tfds.features.Tensor(shape=(None,), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES)\n"
        "numbers = lambda: ({'x': np.random.default_rng(i).integers(0, 256, 9000, np.uint8)} for i in range(99))\n"
        "recipe = store.Recipe({'x': feature}, {'train': numbers}, lambda facts: {})\n"
        f"try:\n    store.prepare('x', lambda: recipe, {str(tmp_path)!r})\n"
        "except DataError as error:\n    print(error)\n"
    )
    out, err, code = run(code)
    assert code == 0, err
    assert "cannot be written (File too large)" in out
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and not f.name.endswith(".lock")]


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
        "number = {'number': tfds.features.Scalar(dtype=np.int32)}\n"
        "recipe = lambda: store.Recipe(number, {'train': numbers}, lambda facts: {})\n"
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


def test_processes_that_start_together_prepare_once_read_the_same_and_never_import_tensorflow(corpus, tmp_path):
    code = (
        "import sys, zf_jax\n"
        "print([m for m in ('tensorflow_datasets', 'grain', 'sklearn', 'soundfile', 'soxr') if m in sys.modules])\n"
        "from zf_jax import data\n"
        f"found = data.load('text_folder', data_dir={str(corpus)!r}, cache_dir={str(tmp_path / 'cache')!r})\n"
        "next(data.train_batches(found.splits['train'], batch_size=4, seed=0))\n"
        "print(found.describe())\n"
        "print('tensorflow' in sys.modules)"
    )
    started = [run(code, wait=False) for _ in range(2)]
    printed = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], printed
    assert printed[0][0] == printed[1][0]
    with_the_library, described, tensorflow = printed[0][0].splitlines()
    assert with_the_library == "[]", "importing the library reads no data package"
    assert described
    assert tensorflow == "False"
    assert len(list((tmp_path / "cache").rglob("dataset_info.json"))) == 1


def test_a_changed_folder_is_prepared_afresh(corpus, tmp_path):
    before = data.load("text_folder", data_dir=str(corpus), cache_dir=str(tmp_path / "cache"))
    with open(corpus / "a.txt", "a") as file:
        file.write("\nan unheard word.\n" * 40)
    after = data.load("text_folder", data_dir=str(corpus), cache_dir=str(tmp_path / "cache"))
    documents = [sum(c["documents"] for c in x.describe()["text"].values()) for x in (before, after)]
    assert documents[1] == documents[0] + 40


def test_a_preparation_of_other_files_is_not_taken_for_that_of_these(corpus, tmp_path):
    tfds = tmp_path / "tfds"
    first = data.prepare("text_folder", manual_dir=str(corpus), data_dir=str(tfds))
    corpus.rename(tmp_path / "moved")
    assert data.prepare("text_folder", manual_dir=str(tmp_path / "moved"), data_dir=str(tfds)) == first
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("another corpus.\n" * 50)
    with pytest.raises(data.DataError, match=r"not prepared from the files.*other.*choose another data_dir.*delete"):
        data.prepare("text_folder", manual_dir=str(tmp_path / "other"), data_dir=str(tfds))


def test_a_set_may_be_prepared_beside_its_files(corpus):
    first = data.prepare("text_folder", manual_dir=str(corpus), data_dir=str(corpus))
    assert data.prepare("text_folder", manual_dir=str(corpus), data_dir=str(corpus)) == first


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
    with pytest.raises(data.DataError, match=r"cannot be fetched.*as manual_dir"):
        downloads.fetch("mnist", str(tmp_path / "tfds"))


@pytest.mark.parametrize("name", ["timit", "blizzard", "audio_folder", "text_folder"])
def test_what_is_licensed_or_the_users_own_is_not_fetched(tmp_path, name):
    with pytest.raises(data.DataError, match="as manual_dir"):
        data.prepare(name, manual_dir=None, data_dir=str(tmp_path))


def test_the_command_prepares_and_prints_the_counts(corpus, tmp_path):
    command = [sys.executable, "-m", "experiments.prepare_data", "--name=text_folder", f"--manual_dir={corpus}"]
    command += [f"--data_dir={tmp_path / 'tfds'}", "--options=max_words=10,vocabulary_size=9"]
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
