"""List the recordings of speech sets, with speakers and official splits.

Names, speakers and splits come from sorted lists and stable hashes, never from directory order.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from zf_jax.data.dataset import DataError, Option
from zf_jax.data.prepared import splits
from zf_jax.data.prepared.folders import folders_in, walk
from zf_jax.data.speech.audio import Recording, is_audio, same_sound, without_audio_suffix


class Found(NamedTuple):
    """The recordings of a folder, counts of files left out, and errors of unreadable paths."""

    recordings: list[Recording]
    facts: dict[str, Any]
    problems: list[DataError]


def timit(root: str, *, valid_fraction: float = 0.05, split_seed: int = 0) -> Found:
    """Return TIMIT's recordings: the official TRAIN and TEST, and ``valid_fraction`` of the training files as valid.

    ``root`` is the licensed folder, or a folder at most two levels above ``TRAIN/DR1/FCJF0/SA1.WAV``; names are in
    upper or lower case, files are SPHERE or RIFF.  Validation is drawn from the sorted list of training *files*, as in
    the literature, so validation speakers are training speakers; test speakers are not.
    """
    parts = _case_folders(root, ("train", "test"))
    if parts is None:
        raise DataError(root, "is not TIMIT", "pass the licensed folder, which holds TRAIN and TEST")
    found: dict[str, Recording] = {}
    files = _Files()
    copies = 0
    for part, folder in parts.items():
        for path in files.below(folder):
            inside = os.path.relpath(path, folder).upper().replace(os.sep, "/")
            name = f"{part.upper()}/{without_audio_suffix(inside)}"
            # Some releases hold a recording twice, as SA1.WAV (SPHERE) and SA1.WAV.wav (RIFF).
            if name in found and same_sound(found[name].path, path):
                copies += 1
                continue
            name = f"{part.upper()}/{inside}" if name in found else name
            found[name] = Recording(path, name, _timit_speaker(name), part)
    training = sorted(name for name, recording in found.items() if recording.split == "train")
    _need(training, os.path.join(root, "TRAIN"), problems=files.problems)
    _need([name for name in found if name not in training], os.path.join(root, "TEST"), problems=files.problems)
    valid = splits.take(training, valid_fraction, split_seed, what="training files")
    recordings = [r._replace(split="valid") if r.name in valid else r for r in found.values()]
    counted = Counter("test" if r.split == "test" else "train and valid" for r in recordings)
    whole = counted["train and valid"] == 4620 and counted["test"] == 1680
    there = f"{counted['train and valid']:,} + {counted['test']:,} files"
    facts: dict[str, Any] = {"official_split": f"{there}, complete" if whole else f"{there}, INCOMPLETE"}
    if copies:
        facts["second_copies_not_read"] = copies
    return Found(recordings, {**facts, **files.facts}, files.problems)


def _timit_speaker(name: str) -> str:
    """Return the speaker in a file's path: a name of TIMIT's form (FCJF0), or else the folder."""
    for part in reversed(re.split(r"[/.]", name)):
        if re.fullmatch(r"[FM][A-Z]{2}[A-Z0-9]\d", part):
            return part
    return name.split("/")[-2]


def librispeech(
    root: str,
    *,
    split_by: str = "official",
    valid_fraction: float = 0.05,
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> Found:
    """Return LibriSpeech's recordings, from train-*, dev-* and test-* folders of ``speaker/chapter/*.flac``.

    ``split_by="speaker"`` or ``"file"`` divides the recordings of all folders instead.
    """
    home = os.path.join(root, "LibriSpeech")
    home = home if os.path.isdir(home) else root
    kinds = {"train": "train", "dev": "valid", "test": "test"}
    recordings, files = [], _Files()
    for folder, path_of_folder in folders_in(home).items():
        split = kinds.get(folder.split("-")[0])
        if split is None:
            continue
        for path in files.below(path_of_folder):
            name = os.path.relpath(path, home).replace(os.sep, "/")
            recordings.append(Recording(path, name, name.split("/")[1], split))
    then = "pass the folder that holds train-clean-100, dev-clean and test-clean"
    _need(recordings, home, then, problems=files.problems)
    if split_by == "official":
        missing = [f"{k}-*" for k, split in kinds.items() if not any(r.split == split for r in recordings)]
        if missing:
            what = f"has no recordings in {' and '.join(missing)}"
            remedy = Option("split_by", "speaker", "(or 'file') to divide the folders that are there")
            raise DataError(home, what, "add the missing folders", remedy)
        return Found(recordings, files.facts, files.problems)
    return _divided(recordings, files, split_by, valid_fraction, test_fraction, split_seed)


def ljspeech(root: str, *, valid_fraction: float = 0.05, test_fraction: float = 0.1, split_seed: int = 0) -> Found:
    """Return LJSpeech's recordings, ``LJSpeech-1.1/wavs/*.wav``, of one speaker, divided by file."""
    home = os.path.join(root, "LJSpeech-1.1")
    wavs = os.path.join(home if os.path.isdir(home) else root, "wavs")
    files = _Files()
    recordings = [Recording(p, os.path.basename(p), "LJ", "") for p in files.below(wavs)]
    _need(recordings, wavs, "pass the LJSpeech-1.1 folder, which holds wavs", problems=files.problems)
    return _divided(recordings, files, "file", valid_fraction, test_fraction, split_seed)


def audio_folder(
    root: str,
    *,
    split_by: str = "file",
    speaker_pattern: str = r"^([^/]+)/",
    valid_fraction: float = 0.05,
    test_fraction: float = 0.1,
    split_seed: int = 0,
) -> Found:
    """Return every audio file under a folder, divided by file, or by speaker so that no speaker is in two splits.

    The first group of the regular expression ``speaker_pattern`` is the speaker in a file's path relative to ``root``:
    by default the first folder.  ``"([^/-]+)-[^/]*$"`` is the part of the file's name before the first dash.
    """
    try:
        pattern = re.compile(speaker_pattern)
    except re.error as error:
        raise DataError("", f"speaker_pattern {speaker_pattern!r} is not a regular expression: {error}") from None
    recordings, files, nameless = [], _Files(), []
    for path in files.below(root):
        name = os.path.relpath(path, root).replace(os.sep, "/")
        match = pattern.search(name)
        speaker = (match.group(1) or "") if match and pattern.groups else ""
        if split_by == "speaker" and not speaker:
            nameless.append(path)
        recordings.append(Recording(path, name, speaker, ""))
    _need(recordings, root, problems=files.problems)
    if nameless:
        raise DataError(
            nameless[0],
            f"({len(nameless)} of {len(recordings)} files) names no speaker by speaker_pattern {speaker_pattern!r}",
            Option("speaker_pattern"),
            Option("split_by", "file"),
        )
    return _divided(recordings, files, split_by, valid_fraction, test_fraction, split_seed)


LAYOUTS: dict[str, Callable[..., Found]] = {
    "timit": timit,
    "blizzard": audio_folder,  # cut by the user: any folders, each file one sequence (rule A15)
    "librispeech": librispeech,
    "ljspeech": ljspeech,
    "audio_folder": audio_folder,
}


class _Files:
    """List audio files and count other files.

    Attributes:
      facts: counts of other files and of hidden files.
      problems: one error for each path that cannot be read.
    """

    def __init__(self):
        self._counts: Counter[str] = Counter()
        self.problems: list[DataError] = []

    def below(self, folder: str) -> list[str]:
        """Return the audio files under a folder, sorted."""
        listing = walk(folder)
        self.problems += listing.problems
        audio = [path for path in listing.files if is_audio(path)]
        self._counts["other_files_not_read"] += len(listing.files) - len(audio)
        self._counts["hidden_files_not_read"] += listing.hidden
        return audio

    @property
    def facts(self) -> dict[str, int]:
        return dict(self._counts)


def _divided(
    recordings: Sequence[Recording], files: _Files, split_by: str, valid: float, test: float, seed: int
) -> Found:
    if split_by not in ("file", "speaker"):
        raise DataError("", f"split_by is 'file' or 'speaker', not {split_by!r}")
    groups, copies = _groups(recordings)
    keys = [r.speaker if split_by == "speaker" else groups[r.name] for r in recordings]
    divided = splits.three_way(keys, valid, test, seed, what=f"{split_by}s")
    facts: dict[str, Any] = dict(files.facts)
    if copies:
        facts["copies_kept_in_one_split"] = copies
    return Found([r._replace(split=s) for r, s in zip(recordings, divided, strict=True)], facts, files.problems)


def _groups(recordings: Sequence[Recording]) -> tuple[dict[str, str], int]:
    """Return a map from each recording's name to the first name among copies, and the number of further copies.

    Copies are files whose names differ in the suffix only (a WAV and a FLAC), and files of equal bytes.
    """
    first: dict[str, str] = {}
    groups: dict[str, str] = {}
    sizes: dict[int, list[Recording]] = defaultdict(list)
    for recording in sorted(recordings, key=lambda r: r.name):
        groups[recording.name] = first.setdefault(without_audio_suffix(recording.name), recording.name)
        sizes[os.path.getsize(recording.path) if os.path.isfile(recording.path) else -1].append(recording)
    for size, some in sizes.items():
        if len(some) < 2 or size <= 0:
            continue
        same: dict[bytes, str] = {}
        for recording in some:
            digest = _digest(recording.path)
            if digest is not None:
                other = same.setdefault(digest, groups[recording.name])
                old = groups[recording.name]
                if old != other:
                    groups.update({name: other for name, group in groups.items() if group == old})
    return groups, len(groups) - len(set(groups.values()))


def _digest(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None  # decoding reports the error


def _need(
    found: Sequence[Any],
    where: str,
    then: str = "pass the folder that holds the recordings",
    *,
    problems: Sequence[DataError] = (),
) -> None:
    if not found and problems:
        raise problems[0]
    if not found:
        raise DataError(where, "does not exist" if not os.path.exists(where) else "holds no audio files", then)


def _case_folders(root: str, names: tuple[str, ...]) -> dict[str, str] | None:
    """Return the folders ``names``, in upper or lower case, in ``root`` or at most two levels below."""
    level, problems = [root], []
    for _ in range(3):
        below = []
        for folder in level:
            try:
                inside = folders_in(folder)
            except DataError as error:
                problems.append(error)
                continue
            lower = {name.lower(): path for name, path in inside.items()}
            if all(name in lower for name in names):
                return {name: lower[name] for name in names}
            below += list(inside.values())
        level = below
    if problems:
        raise problems[0]
    return None
