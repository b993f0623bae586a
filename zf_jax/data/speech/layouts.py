"""How speech sets lie on disk, and their official splits: a folder in, a list of recordings out.

Names, speakers and splits come from sorted lists and stable hashes, never from directory order.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from zf_jax.data.dataset import DataError
from zf_jax.data.prepared import splits
from zf_jax.data.prepared.folders import walk
from zf_jax.data.speech.audio import Recording, is_audio

Found = tuple[list[Recording], dict[str, Any]]


def timit(root: str, *, valid_fraction: float = 0.05, split_seed: int = 0) -> Found:
    """Return TIMIT's recordings: the official TRAIN and TEST, and ``valid_fraction`` of the training files as valid.

    ``root`` is the licensed folder, or one above it: ``TRAIN/DR1/FCJF0/SA1.WAV``, in either case, SPHERE or RIFF.
    Validation is drawn from the sorted list of training *files*, as in the literature, so its speakers are training
    speakers; those of TEST are not.
    """
    parts = _case_folders(root, ("train", "test"))
    if parts is None:
        raise DataError(f"{root} is not TIMIT: it must hold the folders TRAIN and TEST; pass the licensed folder")
    found: dict[str, Recording] = {}
    copies = 0
    for part, folder in parts.items():
        for path in walk(folder):
            if not is_audio(path):
                continue
            inside = os.path.relpath(path, folder).upper().replace(os.sep, "/")
            name = f"{part.upper()}/{inside.split('.')[0]}"
            if name in found:  # some releases hold SA1.WAV (SPHERE) and SA1.WAV.wav (RIFF): one recording
                copies += 1
                continue
            pieces = name.split("/")
            found[name] = Recording(path, name, pieces[-2], part)
    training = sorted(name for name, recording in found.items() if recording.split == "train")
    _need(training, os.path.join(root, "TRAIN"))
    _need([name for name in found if name not in training], os.path.join(root, "TEST"))
    valid = splits.take(training, valid_fraction, split_seed, what="training files")
    recordings = [r._replace(split="valid") if r.name in valid else r for r in found.values()]
    counted = Counter("test" if r.split == "test" else "train and valid" for r in recordings)
    whole = counted["train and valid"] == 4620 and counted["test"] == 1680
    there = f"{counted['train and valid']:,} + {counted['test']:,} files"
    facts: dict[str, Any] = {"official_split": f"{there}, complete" if whole else f"{there}, INCOMPLETE"}
    if copies:
        facts["second_copies_not_read"] = copies
    return recordings, facts


def librispeech(
    root: str,
    *,
    split_by: str = "official",
    valid_fraction: float = 0.05,
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> Found:
    """Return LibriSpeech's recordings: train-*, dev-* and test-* folders, each ``speaker/chapter/*.flac``.

    ``split_by="speaker"`` or ``"file"`` divides whatever folders there are instead.
    """
    home = os.path.join(root, "LibriSpeech")
    home = home if os.path.isdir(home) else root
    kinds = {"train": "train", "dev": "valid", "test": "test"}
    recordings = []
    for folder in sorted(os.listdir(home)) if os.path.isdir(home) else []:
        split = kinds.get(folder.split("-")[0])
        if split is None or not os.path.isdir(os.path.join(home, folder)):
            continue
        for path in walk(os.path.join(home, folder)):
            if is_audio(path):
                name = os.path.relpath(path, home).replace(os.sep, "/")
                recordings.append(Recording(path, name, name.split("/")[1], split))
    _need(recordings, home, "it must hold folders like train-clean-100, dev-clean and test-clean")
    if split_by == "official":
        missing = [f"{k}-*" for k, split in kinds.items() if not any(r.split == split for r in recordings)]
        if missing:
            raise DataError(
                f"{home} has no recordings in {' and '.join(missing)}: add those folders, or pass "
                "--config.data.split_by=speaker (or file) to divide what is there"
            )
        return recordings, {}
    return _divide(recordings, split_by, valid_fraction, test_fraction, split_seed), {}


def ljspeech(root: str, *, valid_fraction: float = 0.05, test_fraction: float = 0.1, split_seed: int = 0) -> Found:
    """Return LJSpeech's recordings, ``LJSpeech-1.1/wavs/*.wav``: one speaker, no official split, divided by file."""
    home = os.path.join(root, "LJSpeech-1.1")
    wavs = os.path.join(home if os.path.isdir(home) else root, "wavs")
    recordings = [Recording(p, os.path.basename(p), "LJ", "") for p in walk(wavs) if is_audio(p)]
    _need(recordings, wavs, "pass the LJSpeech-1.1 folder, which holds wavs")
    return _divide(recordings, "file", valid_fraction, test_fraction, split_seed), {}


def audio_folder(
    root: str,
    *,
    split_by: str = "file",
    speaker_pattern: str = r"^([^/]+)/",
    valid_fraction: float = 0.05,
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> Found:
    """Return every WAV, FLAC or SPHERE file under a folder, divided by file or so that no speaker is in two splits.

    ``speaker_pattern`` is a regular expression whose first group is the speaker in a file's path below ``root``: by
    default the first folder; ``"([^/-]+)-[^/]*$"`` takes what stands before the first dash of the file's name.
    """
    try:
        pattern = re.compile(speaker_pattern)
    except re.error as error:
        raise DataError(f"speaker_pattern {speaker_pattern!r} is not a regular expression: {error}") from None
    recordings, others, nameless = [], 0, []
    for path in walk(root):
        name = os.path.relpath(path, root).replace(os.sep, "/")
        if not is_audio(path):
            others += 1
            continue
        match = pattern.search(name)
        speaker = match.group(1) if match and pattern.groups else ""
        if split_by == "speaker" and not speaker:
            nameless.append(path)
        recordings.append(Recording(path, name, speaker, ""))
    _need(recordings, root)
    if nameless:
        raise DataError(
            f"{nameless[0]} ({len(nameless)} of {len(recordings)} files) names no speaker by speaker_pattern "
            f"{speaker_pattern!r}: set --config.data.speaker_pattern, or --config.data.split_by=file"
        )
    return _divide(recordings, split_by, valid_fraction, test_fraction, split_seed), {"other_files_not_read": others}


LAYOUTS: dict[str, Callable[..., Found]] = {
    "timit": timit,
    "blizzard": audio_folder,  # the user's own cut of the licensed recordings: any folders, one stream a file (A15)
    "librispeech": librispeech,
    "ljspeech": ljspeech,
    "audio_folder": audio_folder,
}


def _divide(recordings: Sequence[Recording], split_by: str, valid: float, test: float, seed: int) -> list[Recording]:
    if split_by not in ("file", "speaker"):
        raise DataError(f"split_by is 'file' or 'speaker', not {split_by!r}")
    keys = [r.speaker if split_by == "speaker" else r.name for r in recordings]
    divided = splits.three_way(keys, valid, test, seed, what=f"{split_by}s")
    return [r._replace(split=split) for r, split in zip(recordings, divided, strict=True)]


def _need(found: Sequence[Any], where: str, then: str = "give the folder that holds the recordings") -> None:
    if not found:
        what = "does not exist" if not os.path.exists(where) else "holds no WAV or FLAC files"
        raise DataError(f"{where} {what}: {then}")


def _case_folders(root: str, names: tuple[str, ...]) -> dict[str, str] | None:
    """Return the folders so named, in either case, in ``root`` or at most two folders below it."""
    level = [root]
    for _ in range(3):
        below = []
        for folder in level:
            inside = {
                e: os.path.join(folder, e) for e in sorted(os.listdir(folder)) if os.path.isdir(os.path.join(folder, e))
            }
            lower = {name.lower(): path for name, path in inside.items()}
            if all(name in lower for name in names):
                return {name: lower[name] for name in names}
            below += list(inside.values())
        level = below
    return None
