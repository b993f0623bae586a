"""Speech as frames of consecutive samples: recordings are prepared once, then cut on reading.

Frame size, piece length and protocol are chosen on reading.  Samples after a recording's last whole frame are not
scored: to pad them would score made-up zeros.  They are counted.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zf_jax.data.dataset import DataError, DataSet
from zf_jax.data.prepared import folders, store
from zf_jax.data.sources import Protocol
from zf_jax.data.speech.audio import Recording, common_rate, read_audio
from zf_jax.data.speech.layouts import LAYOUTS
from zf_jax.data.speech.source import BLOCK, Blocks, SpeechSource
from zf_jax.typing import Observation

# In Hz; 0 takes the files' own.
SAMPLE_RATES = {"timit": 16000, "blizzard": 16000, "librispeech": 16000, "ljspeech": 22050, "audio_folder": 0}
_SPLITS = ("train", "valid", "test")


def load_speech(
    *,
    data_dir: str | None = None,
    name: str = "audio_folder",
    protocol: Protocol = "full",
    frame_size: int = 200,
    piece_frames: int = 40,
    resample: bool = False,
    skip_bad_files: bool = False,
    cache_dir: str | None = None,
    **prepared_with,
) -> DataSet:
    """Return a set of recordings as frames, normalised by the training split.

    ``train`` holds pieces of ``piece_frames`` (a recording's last may be shorter); ``valid`` and ``test`` whole
    recordings; ``valid_chunks`` and ``test_chunks`` the same cut like training (rule A12).

    Args:
      data_dir: the original folder, or the data directory ``experiments.prepare_data`` wrote.  An original folder is
        decoded once, into the cache.
      name: one of ``LAYOUTS``.
      protocol: ``full`` scores every frame; ``srnn`` takes the first of every sequence as given.
      frame_size: samples a frame.
      piece_frames: frames a piece.
      resample: convert files of another rate.
      skip_bad_files: count and skip files that cannot be used, instead of stopping at the end of preparing.
      cache_dir: where decoded audio is kept; ``$ZF_JAX_CACHE`` or ``~/.cache/zf_jax`` by default.
      **prepared_with: ``sample_rate``, and the options of the set's layout (``split_by``, ``split_seed`` …).

    Raises:
      DataError: the folder is not such a set, or files in it are bad; the sentence names the first.
    """
    if protocol not in ("full", "srnn"):
        raise DataError(f"protocol is 'full' or 'srnn', not {protocol!r}")
    if frame_size < 1 or piece_frames < (2 if protocol == "srnn" else 1):
        raise DataError(f"pieces of {piece_frames} frames of {frame_size} samples leave nothing to score")
    folder = folders.need_folder(data_dir, name)
    path = store.find(folder, stored_name(name, prepared_with))
    if path is None:
        there = store.variants(folder, name)
        if there:
            raise DataError(
                f"{folder} holds {name} prepared with other options ({', '.join(there)}): load it with the same ones, "
                "or prepare it again with these"
            )
        home = folders.cache_dir(cache_dir, folder)
        path = store.find(home, stored_name(name, prepared_with))
        if path is None:
            path = prepare_speech(
                folder, home, name=name, resample=resample, skip_bad_files=skip_bad_files, **prepared_with
            )
    return _dataset(name, path, protocol, frame_size, piece_frames, skip_bad_files)


def prepare_speech(
    manual_dir: str, data_dir: str, *, name: str, resample: bool = False, skip_bad_files: bool = False, **prepared_with
) -> str:
    """Decode a folder of recordings into array_record files under ``data_dir`` and return their path.

    Arguments and errors as for ``load_speech``; a set that is there already is left as it is.
    """
    if not os.path.isdir(manual_dir):
        raise DataError(f"{manual_dir} is not a folder: pass the folder of {name}")
    config = stored_name(name, prepared_with)
    return store.prepare(
        config, lambda: _recipe(manual_dir, name, resample, skip_bad_files, dict(prepared_with)), data_dir
    )


def _recipe(manual_dir: str, name: str, resample: bool, skip_bad_files: bool, options: dict[str, Any]) -> store.Recipe:
    import tensorflow_datasets as tfds

    rate = options.pop("sample_rate", SAMPLE_RATES[name])
    recordings, facts = LAYOUTS[name](manual_dir, **options)
    recordings = sorted(recordings, key=lambda r: r.name)
    rate = rate or common_rate(recordings)
    metadata: dict[str, Any] = {"sample_rate": rate, "facts": facts, "bad_files": [], "splits": {}}
    decoder = _Decoder(recordings, rate, resample, metadata)

    def finish():
        bad = metadata["bad_files"]
        if bad and not skip_bad_files:
            others = f" ({len(bad)} of {len(recordings)} files are bad)" if len(bad) > 1 else ""
            raise DataError(f"{bad[0]}{others}; or pass --config.data.skip_bad_files=True to count and skip bad files")

    features = {"samples": tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding=tfds.features.Encoding.BYTES)}
    generators = {split: (lambda split=split: decoder.blocks(split, finish)) for split in _SPLITS}
    return store.Recipe(features, generators, metadata, finish)


def stored_name(name: str, prepared_with: Mapping[str, Any]) -> str:
    """Return the stored name of a set prepared with these options; ``DataError`` where one is unknown."""
    parameters = inspect.signature(LAYOUTS[name]).parameters
    defaults = {key: p.default for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    defaults["sample_rate"] = SAMPLE_RATES[name]
    unknown = sorted(set(prepared_with) - set(defaults))
    if unknown:
        raise DataError(f"{name} has no option {unknown[0]!r}: it takes {', '.join(sorted(defaults))}")
    return store.config_name(name, prepared_with, defaults)


class _Decoder:
    """Yields the blocks of a split's recordings and writes down what it met: lengths, sums, bad files."""

    def __init__(self, recordings: Sequence[Recording], rate: int, resample: bool, metadata: dict[str, Any]):
        self._recordings, self._rate, self._resample, self._metadata = recordings, rate, resample, metadata

    def blocks(self, split: str, finish) -> Iterator[dict[str, Any]]:
        from tqdm import tqdm

        facts: dict[str, Any] = {"names": [], "speakers": [], "samples": [], "sum": 0, "sum_of_squares": 0}
        self._metadata["splits"][split] = facts
        mine = [r for r in self._recordings if r.split == split]
        for recording in tqdm(mine, desc=f"decoding {split}", unit="file", disable=None):
            try:
                samples, _ = read_audio(recording.path, self._rate, resample=self._resample)
            except DataError as error:
                self._metadata["bad_files"].append(str(error))
                continue
            facts["names"].append(recording.name)
            facts["speakers"].append(recording.speaker)
            facts["samples"].append(len(samples))
            # Integers of Python: exact whatever the number of hours.
            wide = samples.astype(np.int64)
            facts["sum"] += int(wide.sum())
            facts["sum_of_squares"] += int((wide * wide).sum())
            for start in range(0, len(samples), BLOCK):
                yield {"samples": samples[start : start + BLOCK]}
        if not facts["names"]:
            finish()  # bad files say more than an empty split
            raise DataError(f"no recording is left for the {split} split: add recordings, or choose larger fractions")


def _dataset(name, path, protocol: Protocol, frame_size: int, piece_frames: int, skip_bad_files: bool) -> DataSet:
    metadata = store.read_metadata(path)
    bad = metadata["bad_files"]
    if bad and not skip_bad_files:
        raise DataError(
            f"{path} was prepared without {len(bad)} bad files, the first: {bad[0]}; mend them and prepare again, or "
            "pass --config.data.skip_bad_files=True"
        )
    train = metadata["splits"]["train"]
    count = sum(train["samples"])
    mean = train["sum"] / count
    std = (train["sum_of_squares"] / count - mean**2) ** 0.5
    records = store.open_splits(path)
    splits, counts = {}, {}
    for split in _SPLITS:
        facts = metadata["splits"][split]
        common = {"frame_size": frame_size, "protocol": protocol, "mean": mean, "std": std}
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
