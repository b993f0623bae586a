"""Prepare recordings of speech once, and read them as sequences of frames of consecutive samples.

Frame size, piece length and protocol are chosen on reading.  Samples after a recording's last whole frame are counted
and not scored, because padding would add zeros to the data.
"""

from __future__ import annotations

import functools
import inspect
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from zf_jax.data.dataset import DataError, DataSet, Folder
from zf_jax.data.options import check_options
from zf_jax.data.prepared import folders, store
from zf_jax.data.speech.audio import Audio, Recording, common_rate, decode
from zf_jax.data.speech.layouts import LAYOUTS, Found
from zf_jax.data.speech.source import BLOCK, Blocks, SpeechSource
from zf_jax.extras import needs
from zf_jax.typing import DataProtocol, Observation

# In Hz; 0 stands for the files' own sample rate.
SAMPLE_RATES = {"timit": 16000, "blizzard": 16000, "librispeech": 16000, "ljspeech": 22050, "audio_folder": 0}
_SPLITS = ("train", "valid", "test")
_SPOOL = 64 << 20
_Facts = Generator[store.Record, None, dict[str, Any]]  # yields records and returns facts


def load_speech(
    *,
    data_dir: str | None = None,
    name: str = "audio_folder",
    protocol: DataProtocol = "full",
    frame_size: int = 200,
    piece_frames: int = 40,
    resample: bool = False,
    downmix: bool = False,
    skip_bad_files: bool = False,
    cache_dir: str | None = None,
    **prepared_with,
) -> DataSet:
    """Return a set of recordings as frames, normalised by mean and standard deviation of the training split.

    Split ``train`` holds pieces of ``piece_frames`` frames (the last piece of a recording may be shorter).  Splits
    ``valid`` and ``test`` hold whole recordings; ``valid_chunks`` and ``test_chunks`` hold pieces (rule A12).

    Args:
      data_dir: the original folder, or the data directory that ``prepare`` wrote.  An original folder is decoded once,
        into the cache.
      name: one of ``LAYOUTS``.
      protocol: ``full`` scores every frame; ``srnn`` conditions on the first frame of every sequence.
      frame_size: samples per frame.
      piece_frames: frames per piece.
      resample: convert files of another sample rate.
      downmix: average the channels of files with several.
      skip_bad_files: count and skip bad files, instead of stopping at the end of the preparation.
      cache_dir: the folder of decoded audio; ``$ZF_JAX_CACHE`` or ``~/.cache/zf_jax`` by default.
      **prepared_with: ``sample_rate``, and the options of the set's layout (``split_by``, ``split_seed``, ...).

    Raises:
      DataError: the folder does not hold the set, or files are bad; the sentence names the first bad file.
    """
    if protocol not in ("full", "srnn"):
        raise DataError("", f"protocol is 'full' or 'srnn', not {protocol!r}")
    if frame_size < 1 or piece_frames < (2 if protocol == "srnn" else 1):
        raise DataError("", f"pieces of {piece_frames} frames of {frame_size} samples leave nothing to score")
    folder = folders.need_folder(data_dir, name)
    config = cached_as = stored_name(name, prepared_with)
    converted = _converted(resample, downmix)
    if skip_bad_files:  # which files are bad depends on the conversions
        cached_as = "-".join([config, "skip_bad_files", *converted])

    def prepare_into(home: str) -> str:
        whole = store.find(home, config)
        if whole is not None and not store.read_metadata(whole)["bad_files"]:
            return whole
        return _prepare(folder, home, cached_as, name, converted, skip_bad_files, prepared_with)

    path = store.find_or_prepare(folder, cache_dir, name, config, prepare_into, cached_as)
    return _dataset(name, path, protocol, frame_size, piece_frames, skip_bad_files)


def prepare_speech(
    manual_dir: str,
    data_dir: str,
    *,
    name: str,
    resample: bool = False,
    downmix: bool = False,
    skip_bad_files: bool = False,
    **prepared_with,
) -> str:
    """Decode the recordings in ``manual_dir`` into array_record files under ``data_dir``; return the path of the files.

    Options and errors are those of ``load_speech``.  An existing preparation is kept.
    """
    converted = _converted(resample, downmix)
    config = stored_name(name, prepared_with)
    path = _prepare(manual_dir, data_dir, config, name, converted, skip_bad_files, prepared_with)
    metadata = store.read_metadata(path)
    new = sorted(set(converted) - set(metadata.get("converted", converted)))
    if metadata["bad_files"] and new:
        what = f"was prepared without {len(metadata['bad_files'])} bad files, and not with {new[0]}=True"
        raise DataError(path, what, f"delete {path} to prepare the set again")
    return path


def _converted(resample: bool, downmix: bool) -> list[str]:
    """Return the names of the conversions that are asked for."""
    return ["resample"] * resample + ["downmix"] * downmix


def _prepare(
    manual_dir: str,
    data_dir: str,
    config: str,
    name: str,
    converted: Sequence[str],
    skip_bad_files: bool,
    prepared_with: Mapping[str, Any],
) -> str:
    if not os.path.isdir(manual_dir):
        raise DataError(manual_dir, "is not a folder", Folder(name))

    def make_recipe() -> store.Recipe:
        options = dict(prepared_with)
        rate = options.pop("sample_rate", SAMPLE_RATES[name])
        found = LAYOUTS[name](manual_dir, **options)
        return _recipe(found, rate or common_rate(found.recordings), converted, skip_bad_files)

    return store.prepare(config, make_recipe, data_dir, manual_dir)


def _recipe(found: Found, rate: int, converted: Sequence[str], skip_bad_files: bool) -> store.Recipe:
    with needs("data"):
        import tensorflow_datasets as tfds

    recordings = sorted(found.recordings, key=lambda r: r.name)
    bad, read = list(found.problems), set()

    def refuse_bad() -> None:
        if bad and not skip_bad_files:
            # A split without a good file ends the preparation before the files of the next are read.
            raise store.with_others(bad, sum(r.split in read for r in recordings))

    def records(split: str) -> _Facts:
        mine = [r for r in recordings if r.split == split]
        read.add(split)
        conversions = {"resample": "resample" in converted, "downmix": "downmix" in converted}
        decoding = functools.partial(_spooled, rate=rate, **conversions)
        facts = yield from _blocks(mine, decoding, bad, split)
        if not facts["names"]:
            refuse_bad()  # report bad files rather than an empty split
            what = f"no recording is left for the {split} split"
            raise DataError("", what, "add recordings, or choose larger fractions")
        return facts

    def metadata(facts: dict[str, Any]) -> dict[str, Any]:
        refuse_bad()
        bad_files = [error.fact for error in bad]
        known = {"sample_rate": rate, "converted": list(converted), "facts": found.facts}
        return {**known, "bad_files": bad_files, "splits": facts}

    features = {"samples": tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding=tfds.features.Encoding.BYTES)}
    return store.Recipe(features, {split: functools.partial(records, split) for split in _SPLITS}, metadata)


def _blocks(recordings: Sequence[Recording], decoding, bad: list[DataError], split: str) -> _Facts:
    """Yield the blocks of a split's recordings; return names, lengths, sums and counts of clipped samples."""
    with needs("data"):
        from tqdm import tqdm

    facts: dict[str, Any] = {"names": [], "speakers": [], "samples": [], "sum": 0, "sum_of_squares": 0, "clipped": 0}
    for recording in tqdm(recordings, desc=f"decoding {split}", unit="file", disable=None):
        try:
            spool, audio = decoding(recording.path)
        except store.NoRoom:
            raise
        except DataError as error:
            bad.append(error)
            continue
        facts["names"].append(recording.name)
        facts["speakers"].append(recording.speaker)
        facts["samples"].append(audio.samples)
        facts["clipped"] += audio.clipped
        with spool:
            while samples := spool.read(BLOCK * 2):
                block = np.frombuffer(samples, np.int16)
                # Python integers are exact for any number of hours.
                wide = block.astype(np.int64)
                facts["sum"] += int(wide.sum())
                facts["sum_of_squares"] += int((wide * wide).sum())
                yield {"samples": block}
    return facts


def _spooled(path: str, *, rate: int, resample: bool, downmix: bool) -> tuple[IO[bytes], Audio]:
    """Decode a whole recording into memory, or into a temporary file if larger than ``_SPOOL`` bytes.

    No block is stored before the last, because the error of a bad file may come at the end.
    """
    spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL)  # noqa: SIM115  (the caller closes it)
    try:
        decoding = decode(path, rate, resample=resample, downmix=downmix)
        while True:
            try:
                block = next(decoding)
            except StopIteration as stop:
                spool.seek(0)
                return spool, stop.value
            spool.write(block.tobytes())
    except OSError as error:
        spool.close()
        what = f"has no room to decode {path} ({error.strerror or error})"
        raise store.NoRoom(tempfile.gettempdir(), what, "make room, or set TMPDIR") from None
    except BaseException:
        spool.close()
        raise


def stored_name(name: str, prepared_with: Mapping[str, Any]) -> str:
    """Return the stored name of a set prepared with these options; ``DataError`` if an option is unknown."""
    parameters = inspect.signature(LAYOUTS[name]).parameters
    defaults = {key: p.default for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    defaults["sample_rate"] = SAMPLE_RATES[name]
    check_options(name, prepared_with, defaults)
    return store.config_name(name, prepared_with, defaults)


def _dataset(name, path, protocol: DataProtocol, frame_size: int, piece_frames: int, skip_bad_files: bool) -> DataSet:
    metadata = store.read_metadata(path)
    bad = metadata["bad_files"]
    if bad and not skip_bad_files:
        raise store.prepared_without(path, bad)
    train = metadata["splits"]["train"]
    count = sum(train["samples"])
    mean = train["sum"] / count
    std = (train["sum_of_squares"] / count - mean**2) ** 0.5
    records = store.open_splits(path)
    splits, counts = {}, {}
    for split in _SPLITS:
        facts = metadata["splits"][split]
        common = {"frame_size": frame_size, "protocol": protocol, "mean": mean, "std": std}
        common["names"] = facts["names"]
        blocks = Blocks(records[split])
        pieces = SpeechSource(blocks, facts["samples"], piece_frames=piece_frames, **common)
        whole = SpeechSource(blocks, facts["samples"], piece_frames=None, **common)
        splits[split] = pieces if split == "train" else whole
        if split != "train":
            splits[f"{split}_chunks"] = pieces
        counts[split] = {
            "recordings": len(facts["samples"]),
            "speakers": len(set(facts["speakers"])),
            "seconds": round(sum(facts["samples"]) / metadata["sample_rate"], 2),
            "samples": sum(facts["samples"]),
            "samples_clipped": facts.get("clipped", 0),
            "samples_after_last_frame_not_scored": whole.samples_after_last_frame,
            "recordings_too_short_to_score": whole.recordings_too_short,
            "pieces_too_short_to_score": pieces.pieces_too_short,
        }
    return DataSet(
        name=name,
        observation=Observation("frames", frame_size),
        default_emission="gaussian",
        splits=splits,
        protocol=protocol,
        normalisation={"mean": mean, "std": std},
        sample_rate=metadata["sample_rate"],
        quantisation_step=1.0 / std,
        units="frame",
        counts={"audio": counts, "bad_files_skipped": len(bad), "bad_files": bad, **metadata["facts"]},
    )
