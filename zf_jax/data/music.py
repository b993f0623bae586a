"""Read polyphonic music as piano rolls, one frame of 88 binary notes (MIDI 21 to 108) per step.

Three forms of file are read whole, without preparing, each with three splits:

* ``<name>.npz``: ``train``, uint8 ``[total steps, 88]``, and ``train_lengths``; the same for valid and test.
* ``<name>.json``: ``{"train": [sequence, ...], ...}``.  A sequence is a list of steps, a step is a list of MIDI notes,
  and a negative note is a rest.
* ``<name>.mat``: ``traindata``, ``validdata`` and ``testdata``, cells of arrays ``[steps, 88]``.

Pickles and MIDI files are refused, with a sentence that says how to convert the file.
"""

from __future__ import annotations

import io
import json
import os

import numpy as np

from zf_jax.data.dataset import DataError, DataSet
from zf_jax.data.pieces import cuts
from zf_jax.data.prepared.folders import read_bytes
from zf_jax.data.prepared.npz import open_npz
from zf_jax.data.sources import RaggedFrames
from zf_jax.extras import needs
from zf_jax.typing import DataProtocol, Observation

NOTES = 88
LOWEST_NOTE = 21
SETS = ("jsb_chorales", "nottingham", "piano_midi", "muse_data")
_SPLITS = ("train", "valid", "test")
_SUFFIXES = (".npz", ".json", ".mat")


def load_music(
    *,
    data_dir: str | None = None,
    name: str = "jsb_chorales",
    protocol: DataProtocol = "full",
    piece_steps: int = 0,
) -> DataSet:
    """Return one of the four polyphonic sets (Boulanger-Lewandowski et al. 2012) as frames of 88 notes.

    Args:
      data_dir: the folder of ``<name>.npz``, ``<name>.json`` or ``<name>.mat``, or the path of the file.
      name: one of ``SETS``, or the name of another set in the same form.
      protocol: ``full`` scores every step; ``srnn`` conditions on the first step of every sequence.
      piece_steps: sequences of the training split are cut into pieces of so many steps, and those of the other splits
        are whole; their pieces are splits too, ``valid_chunks`` and ``test_chunks`` (rule A12).  0 cuts none.

    Raises:
      DataError: the file is missing, damaged, of another form, or holds a note out of range; the protocol is unknown;
        a piece would leave nothing to score.
    """
    if protocol not in ("full", "srnn"):
        raise DataError("", f"protocol is 'full' or 'srnn', not {protocol!r}")
    shortest = 2 if protocol == "srnn" else 1  # under srnn the first step is not scored
    if piece_steps and piece_steps < shortest:
        raise DataError("", f"pieces of {piece_steps} steps leave nothing to score", "piece_steps=0 cuts none")
    from zf_jax.data.prepared import folders

    path = _find(folders.need_folder(data_dir, name), name)
    readers = {".npz": _read_npz, ".json": _read_json, ".mat": _read_mat}
    rolls = readers[os.path.splitext(path)[1].lower()](path)
    splits, notes, empty = {}, {}, 0
    for split, (roll, lengths) in rolls.items():
        starts = np.cumsum(lengths) - lengths
        kept = lengths >= shortest
        empty += int((~kept).sum())
        starts, lengths = starts[kept], lengths[kept]
        if not len(lengths):
            raise DataError(path, f"holds no sequence to score in its split {split!r}", "add one")
        if piece_steps:
            pieces = [
                (start + begin, end - begin)
                for start, length in zip(starts, lengths, strict=True)
                for begin, end in cuts(length, piece_steps, shortest)
            ]
            begins, sizes = np.reshape(pieces, (-1, 2)).T
            chunks = RaggedFrames(roll, begins, sizes, protocol)
            splits["train" if split == "train" else f"{split}_chunks"] = chunks
        if split not in splits:
            splits[split] = RaggedFrames(roll, starts, lengths, protocol)
        notes[split] = int(roll.sum())
    return DataSet(
        name=name,
        observation=Observation("frames", NOTES),
        default_emission="bernoulli",
        splits=splits,
        protocol=protocol,
        units="step",
        counts={"notes": notes, "sequences_without_a_scored_step": empty},
    )


def _find(folder: str, name: str) -> str:
    if os.path.isfile(folder):
        if folder.lower().endswith(_SUFFIXES):
            return folder
        raise _other_form(folder)
    for suffix in _SUFFIXES:
        path = os.path.join(folder, name + suffix)
        if os.path.isfile(path):
            return path
    there = sorted(os.listdir(folder))
    other = next((f for f in there if f.lower().endswith((".pickle", ".pkl", ".mid", ".midi"))), None)
    if other:
        raise _other_form(os.path.join(folder, other))
    what = f"holds none of {', '.join(name + suffix for suffix in _SUFFIXES)}"
    raise DataError(folder, what, "copy one there, or pass the path of the file")


def _other_form(path: str) -> DataError:
    """Return the error of a file in a form that is not read, with a way to convert the file."""
    if path.lower().endswith((".pickle", ".pkl")):
        return DataError(
            path,
            "is a pickle, which is never opened, because a pickle can run any program",
            "if you trust the file, convert the pickle with two lines of Python: "
            "d = pickle.load(open('IN.pickle', 'rb'), encoding='latin1') and "
            "json.dump({s: [[[int(n) for n in step] for step in q] for q in d[s]] for s in d}, open('OUT.json', 'w'))",
        )
    if path.lower().endswith((".mid", ".midi")):
        return DataError(
            path,
            "is a MIDI file, which is not read",
            f"write a JSON file with the keys {', '.join(_SPLITS)}: each key has a list of sequences, "
            "a sequence is a list of steps, and a step is a list of MIDI note numbers",
        )
    return DataError(path, "is in a form that is not read", f"pass a file ending in {', '.join(_SUFFIXES)}")


def _read_npz(path: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    with open_npz(path) as arrays:
        for split in _SPLITS:
            missing = [key for key in (split, f"{split}_lengths") if key not in arrays]
            if missing and split in arrays:
                arrays[split]  # report an array of objects rather than missing lengths
            if missing:
                what = f"lacks {' and '.join(missing)}"
                raise DataError(path, what, "the file must hold train, valid and test, with lengths")
            lengths = _whole(arrays[f"{split}_lengths"], f"{path}, {split}_lengths")
            found[split] = (_binary_roll(arrays[split], f"{path}, {split}"), lengths)
    for split, (roll, lengths) in found.items():
        where = f"{path}, {split}_lengths"
        if (lengths < 1).any():
            raise DataError(where, f": a sequence of {lengths.min()} steps", "every sequence has at least one")
        if lengths.sum() != len(roll):
            raise DataError(where, f": they add up to {lengths.sum()}, and there are {len(roll)} steps")
    return found


def _read_mat(path: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the splits of a MATLAB file: traindata, validdata and testdata, cells of piano rolls."""
    with needs("data"):
        import scipy.io

    try:
        content = scipy.io.loadmat(io.BytesIO(read_bytes(path)))
    except DataError:
        raise
    except Exception as error:  # scipy raises many kinds of error for a damaged file
        what = f"is not a whole MATLAB file ({str(error)[:80]})"
        raise DataError(path, what, "copy the file again from its source") from None
    found = {}
    for split in _SPLITS:
        cells = content.get(f"{split}data")
        if cells is None:
            raise DataError(path, f"lacks {split}data", "the file must hold traindata, validdata and testdata")
        rolls = [_binary_roll(np.asarray(roll), f"{path}, {split}data") for roll in cells.ravel()]
        lengths = np.array([len(roll) for roll in rolls], np.int64)
        found[split] = (np.concatenate(rolls) if rolls else np.zeros((0, NOTES), np.uint8), lengths)
    return found


def _binary_roll(roll: np.ndarray, where: str) -> np.ndarray:
    if roll.ndim != 2 or roll.shape[1] != NOTES:
        raise DataError(where, f": an array of shape {roll.shape} where (steps, {NOTES}) belongs")
    if roll.dtype.kind not in "biuf" or not np.isin(roll, (0, 1)).all():
        raise DataError(where, ": a piano roll holds 0 and 1 only", "binarise the piano rolls first")
    return roll.astype(np.uint8)


def _whole(lengths: np.ndarray, where: str) -> np.ndarray:
    # Whole floats are accepted.  A cast alone would truncate fractions and turn NaN into a number.
    numbers = lengths.dtype.kind in "iuf" and np.isfinite(lengths).all() and (lengths == np.floor(lengths)).all()
    if not numbers:
        raise DataError(where, f": lengths are whole numbers of steps; some of these, {lengths.dtype}, are not")
    if lengths.size != max(lengths.shape, default=0):
        raise DataError(where, f": one length a sequence belongs here, not an array of shape {lengths.shape}")
    return lengths.astype(np.int64).reshape(-1)  # MATLAB's columns and rows are accepted


def _read_json(path: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    try:
        content = json.loads(read_bytes(path).decode("utf-8-sig"))
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        what = f"is not a whole JSON file ({str(error)[:80]})"
        raise DataError(path, what, "copy the file again from its source") from None
    found = {}
    for split in _SPLITS:
        sequences = content.get(split) if isinstance(content, dict) else None
        if not isinstance(sequences, list):
            raise DataError(
                path, f'lacks a list "{split}"', "the file must hold train, valid and test, lists of sequences"
            )
        rolls = [_roll(sequence, f"{path}, {split}, sequence {i}") for i, sequence in enumerate(sequences)]
        lengths = np.array([len(roll) for roll in rolls], np.int64)
        found[split] = (np.concatenate(rolls) if rolls else np.zeros((0, NOTES), np.uint8), lengths)
    return found


def _roll(sequence, where: str) -> np.ndarray:
    if not isinstance(sequence, list) or not sequence:
        raise DataError(where, ": a sequence is a list of at least one step", "repair or remove the sequence")
    roll = np.zeros((len(sequence), NOTES), np.uint8)
    for step, notes in enumerate(sequence):
        for note in notes if isinstance(notes, list) else [notes]:
            # Python's JSON reads NaN and Infinity, for which int() raises; is_integer refuses both.
            whole = isinstance(note, int) or (isinstance(note, float) and note.is_integer())
            if not whole or note >= LOWEST_NOTE + NOTES:
                raise DataError(where, f", step {step}: {note!r:.40} is not a MIDI note from {LOWEST_NOTE} to 108")
            if note < 0:
                continue  # a rest
            if note < LOWEST_NOTE:
                raise DataError(where, f", step {step}: {note!r:.40} is not a MIDI note from {LOWEST_NOTE} to 108")
            roll[step, int(note) - LOWEST_NOTE] = 1
    return roll
