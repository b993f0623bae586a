"""Polyphonic music as piano rolls: a frame of 88 binary notes (MIDI 21 to 108) a step, with the literature's splits.

Two forms are read.  ``<name>.npz``: ``train`` uint8 ``[total steps, 88]`` and ``train_lengths``, likewise valid and
test.  ``<name>.json``: ``{"train": [sequence, ...], ...}``, a sequence being a list of steps and a step a list of MIDI
notes (negative numbers are rests).  Both are small, so they are read whole and need no preparing.
"""

from __future__ import annotations

import json
import os
import zipfile

import numpy as np

from zf_jax.data.dataset import DataError, DataSet
from zf_jax.data.sources import Protocol, RaggedFrames
from zf_jax.typing import Observation

NOTES = 88
LOWEST_NOTE = 21
SETS = ("jsb_chorales", "nottingham", "piano_midi", "muse_data")
_SPLITS = ("train", "valid", "test")


def load_music(
    *,
    data_dir: str | None = None,
    name: str = "jsb_chorales",
    protocol: Protocol = "full",
    skip_bad_files: bool = False,
) -> DataSet:
    """Return one of the four polyphonic sets (Boulanger-Lewandowski et al. 2012) as frames of 88 notes.

    Args:
      data_dir: the folder of ``<name>.npz`` or ``<name>.json``, or that file itself.
      name: one of ``SETS``, or any other set in the same format.
      protocol: ``full`` scores every step; ``srnn`` takes the first as given.
      skip_bad_files: accepted as everywhere; there is one file, so a bad one always stops.

    Raises:
      DataError: the file is missing, damaged, or holds something other than notes; or there is no such protocol.
    """
    del skip_bad_files
    if protocol not in ("full", "srnn"):
        raise DataError(f"protocol is 'full' or 'srnn', not {protocol!r}")
    from zf_jax.data.prepared import folders

    path = _find(folders.need_folder(data_dir, name), name)
    rolls = _read_npz(path) if path.endswith(".npz") else _read_json(path)
    splits, notes, empty = {}, {}, 0
    for split, (roll, lengths) in rolls.items():
        starts = np.cumsum(lengths) - lengths
        # Under srnn a sequence of one step has nothing left to score.
        kept = lengths > (1 if protocol == "srnn" else 0)
        empty += int((~kept).sum())
        splits[split] = RaggedFrames(roll, starts[kept], lengths[kept], protocol)
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
    if os.path.isfile(folder) and folder.endswith((".npz", ".json")):
        return folder
    for suffix in (".npz", ".json"):
        path = os.path.join(folder, name + suffix)
        if os.path.isfile(path):
            return path
    raise DataError(f"{folder} holds neither {name}.npz nor {name}.json: put one there, or pass the file itself")


def _read_npz(path: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        raise DataError(f"{path} is not a whole npz file: copy it again from its source") from None
    for split in _SPLITS:
        missing = [key for key in (split, f"{split}_lengths") if key not in arrays]
        if missing:
            raise DataError(f"{path} lacks {' and '.join(missing)}: it must hold train, valid and test, with lengths")
        roll, lengths = arrays[split], _whole(arrays[f"{split}_lengths"], f"{path}, {split}_lengths")
        if roll.ndim != 2 or roll.shape[1] != NOTES:
            raise DataError(f"{path}, {split}: an array of shape {roll.shape} where (steps, {NOTES}) belongs")
        if lengths.ndim != 1 or lengths.sum() != len(roll) or (lengths < 1).any():
            raise DataError(f"{path}, {split}_lengths: they add up to {lengths.sum()}, and there are {len(roll)} steps")
        if not np.isin(roll, (0, 1)).all():
            raise DataError(f"{path}, {split}: a piano roll holds 0 and 1 only; binarise it first")
        found[split] = (roll.astype(np.uint8), lengths)
    return found


def _whole(lengths: np.ndarray, where: str) -> np.ndarray:
    # Floats that are whole are lengths too; a cast alone would cut off fractions, and make something of NaN.
    numbers = lengths.dtype.kind in "iuf" and np.isfinite(lengths).all() and (lengths == np.floor(lengths)).all()
    if not numbers:
        raise DataError(f"{where}: lengths are whole numbers of steps; some of these, {lengths.dtype}, are not")
    return lengths.astype(np.int64)


def _read_json(path: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        raise DataError(f"{path} is not a whole JSON file: copy it again from its source") from None
    found = {}
    for split in _SPLITS:
        sequences = content.get(split) if isinstance(content, dict) else None
        if not isinstance(sequences, list):
            raise DataError(f'{path} lacks a list "{split}": it must hold train, valid and test, lists of sequences')
        rolls = [_roll(sequence, f"{path}, {split}, sequence {i}") for i, sequence in enumerate(sequences)]
        lengths = np.array([len(roll) for roll in rolls], np.int64)
        found[split] = (np.concatenate(rolls) if rolls else np.zeros((0, NOTES), np.uint8), lengths)
    return found


def _roll(sequence, where: str) -> np.ndarray:
    if not isinstance(sequence, list) or not sequence:
        raise DataError(f"{where}: a sequence is a list of at least one step; remove it or mend it")
    roll = np.zeros((len(sequence), NOTES), np.uint8)
    for step, notes in enumerate(sequence):
        for note in notes if isinstance(notes, list) else [notes]:
            # Python's JSON reads NaN and Infinity, which int() would not take; is_integer refuses both.
            whole = isinstance(note, int) or (isinstance(note, float) and note.is_integer())
            if not whole or note >= LOWEST_NOTE + NOTES:
                raise DataError(f"{where}, step {step}: {note!r} is not a MIDI note from {LOWEST_NOTE} to 108")
            if note < 0:
                continue  # a rest
            if note < LOWEST_NOTE:
                raise DataError(f"{where}, step {step}: {note!r} is not a MIDI note from {LOWEST_NOTE} to 108")
            roll[step, int(note) - LOWEST_NOTE] = 1
    return roll
