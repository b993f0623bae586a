"""What other people's files hold: read as it should be, or refused in a sentence that is true; nothing vanishes."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile
from helpers.closed_folder import close_folder

from zf_jax import data
from zf_jax.data.dataset import shown
from zf_jax.data.images import read_splits
from zf_jax.data.prepared import folders
from zf_jax.data.prepared.npz import open_npz
from zf_jax.data.speech import layouts
from zf_jax.data.speech.audio import decode, read_audio
from zf_jax.data.text import documents, words

RATE = 16000


def noise(seed=0, number=2001):
    return np.clip(np.random.default_rng(seed).normal(3, 900, number), -32768, 32767).astype("<i2")


X = noise()


def encoded(samples=X, form="WAV", subtype="PCM_16"):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format=form, subtype=subtype)
    return bytearray(buffer.getvalue())


def wav(sound=X.tobytes(), size=None, whole=None, magic=b"RIFF", extra=b""):
    form = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    body = b"WAVE" + extra + b"fmt " + struct.pack("<I", 16) + form
    body += b"data" + struct.pack("<I", len(sound) if size is None else size) + sound
    return magic + struct.pack("<I", len(body) if whole is None else whole) + body


def read(tmp_path, content, name="a.wav", **options):
    (tmp_path / name).write_bytes(content)
    return read_audio(str(tmp_path / name), None, **options)[0]


# K1: numbers outside the range


@pytest.mark.parametrize("scale", [1.0, 40 / 32768, 4.0])
def test_float_samples_on_another_scale_are_refused(tmp_path, scale):
    with pytest.raises(data.DataError, match="is not on the scale of -1 to 1: its samples reach"):
        read(tmp_path, encoded(X * scale, subtype="FLOAT"))


def test_one_wild_sample_is_refused_and_mild_clipping_is_counted(tmp_path):
    samples = X / 32768.0
    samples[7] = 1e29
    with pytest.raises(data.DataError, match=r"its samples reach 1e\+29"):
        read(tmp_path, encoded(samples, subtype="FLOAT"))
    samples[7] = 1.2
    (tmp_path / "b.wav").write_bytes(encoded(samples, subtype="FLOAT"))
    decoding = decode(str(tmp_path / "b.wav"), None)
    blocks = [next(decoding)]
    with pytest.raises(StopIteration) as stop:
        next(decoding)
    assert stop.value.value.clipped == 1
    assert blocks[0][7] == 32767
    assert np.array_equal(np.delete(blocks[0], 7), np.delete(X, 7))


# K3, K4: counts and sizes in headers


def test_a_flac_of_open_length_is_read_to_its_end(tmp_path):
    flac = encoded(form="FLAC")
    flac[21] &= 0xF0
    flac[22:26] = b"\0" * 4
    assert np.array_equal(read(tmp_path, flac, "a.flac"), X)


@pytest.mark.parametrize("size", [0x7FFFF000, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFF - 36])
def test_a_size_that_a_pipe_leaves_is_a_placeholder(tmp_path, size):
    assert np.array_equal(read(tmp_path, wav(size=size, whole=0xFFFFFFFF)), X)


def cut_rf64():
    extra = b"ds64" + struct.pack("<IQQQI", 28, 0, len(X) * 2, len(X), 0)
    return wav(size=0xFFFFFFFF, whole=0xFFFFFFFF, magic=b"RF64", extra=extra)


@pytest.mark.parametrize(
    "whole",
    [wav(), wav(size=4_000_000), cut_rf64(), *(encoded(form=f) for f in ("AIFF", "AU", "W64", "FLAC"))],
    ids=["wav", "plausible", "rf64", "aiff", "au", "w64", "flac"],
)
def test_half_a_file_is_never_half_a_recording(tmp_path, whole):
    with pytest.raises(data.DataError, match=r"is truncated|cannot be decoded"):
        read(tmp_path, whole[: len(whole) // 2])


def test_a_header_that_was_never_finished_is_called_so(tmp_path):
    with pytest.raises(data.DataError, match="header that was never finished: the header states 0 bytes"):
        read(tmp_path, wav(size=0, whole=0))


# K10: usual forms


@pytest.mark.parametrize(("form", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_forms_are_read(tmp_path, form, subtype):
    assert abs(len(read(tmp_path, encoded(form=form, subtype=subtype), f"a.{form.lower()}")) - len(X)) < 2500


def test_stereo_is_averaged_where_that_is_asked_for(tmp_path):
    both = encoded(np.stack([X, noise(1)], axis=1))
    with pytest.raises(data.DataError, match="has 2 channels instead of one: pass downmix=True"):
        read(tmp_path, both)
    mixed = read(tmp_path, both, downmix=True)
    assert np.abs(mixed - (X.astype(float) + noise(1)) / 2).max() <= 0.5


def test_mnists_own_files_are_read(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (12, 2, 3), np.uint8)
    for name, images in (("train-images-idx3-ubyte", grey), ("t10k-images-idx3-ubyte", grey[:4])):
        (tmp_path / name).write_bytes(b"\0\0\x08\x03" + struct.pack(">III", len(images), 2, 3) + images.tobytes())
    rows = read_splits(str(tmp_path), "x", (2, 3))
    assert np.array_equal(np.concatenate([rows["train"], rows["valid"]]), (grey >= 128).reshape(12, 6))
    assert len(rows["valid"]) == 2
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + struct.pack(">III", 2**31, 2, 3) + b"1234")
    with pytest.raises(data.DataError, match="holds 4 bytes of images where its header says 2147483648"):
        read_splits(str(tmp_path), "x", (2, 3))


# K2, hostile files: what cannot be read


def test_what_cannot_be_read_is_a_problem_and_not_an_absence(tmp_path, monkeypatch):
    close_folder(tmp_path / "closed", monkeypatch)
    (tmp_path / "a.wav").write_bytes(wav())
    listing = folders.walk(str(tmp_path))
    assert listing.files == [str(tmp_path / "a.wav")]
    assert "closed cannot be read (Permission denied)" in str(listing.problems[0])
    assert len(listing.problems) == 1


def test_hidden_and_system_entries_are_counted(tmp_path):
    for name in (".DS_Store", "._a.wav", "a.wav"):
        (tmp_path / name).write_bytes(wav())
    (tmp_path / "lost+found").mkdir()
    assert folders.walk(str(tmp_path)).hidden == 3


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(data.DataError, match="is not a regular file"):
        read_audio(str(tmp_path / "a.wav"), None)


# K5: identity


def test_dots_are_part_of_a_name_and_a_speaker_is_found_in_it(tmp_path):
    for i in range(8):
        for part in ("train", "test"):
            (tmp_path / part).mkdir(exist_ok=True)
            (tmp_path / part / f"dr1.fab{i % 4}0.sx{i}.wav").write_bytes(wav(noise(i).tobytes()))
    (tmp_path / "test" / "dr1.fab00.sx0.wav.wav").write_bytes(wav(noise(0).tobytes()))  # a copy
    (tmp_path / "test" / "dr1.fab10.sx1.wav.wav").write_bytes(wav(noise(9).tobytes()))  # another recording
    found = layouts.timit(str(tmp_path))
    assert len(found.recordings) == 17
    assert found.facts["second_copies_not_read"] == 1
    assert {r.speaker for r in found.recordings} == {f"FAB{i}0" for i in range(4)}


def test_copies_share_a_split(tmp_path):
    for i in range(20):
        (tmp_path / f"{i}.wav").write_bytes(wav(noise(i).tobytes()))
        (tmp_path / f"{i}.flac").write_bytes(encoded(noise(i), form="FLAC"))
        (tmp_path / f"copy of {i}.wav").write_bytes(wav(noise(i).tobytes()))
    found = layouts.audio_folder(str(tmp_path), valid_fraction=0.3, test_fraction=0.3)
    splits = {r.name: r.split for r in found.recordings}
    assert set(splits.values()) == {"train", "valid", "test"}
    for i in range(20):
        assert splits[f"{i}.wav"] == splits[f"{i}.flac"] == splits[f"copy of {i}.wav"]
    assert found.facts["copies_kept_in_one_split"] == 40


# K6: names


def test_names_that_are_not_utf8_are_read(tmp_path):
    for i in range(11):
        (tmp_path / f"{i}.wav").write_bytes(wav(noise(i).tobytes()))
    with open(os.fsencode(tmp_path) + b"/caf\xe9.wav", "wb") as file:
        file.write(wav())
    found = data.load("audio_folder", data_dir=str(tmp_path), cache_dir=str(tmp_path.parent / "cache"))
    assert sum(c["recordings"] for c in found.describe()["audio"].values()) == 12


def test_escape_sequences_are_shown_escaped():
    error = data.DataError("/tmp/\x1b[31mred\udce9\u202e.wav", "is bad", "remove it")
    assert str(error) == "/tmp/\\x1b[31mred\\udce9\\u202e.wav is bad: remove it"
    assert shown("plain, é, 中") == "plain, é, 中"


# K7: text


def test_lines_end_at_line_ends_only():
    assert documents.paragraphs("a\u2028b.\r\n\r\nc\x0bd.\r\re\x85f.") == ["a\u2028b.", "c\x0bd.", "e\x85f."]


def test_short_lines_without_stops_are_sentences_and_prose_is_not():
    short = ["the film was good", "we liked it", "it was a lot of fun"]
    assert documents.paragraphs("\n".join(short)) == short
    prose = "\n".join(["a long line of prose that goes on and on until it is filled up to its end"] * 3)
    assert documents.paragraphs(prose) == [prose]
    assert documents.paragraphs("One.\nTwo.\nThree.") == ["One.\nTwo.\nThree."]


def test_invisible_characters_join_no_words_but_joiners_between_letters_stay():
    raw = "re\u00adally good\u200b. \ufeffthe \u200efilm\u200f \x1b[31m"
    assert words.words(words.normalise(raw)) == ["really", "good", ".", "the", "film", "[", "31m"]
    assert words.normalise("\u0645\u06cc\u200c\u062e\u0648") == "\u0645\u06cc\u200c\u062e\u0648"
    assert words.normalise("good\u200c") == "good"


def test_the_texts_own_unk_is_the_models(tmp_path):
    lines = [f"the <unk> film number {i}" for i in range(200)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    found = data.load("text_folder", data_dir=str(tmp_path), cache_dir=str(tmp_path.parent / "cache"))
    assert list(found.vocabulary or ()).count("<unk>") == 1
    example = found.splits["train"][0]
    assert [(found.vocabulary or ())[t] for t in example.targets[:3]] == ["the", "<unk>", "film"]


def test_official_splits_are_kept_and_what_is_outside_is_counted(tmp_path):
    for split, number in (("train", 90), ("valid", 20), ("test", 30)):
        lines = (f"this is {split} line {i} ." for i in range(number))
        (tmp_path / f"wiki.{split}.tokens").write_text("\n".join(lines))
    (tmp_path / "README.txt").write_text("Not a part of it.")
    (tmp_path / "a.pdf").write_bytes(b"x")
    found = data.load("text_folder", data_dir=str(tmp_path), cache_dir=str(tmp_path.parent / "cache")).describe()
    assert {s: c["sentences"] for s, c in found["text"].items()} == {"train": 90, "valid": 20, "test": 30}
    assert found["files_outside_the_stated_splits_not_read"] == found["other_files_not_read"] == 1


def test_titles_with_the_words_train_and_test_do_not_drop_all_other_files(tmp_path):
    for name in ("the last train home", "test of love", *(f"novel {i}" for i in range(3))):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(f"Sentence {i} of {name}." for i in range(10)))
    with pytest.raises(data.DataError, match=r"2 files whose names state a split \('the last train home.txt'.*and 3 "):
        data.load("text_folder", data_dir=str(tmp_path), cache_dir=str(tmp_path.parent / "cache"))
    (tmp_path / "test of love.txt").rename(tmp_path / "love.txt")
    found = data.load("text_folder", data_dir=str(tmp_path), cache_dir=str(tmp_path.parent / "cache")).describe()
    assert sum(counts["documents"] for counts in found["text"].values()) == 50


def test_what_a_mac_puts_beside_the_reviews_is_no_review(tmp_path):
    with tarfile.open(tmp_path / "aclImdb_v1.tar.gz", "w:gz") as archive:
        for i in range(5):
            for name, content in ((f"{i}_9.txt", b"A film."), (f"._{i}_9.txt", b"\0\5\xff")):
                member = tarfile.TarInfo(f"aclImdb/train/pos/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    found = documents.Documents(str(tmp_path), "imdb")
    assert [d.text for d in found] == ["A film."] * 5
    assert found.counts["hidden_files_not_read"] == 5
    assert not found.problems


# K8, K9, hostile files: arrays

ROLL = np.zeros((5, 88), np.uint8)
SPLITS = ("train", "valid", "test")


def chorales(tmp_path, **arrays):
    np.savez(tmp_path / "jsb_chorales.npz", **arrays)
    return data.load("jsb_chorales", data_dir=str(tmp_path))


def test_lengths_as_a_column_and_json_with_a_mark_are_read(tmp_path):
    lengths = {f"{s}_lengths": np.array([[2], [3]]) for s in SPLITS}
    assert len(chorales(tmp_path, **dict.fromkeys(SPLITS, ROLL), **lengths).splits["train"]) == 2
    content = json.dumps({s: [[[60, 64], [62]]] for s in SPLITS})
    (tmp_path / "nottingham.json").write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert len(data.load("nottingham", data_dir=str(tmp_path)).splits["test"]) == 1


class Trace:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(tmp_path):
    objects = np.empty(2, object)
    objects[:] = Trace(tmp_path / "trace"), 1
    with pytest.raises(data.DataError, match="holds Python objects under train"):
        chorales(tmp_path, **dict.fromkeys(SPLITS, objects))
    for name in ("nottingham.pickle", "nottingham.npz", "nottingham.json", "nottingham.mat"):
        (tmp_path / name).write_bytes(pickle.dumps(Trace(tmp_path / "trace")))
        with pytest.raises(data.DataError, match=r"is a pickle, which is never opened|is not a whole"):
            data.load("nottingham", data_dir=str(tmp_path / name))
    assert not (tmp_path / "trace").exists()
    pickle.loads((tmp_path / "nottingham.pickle").read_bytes()).close()
    assert (tmp_path / "trace").exists()  # it would have left one


def test_an_array_is_read_when_it_is_asked_for_and_its_header_is_not_believed(tmp_path):
    np.savez(tmp_path / "a.npz", small=np.arange(6.0).reshape(2, 3), f=np.asfortranarray(np.arange(6).reshape(2, 3)))
    with open_npz(str(tmp_path / "a.npz")) as arrays:
        assert np.array_equal(arrays["small"], np.arange(6.0).reshape(2, 3))
        assert np.array_equal(arrays["f"], np.arange(6).reshape(2, 3))
    buffer = io.BytesIO()
    np.save(buffer, np.arange(6.0).reshape(2, 3))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("small.npy", buffer.getvalue().replace(b"(2, 3)", b"(9, 9)"))
    with (
        open_npz(str(tmp_path / "a.npz")) as arrays,
        pytest.raises(data.DataError, match="small says 648 bytes where there are 48"),
    ):
        arrays["small"]


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{}", b"\xff\xfe", b'{"train": 3}'])
def test_any_json_costs_a_sentence(tmp_path, content):
    (tmp_path / "jsb_chorales.json").write_bytes(content)
    with pytest.raises(data.DataError, match=r"is not a whole JSON file|lacks a list"):
        data.load("jsb_chorales", data_dir=str(tmp_path))


@pytest.mark.parametrize("shape", [(28, 28, 3), (28,), 28, "28", (0, 3), (2.5, 2)])
def test_a_shape_that_is_none_is_refused(tmp_path, shape):
    (tmp_path / "a").touch()
    with pytest.raises(data.DataError, match="image_shape is"):
        data.load("images", data_dir=str(tmp_path), image_shape=shape)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("text_folder", {"vocabulary_size": "abc"}, "vocabulary_size must be a whole number, not 'abc'"),
        ("text_folder", {"valid_fraction": float("nan")}, "valid_fraction must be a finite number .* not nan"),
        ("audio_folder", {"frame_size": 2.5}, "frame_size must be a whole number, not 2.5"),
        ("digits", {"colour": 1}, "digits has no option 'colour'"),
    ],
)
def test_an_option_of_the_wrong_kind_is_named(tmp_path, name, options, sentence):
    (tmp_path / "a.txt").write_text("Hello.")
    with pytest.raises(data.DataError, match=sentence):
        data.load(name, data_dir=str(tmp_path), **options)
