"""Piano rolls: npz and JSON give the same frames, cut into the literature's sequences; damage is named."""

import json

import numpy as np
import pytest

from zf_jax import data

# Two sequences a split, as lists of MIDI notes a step.
PIECES = {
    "train": [[[21, 60], [108]], [[60], [], [64, 67]]],
    "valid": [[[30]], [[31], [32]]],
    "test": [[[40], [41], [42]], [[50]]],
}


def roll(piece):
    frames = np.zeros((len(piece), 88), np.uint8)
    for step, notes in enumerate(piece):
        frames[step, np.array(notes, int) - 21] = 1
    return frames


def as_npz(path, pieces=PIECES, **changes):
    arrays = {}
    for split, some in pieces.items():
        arrays[split] = np.concatenate([roll(p) for p in some])
        arrays[f"{split}_lengths"] = np.array([len(p) for p in some])
    np.savez(path, **{**arrays, **changes})


def targets(found, split):
    source = found.splits[split]
    return [source[i].targets for i in range(len(source))]


def test_npz_and_json_give_the_same_sequences(tmp_path):
    as_npz(tmp_path / "jsb_chorales.npz")
    (tmp_path / "nottingham.json").write_text(json.dumps(PIECES))
    chorales = data.load("jsb_chorales", data_dir=str(tmp_path))
    tunes = data.load("nottingham", data_dir=str(tmp_path))
    for split, pieces in PIECES.items():
        for one, other, piece in zip(targets(chorales, split), targets(tunes, split), pieces, strict=True):
            assert np.array_equal(one, roll(piece))
            assert np.array_equal(other, roll(piece))
    assert chorales.default_emission == "bernoulli"
    assert chorales.observation.size == 88


@pytest.mark.parametrize("name", ["jsb_chorales", "nottingham", "piano_midi", "muse_data"])
def test_all_four_sets_come_by_name(tmp_path, name):
    as_npz(tmp_path / f"{name}.npz")
    assert data.load(name, data_dir=str(tmp_path)).describe()["splits"]["train"]["steps"] == 5
    assert data.load(name, data_dir=str(tmp_path / f"{name}.npz")).name == name


def test_a_negative_note_is_a_rest(tmp_path):
    pieces = {**PIECES, "test": [[[-1, 60], [-1, -1]]]}
    (tmp_path / "jsb_chorales.json").write_text(json.dumps(pieces))
    (only,) = targets(data.load("jsb_chorales", data_dir=str(tmp_path)), "test")
    assert np.array_equal(only, roll([[60], []]))


def test_srnn_leaves_out_and_counts_sequences_without_a_scored_step(tmp_path):
    as_npz(tmp_path / "jsb_chorales.npz")
    found = data.load("jsb_chorales", data_dir=str(tmp_path), protocol="srnn")
    assert [len(t) for t in targets(found, "test")] == [2]
    assert found.describe()["sequences_without_a_scored_step"] == 2


@pytest.mark.parametrize("protocol, first", [("full", 0), ("srnn", 1)])
def test_training_reads_pieces_and_the_other_splits_are_whole_and_in_pieces(tmp_path, protocol, first):
    pieces = {**PIECES, "train": [[[21], [22], [23], [24], [25]], [[60], [61]], [[70], [71], [72], [73]]]}
    pieces["valid"] = [[[30], [31], [32]], [[33]]]
    as_npz(tmp_path / "piano_midi.npz", pieces)
    found = data.load("piano_midi", data_dir=str(tmp_path), protocol=protocol, piece_steps=2)

    def cut(sequences):  # by hand: steps two by two; a single step at the end has no scored step under srnn
        parts = [piece[begin : begin + 2] for piece in sequences for begin in range(0, len(piece), 2)]
        return [roll(part)[first:] for part in parts if len(part) > first]

    for split, expected in {
        "train": cut(pieces["train"]),
        "valid_chunks": cut(pieces["valid"]),
        "test_chunks": cut(pieces["test"]),
        **{
            split: [roll(piece)[first:] for piece in pieces[split] if len(piece) > first] for split in ("valid", "test")
        },
    }.items():
        assert len(targets(found, split)) == len(expected), split
        for one, other in zip(targets(found, split), expected, strict=True):
            assert np.array_equal(one, other), split
    with pytest.raises(data.DataError, match="leave nothing to score"):
        data.load("piano_midi", data_dir=str(tmp_path), protocol=protocol, piece_steps=first or -1)


def test_a_split_without_a_sequence_is_named_with_the_file(tmp_path):
    (tmp_path / "none.json").write_text(json.dumps(PIECES | {"valid": []}))
    with pytest.raises(data.DataError, match=r"none\.json holds no sequence to score in its split 'valid': add one"):
        data.load("jsb_chorales", data_dir=str(tmp_path / "none.json"))


@pytest.mark.parametrize("protocol", ["SRNN", "half"])
def test_an_unknown_protocol_is_refused(tmp_path, protocol):
    as_npz(tmp_path / "jsb_chorales.npz")
    with pytest.raises(data.DataError, match=f"protocol is 'full' or 'srnn', not {protocol!r}"):
        data.load("jsb_chorales", data_dir=str(tmp_path), protocol=protocol)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train_lengths": np.array([2, 2])}, "train_lengths: they add up to 4, and there are 5 steps"),
        ({"valid": np.zeros((3, 12), np.uint8)}, r"valid: an array of shape \(3, 12\)"),
        ({"test": np.full((4, 88), 2)}, "test: a piano roll holds 0 and 1 only"),
    ],
)
def test_a_damaged_npz_is_named(tmp_path, changes, sentence):
    as_npz(tmp_path / "muse_data.npz", **changes)
    with pytest.raises(data.DataError, match=rf"muse_data\.npz, {sentence}"):
        data.load("muse_data", data_dir=str(tmp_path))


@pytest.mark.parametrize("lengths", [["two", "three"], [2.5, 2.5], [np.nan, 5.0], [np.inf, 5.0], [2j, 3j]])
def test_lengths_that_are_no_whole_numbers_are_named(tmp_path, lengths):
    as_npz(tmp_path / "muse_data.npz", train_lengths=np.array(lengths))
    with pytest.raises(data.DataError, match=r"muse_data\.npz, train_lengths: lengths are whole numbers"):
        data.load("muse_data", data_dir=str(tmp_path))


def test_lengths_that_are_whole_floats_are_lengths(tmp_path):
    as_npz(tmp_path / "muse_data.npz", train_lengths=np.array([2.0, 3.0]))
    assert [len(t) for t in targets(data.load("muse_data", data_dir=str(tmp_path)), "train")] == [2, 3]


@pytest.mark.parametrize("note", [np.nan, np.inf, -np.inf, 60.5])
def test_a_note_that_is_no_whole_number_is_named(tmp_path, note):
    # The json module writes NaN and Infinity, and reads them again.
    (tmp_path / "muse_data.json").write_text(json.dumps({**PIECES, "valid": [[[60.0, note]]]}))
    with pytest.raises(data.DataError, match=rf"muse_data\.json, valid, sequence 0, step 0: {note!r} is not a"):
        data.load("muse_data", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "not a whole JSON file"),
        ('{"train": []}', 'lacks a list "valid"'),
        (json.dumps({**PIECES, "valid": [[[109]]]}), "valid, sequence 0, step 0: 109 is not a MIDI note"),
        (json.dumps({**PIECES, "valid": [[[20]]]}), "20 is not a MIDI note"),
        (json.dumps({**PIECES, "valid": [[["c4"]]]}), "'c4' is not a MIDI note"),
        (json.dumps({**PIECES, "valid": [[]]}), "valid, sequence 0: a sequence is a list of at least one step"),
        (json.dumps({**PIECES, "test": []}), "holds no sequence to score in its split 'test'"),
    ],
)
def test_damaged_json_is_named(tmp_path, content, sentence):
    (tmp_path / "muse_data.json").write_text(content)
    with pytest.raises(data.DataError, match=sentence):
        data.load("muse_data", data_dir=str(tmp_path))


def test_a_missing_or_cut_file_says_what_to_do(tmp_path):
    (tmp_path / "jsb_chorales.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(data.DataError, match=r"jsb_chorales\.npz is not a whole npz file"):
        data.load("jsb_chorales", data_dir=str(tmp_path))
    with pytest.raises(data.DataError, match=r"none of nottingham\.npz, nottingham\.json, nottingham\.mat"):
        data.load("nottingham", data_dir=str(tmp_path))
