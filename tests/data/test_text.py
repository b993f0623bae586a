"""Text: sentences, words and back; the vocabulary comes from training alone; documents never straddle splits."""

import io
import itertools
import tarfile

import numpy as np
import pytest

from zf_jax import data
from zf_jax.data.description import fingerprint
from zf_jax.data.prepared.folders import walk
from zf_jax.data.prepared.splits import by_hash
from zf_jax.data.text import words

WORDS = ["the", "a", "cat", "dog", "tree", "sees", "likes", "finds", "old", "small", "red", "house", "never", "often"]


def story(number, lengths=(3, 5, 20)):
    """A document of sentences of these many words (and a full stop), different for each number."""
    rng = np.random.default_rng(number)
    return " ".join(" ".join(rng.choice(WORDS, n)).capitalize() + "." for n in lengths)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "books"
    (root / "deep").mkdir(parents=True)
    (root / "one.txt").write_text("\n\n".join(story(i) for i in range(80)))
    (root / "deep" / "two.txt").write_text("\n".join(story(i) for i in range(80, 160)))
    (root / "notes.pdf").write_bytes(b"%PDF")
    return root


def load(root, tmp_path, **options):
    return data.load("text_folder", data_dir=str(root), cache_dir=str(tmp_path / "cache"), **options)


def sentences_of(found, split):
    source = found.splits[split]
    return [found.detokenise(source[i].targets) for i in range(len(source))]


def test_a_run_below_its_data_is_no_part_of_them(folder, tmp_path):
    before = load(folder, tmp_path)
    run = folder / "runs" / "mine"
    (run / "samples").mkdir(parents=True)
    (run / "samples" / "samples.txt").write_text("\n\n".join(f"A sampled sentence {i}." for i in range(50)))
    assert load(folder, tmp_path).describe() != before.describe()
    (run / "config.json").write_text("{}")
    (run / "checkpoints").mkdir()
    assert fingerprint(load(folder, tmp_path)) == fingerprint(before)
    assert walk(str(folder)).hidden == 1


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("He said: “It's a well-known fact!”", 'he said : " it\'s a well-known fact ! "'),
        ("It cost $3.50... wow--yes", "it cost $ 3.50 ... wow -- yes"),
        ("नमस्ते दुनिया। cafe\u0301", "नमस्ते दुनिया । café"),
        ("(Really?)", "( really ? )"),
    ],
)
def test_words_keep_their_letters_and_punctuation_stands_alone(raw, expected):
    assert " ".join(words.words(words.normalise(raw))) == expected


def test_sentences_end_at_full_stops_but_not_after_titles_or_inside_numbers():
    document = words.normalise('Mr. Smith paid 3.50 today. "Why?" she asked.<br /><br />No answer')
    assert words.sentences(document) == ["mr. smith paid 3.50 today.", '"why?"', "she asked.", "no answer"]


@pytest.mark.parametrize("sentence", ['mr. smith said: "hello, (dear) world!"', "it cost $3.50, i'd say...", "ça va?"])
def test_detokenised_words_read_like_the_sentence(sentence):
    vocabulary = [words.EOS, words.UNK, *dict.fromkeys(words.words(sentence))]
    tokens = [vocabulary.index(w) for w in words.words(sentence)] + [0, 1, 1]
    assert words.detokenise([len(vocabulary), *tokens], vocabulary) == sentence


def test_eos_is_scored_bos_is_only_an_input_and_long_sentences_are_counted(folder, tmp_path):
    found = load(folder, tmp_path)
    start = found.observation.size
    assert start == len(found.vocabulary)
    assert "<bos>" not in found.vocabulary
    for source in found.splits.values():
        for i in range(len(source)):
            example = source[i]
            assert found.vocabulary[example.targets[-1]] == "<eos>"
            assert "<eos>" not in [found.vocabulary[t] for t in example.targets[:-1]]
            assert example.inputs[0] == start
            assert start not in example.targets
            assert np.array_equal(example.inputs[1:], example.targets[:-1])
            assert len(example.targets) <= 16
    counts = found.describe()["text"]
    assert sum(c["documents"] for c in counts.values()) == 160
    assert sum(c["sentences"] for c in counts.values()) == 320
    assert sum(c["sentences_too_long_left_out"] for c in counts.values()) == 160
    for split, source in found.splits.items():
        assert counts[split]["words_and_eos"] == sum(source.lengths) == counts[split]["words"] + len(source)


def test_the_vocabulary_is_that_of_the_training_sentences_alone(tmp_path):
    documents = [f"{story(i, (4,))[:-1]} own{i}." for i in range(120)]
    (tmp_path / "one.txt").write_text("\n".join(documents))
    found = load(tmp_path / "one.txt", tmp_path)
    splits = {i: by_hash(words.normalise(d), 0.05, 0.10) for i, d in enumerate(documents)}
    assert set(splits.values()) == {"train", "valid", "test"}
    for i, split in splits.items():
        assert (f"own{i}" in found.vocabulary) == (split == "train")
    unknown = list(found.vocabulary).index("<unk>")
    for split in ("valid", "test"):
        source = found.splits[split]
        assert all(unknown in source[i].targets for i in range(len(source)))
        assert found.describe()["text"][split]["unknown_words"] == len(source)


def test_punctuation_counts_among_the_words_of_a_sentence(tmp_path):
    (tmp_path / "one.txt").write_text("\n".join(story(i, (14, 15)) for i in range(99)))
    found = load(tmp_path / "one.txt", tmp_path)
    for source in found.splits.values():
        assert set(source.lengths) == {16}  # fourteen words, a full stop and <eos>
    assert sum(c["sentences_too_long_left_out"] for c in found.describe()["text"].values()) == 99


def test_paragraphs_lie_between_blank_lines_and_lists_are_read_line_by_line():
    from zf_jax.data.text.documents import paragraphs

    assert paragraphs("one\nwrapped\n\n \ntwo\n") == ["one\nwrapped", "two"]
    listed = [f"line {i}" for i in range(60)]
    assert paragraphs("\n".join(listed) + "\n\nshort\nblock") == [*listed, "short\nblock"]


def test_a_small_vocabulary_keeps_the_commonest_words_and_counts_the_rest(folder, tmp_path):
    found = load(folder, tmp_path, vocabulary_size=6)
    assert len(found.vocabulary) == found.observation.size == 6
    assert found.vocabulary[:2] == ("<eos>", "<unk>")
    full = load(folder, tmp_path)
    assert found.vocabulary == full.vocabulary[:6]
    assert found.describe()["words_of_train_outside_the_vocabulary"] == len(full.vocabulary) - 6


def test_the_split_of_a_document_depends_on_its_text_alone(folder, tmp_path):
    before = load(folder, tmp_path)
    (folder / "one.txt").rename(folder / "renamed.txt")
    (folder / "more.txt").write_text("\n".join(story(i) for i in range(200, 260)))
    after = load(folder, tmp_path)
    for split in ("train", "valid", "test"):
        assert set(sentences_of(before, split)) <= set(sentences_of(after, split))
        assert len(after.splits[split]) > len(before.splits[split])
    for one, other in itertools.combinations(("train", "valid", "test"), 2):
        long = [{s for s in sentences_of(after, x) if len(s.split()) == 5} for x in (one, other)]
        assert not long[0] & long[1]


def test_the_splits_are_85_5_10():
    counted = [by_hash(story(i), 0.05, 0.10) for i in range(4000)]
    shares = {s: counted.count(s) / 4000 for s in ("train", "valid", "test")}
    assert shares == pytest.approx({"train": 0.85, "valid": 0.05, "test": 0.10}, abs=0.015)


def test_the_imdb_archive_and_its_unpacked_folder_are_the_same_corpus(tmp_path):
    root = tmp_path / "aclImdb"
    reviews = [f"{part}/{kind}/{i}_7.txt" for part in ("train", "test") for kind in ("pos", "neg") for i in range(30)]
    reviews += [f"train/unsup/{i}_0.txt" for i in range(20)]
    for i, review in enumerate(reviews):
        (root / review).parent.mkdir(parents=True, exist_ok=True)
        (root / review).write_text(story(i) + "<br /><br />" + story(1000 + i, (4,)))
    (root / "README").write_text("Not a review.")
    (root / "train" / "urls_pos.txt").write_text("http://not.a.review/")
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed" / "aclImdb_v1.tar.gz", "w:gz") as archive:
        archive.add(root, "aclImdb")
    loaded = [
        data.load("imdb", data_dir=str(place), cache_dir=str(tmp_path / "cache"))
        for place in (tmp_path / "packed", root, tmp_path)
    ]
    for found in loaded:
        assert sum(c["documents"] for c in found.describe()["text"].values()) == 140
        assert found.vocabulary == loaded[0].vocabulary
        for split in ("train", "valid", "test"):
            assert sorted(sentences_of(found, split)) == sorted(sentences_of(loaded[0], split))


def test_a_file_that_is_not_utf8_stops_or_is_counted_and_skipped(folder, tmp_path):
    (folder / "latin.txt").write_bytes("Un café très grand.".encode("latin-1"))
    with pytest.raises(data.DataError, match=r"latin\.txt is not UTF-8 text.*iconv.*skip_bad_files=True"):
        load(folder, tmp_path)
    found = load(folder, tmp_path, skip_bad_files=True)
    assert found.describe()["bad_files_skipped"] == 1
    assert "latin.txt" in found.describe()["bad_files"][0]
    assert sum(c["documents"] for c in found.describe()["text"].values()) == 160
    with pytest.raises(data.DataError, match=r"latin\.txt"):  # a set prepared by skipping is not taken for a whole one
        load(folder, tmp_path)


@pytest.mark.parametrize("skip", [False, True])
def test_a_link_to_nothing_is_named(folder, tmp_path, skip):
    (folder / "deep" / "moved.txt").symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(data.DataError, match=r"moved\.txt is a link to nothing"):
        load(folder, tmp_path, skip_bad_files=skip)


def test_a_binary_file_called_txt_is_named(folder, tmp_path):
    (folder / "binary.txt").write_bytes(b"abc\0def")
    with pytest.raises(data.DataError, match=r"binary\.txt is not text"):
        load(folder, tmp_path)


def test_too_little_text_names_the_empty_split(tmp_path):
    (tmp_path / "one.txt").write_text("A single sentence.")
    with pytest.raises(data.DataError, match=r"one\.txt leaves the \w+ split empty"):
        load(tmp_path / "one.txt", tmp_path)


def test_missing_text_says_what_to_give(tmp_path):
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises(data.DataError, match=r"holds no \.txt files"):
        load(tmp_path, tmp_path)
    with pytest.raises(data.DataError, match=r"neither aclImdb nor aclImdb_v1\.tar\.gz"):
        data.load("imdb", data_dir=str(tmp_path), cache_dir=str(tmp_path))
    (tmp_path / "aclImdb_v1.tar.gz").write_bytes(b"\x1f\x8b cut")
    with pytest.raises(data.DataError, match=r"aclImdb_v1\.tar\.gz is damaged"):
        data.load("imdb", data_dir=str(tmp_path), cache_dir=str(tmp_path / "c"))


def test_an_archive_that_ends_early_is_damaged_and_not_a_smaller_corpus(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for i in range(200):
            content = story(i).encode()
            member = tarfile.TarInfo(f"aclImdb/train/pos/{i}_9.txt")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (tmp_path / "aclImdb_v1.tar.gz").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(data.DataError, match="is damaged"):
        data.load("imdb", data_dir=str(tmp_path), cache_dir=str(tmp_path / "c"))


def test_a_sentence_of_punctuation_alone_is_left_out_and_counted(folder, tmp_path):
    with open(folder / "one.txt", "a") as file:
        file.write("\n\n. !\n\n***\n\n")
    found = load(folder, tmp_path)
    counts = found.describe()["text"]
    assert sum(c["sentences_of_punctuation_left_out"] for c in counts.values()) == 3
    assert sum(c["sentences"] for c in counts.values()) == 320
