"""Of other data no file vanishes: one that gives no sequence is refused or named, since it may be the anomaly."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from helpers.closed_folder import close_folder

from experiments.lib.sequence_scoring import sequences
from zf_jax.data import DataError
from zf_jax.data.description import DataDescription
from zf_jax.data.foreign import foreign_source
from zf_jax.typing import Observation

SCALE = {"mean": 0.0, "std": 100.0}
RECORDINGS = DataDescription(
    "audio_folder", Observation("frames", 4), "gaussian", normalisation=SCALE, sample_rate=8000
)
TEXT = DataDescription("text_folder", Observation("tokens", 3), "categorical", vocabulary=("<eos>", "<unk>", "day"))
TABLES = DataDescription("arrays", Observation("frames", 1), "gaussian", normalisation=SCALE, columns=("x",))


def read(path, data, **options):
    told = []
    return foreign_source(str(path), data, warn=told.append, **options), told


def write_sound(path, samples):
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.arange(samples, dtype=np.int16), 8000, subtype="PCM_16")


def test_recordings_shorter_than_a_step_are_counted_and_named(tmp_path):
    for name, samples in (("a", 9), ("b/c", 3), ("d", 2), ("e", 7)):
        write_sound(tmp_path / f"{name}.wav", samples)
    source, told = read(tmp_path, RECORDINGS)
    assert source.names == ["a", "e"]
    assert len(told) == 1
    assert told[0].startswith("2 of 4 recordings")
    assert told[0].endswith("shorter than 4 samples: b/c, d")
    source, told = read(tmp_path, dataclasses.replace(RECORDINGS, protocol="srnn"))  # whose first step is not scored
    assert source.names == ["a"]
    assert told[0].endswith("shorter than 8 samples: b/c, d, e")
    with pytest.warns(UserWarning, match="2 of 4 recordings"):
        foreign_source(str(tmp_path), RECORDINGS)


@pytest.mark.parametrize(
    ("data", "suffix", "good"), [(RECORDINGS, "wav", None), (TEXT, "txt", "day day"), (TABLES, "csv", "x\n1\n2\n")]
)
def test_bad_files_that_the_run_skips_are_counted_and_named(data, suffix, good, tmp_path):
    whole = tmp_path / f"good.{suffix}"
    write_sound(whole, 9) if good is None else whole.write_text(good)
    assert read(tmp_path, data, skip_bad_files=True)[1] == []
    for name in ("bad", "worse"):
        (tmp_path / f"{name}.{suffix}").write_bytes(b"\xff\0")
    source, told = read(tmp_path, data, skip_bad_files=True)
    assert len(source) == 1
    assert len(told) == 1
    assert told[0].startswith(f"2 bad files or folders in {tmp_path} are skipped")
    assert f"bad.{suffix} " in told[0]
    assert f"worse.{suffix} " in told[0]
    with pytest.raises(DataError, match=rf"bad\.{suffix}"):
        read(tmp_path, data)


@pytest.mark.parametrize(("data", "suffix"), [(RECORDINGS, "wav"), (TEXT, "txt"), (TABLES, "csv")])
def test_a_folder_that_cannot_be_read_is_refused_or_named(data, suffix, tmp_path, monkeypatch):
    whole = tmp_path / f"a.{suffix}"
    write_sound(whole, 9) if suffix == "wav" else whole.write_text("x\n1\n")
    close_folder(tmp_path / "closed", monkeypatch)
    with pytest.raises(DataError, match=r"closed cannot be read \(Permission denied\)"):
        read(tmp_path, data)
    source, told = read(tmp_path, data, skip_bad_files=True)
    assert len(source) >= 1
    assert "closed cannot be read (Permission denied)" in told[0]


def test_the_programs_print_what_is_not_among_the_sequences(tmp_path, capsys):
    for name, samples in (("a", 9), ("b", 2)):
        write_sound(tmp_path / f"{name}.wav", samples)
    run = SimpleNamespace(data=RECORDINGS, config={"data": {"name": "audio_folder", "dir": ""}})
    assert len(sequences(run, None, str(tmp_path))) == 1
    assert capsys.readouterr().err.startswith("warning: 1 of 2 recordings")


def test_text_files_beside_those_of_stated_splits_are_counted(tmp_path):
    for name in ("train", "test", "readme"):
        (tmp_path / f"{name}.txt").write_text("day day")
    source, told = read(tmp_path, TEXT)
    assert len(source) == 2
    assert told[0].startswith("1 text files")
