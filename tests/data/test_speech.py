"""Speech: layouts, splits, frames, normalisation; and every way a recording can be bad.

TIMIT and Blizzard cannot be had freely, so small files of exactly their format and layout stand in for them.
"""

import numpy as np
import pytest

from zf_jax import data
from zf_jax.data.speech import layouts
from zf_jax.data.speech.source import BLOCK

soundfile = pytest.importorskip("soundfile")
RATE = 16000


def noise(seed, samples=None):
    rng = np.random.default_rng(seed)
    samples = samples or int(rng.integers(2000, 20000))
    return np.clip(rng.normal(5, 500, samples), -32768, 32767).astype(np.int16)


def write(path, samples, rate=RATE, **kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **{"subtype": "PCM_16", **kind})


@pytest.fixture
def folder(tmp_path):
    """Twelve speakers of two recordings each, FLAC and WAV."""
    for i in range(24):
        write(tmp_path / "talks" / f"speaker{i // 2:02d}" / f"{i}.{'wav' if i % 2 else 'flac'}", noise(i))
    return tmp_path / "talks"


@pytest.fixture
def load(tmp_path):
    return lambda name, root, **o: data.load(name, data_dir=str(root), cache_dir=str(tmp_path / "cache"), **o)


def raw(source):
    return [source.read(i) for i in range(len(source))]


def make_timit(root, *, kind, lower=False):
    """TIMIT's tree: TRAIN and TEST, dialect regions, speakers, ten sentences each."""
    for i in range(60):
        part, speaker = ("TRAIN", f"FAB{i // 10}0") if i < 40 else ("TEST", f"MCD{i // 10}0")
        name = f"{part}/DR{i % 8 + 1}/{speaker}/S{'AIX'[i % 3]}{i}"
        name = name.lower() + ".wav" if lower else name + ".WAV"
        write(root / name, noise(i), format=kind)
        (root / name).with_suffix(".TXT").write_text("0 1 a sentence")
    return root


@pytest.mark.parametrize(("kind", "lower"), [("NIST", False), ("WAV", False), ("WAV", True)])
def test_timit_is_read_as_sphere_or_riff_in_either_case(tmp_path, load, kind, lower):
    found = load("timit", make_timit(tmp_path / "TIMIT", kind=kind, lower=lower))
    audio = found.describe()["audio"]
    assert {split: counts["recordings"] for split, counts in audio.items()} == {"train": 38, "valid": 2, "test": 20}
    assert audio["test"]["samples"] == sum(len(noise(i)) for i in range(40, 60))
    assert found.describe()["official_split"] == "40 + 20 files, INCOMPLETE"
    heard = sorted(samples.tobytes() for samples in raw(found.splits["test"]))
    assert heard == sorted(noise(i)[: len(noise(i)) // 200 * 200].tobytes() for i in range(40, 60))


def test_timit_with_both_encodings_of_a_recording_reads_it_once(tmp_path, load):
    root = make_timit(tmp_path / "TIMIT", kind="NIST")
    write(root / "TRAIN" / "DR1" / "FAB00" / "SA0.WAV.wav", noise(0))
    found = load("timit", tmp_path)  # the folder above will do
    assert found.describe()["audio"]["train"]["recordings"] == 38
    assert found.describe()["second_copies_not_read"] == 1


def test_timit_validation_is_drawn_from_the_sorted_training_files_by_seed(tmp_path):
    root = str(make_timit(tmp_path / "TIMIT", kind="WAV"))
    by_seed = [{r.name for r in layouts.timit(root, split_seed=s)[0] if r.split == "valid"} for s in (0, 0, 1)]
    assert by_seed[0] == by_seed[1] != by_seed[2]
    assert all(name.startswith("TRAIN/") for name in by_seed[0] | by_seed[2])
    larger = {r.name for r in layouts.timit(root, valid_fraction=0.25)[0] if r.split == "valid"}
    assert len(larger) == 10
    tested = {r.speaker for r in layouts.timit(root)[0] if r.split == "test"}
    assert not tested & {r.speaker for r in layouts.timit(root)[0] if r.split != "test"}


def test_blizzard_pairs_each_frame_with_the_next_of_the_same_stream(tmp_path, load):
    streams = {}
    for i in range(24):
        streams[i] = (np.arange(8200) % 7000 + 1000 * i).astype(np.int16)
        write(tmp_path / "blizzard" / f"CA-MP{i % 3}" / f"{i}.wav", streams[i])
    found = load("blizzard", tmp_path / "blizzard", protocol="srnn")
    source, mean, std = found.splits["test"], found.normalisation["mean"], found.normalisation["std"]
    for i in range(len(source)):
        example = source[i]
        assert np.array_equal(example.inputs[1:], example.targets[:-1])
        heard = np.rint(np.concatenate([example.inputs[:1], example.targets]).ravel() * std + mean).astype(np.int16)
        assert any(np.array_equal(heard, stream[:8200]) for stream in streams.values())


def test_librispeech_keeps_its_official_splits(tmp_path, load):
    for i, part in enumerate(["train-clean-100"] * 6 + ["dev-clean"] * 2 + ["test-clean"] * 3):
        write(tmp_path / "LibriSpeech" / part / str(i) / "7" / f"{i}-7-0000.flac", noise(i), format="FLAC")
    (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text("; a comment")
    audio = load("librispeech", tmp_path).describe()["audio"]
    assert {s: c["recordings"] for s, c in audio.items()} == {"train": 6, "valid": 2, "test": 3}
    divided = load("librispeech", tmp_path, split_by="speaker").describe()["audio"]
    assert sum(c["recordings"] for c in divided.values()) == 11


def test_librispeech_without_its_test_folders_says_what_to_do(tmp_path, load):
    write(tmp_path / "LibriSpeech" / "train-clean-100" / "19" / "198" / "a.flac", noise(0), format="FLAC")
    with pytest.raises(data.DataError, match=r"no recordings in dev-\* and test-\*.*split_by='speaker'"):
        load("librispeech", tmp_path)


def test_ljspeech_is_read_at_its_own_rate(tmp_path, load):
    for i in range(20):
        write(tmp_path / "LJSpeech-1.1" / "wavs" / f"LJ001-{i:04d}.wav", noise(i), 22050)
    (tmp_path / "LJSpeech-1.1" / "metadata.csv").write_text("LJ001-0000|a|a\n")
    found = load("ljspeech", tmp_path)
    assert found.sample_rate == 22050
    assert {s: c["recordings"] for s, c in found.describe()["audio"].items()} == {"train": 17, "valid": 1, "test": 2}


def test_speaker_splits_share_no_speaker(folder):
    recordings, *_ = layouts.audio_folder(str(folder), split_by="speaker", valid_fraction=0.2, test_fraction=0.2)
    speakers = {s: {r.speaker for r in recordings if r.split == s} for s in ("train", "valid", "test")}
    assert {s: len(x) for s, x in speakers.items()} == {"train": 8, "valid": 2, "test": 2}
    assert len(set.union(*speakers.values())) == 12


def test_a_pattern_finds_the_speaker_in_the_file_name(tmp_path):
    for i in range(12):
        write(tmp_path / f"{100 + i // 2}-{i}-0000.wav", noise(i))
    recordings, *_ = layouts.audio_folder(str(tmp_path), split_by="speaker", speaker_pattern=r"([^/-]+)-[^/]*$")
    assert {r.speaker for r in recordings} == {str(100 + i) for i in range(6)}
    with pytest.raises(data.DataError, match=r"100-0-0000\.wav \(12 of 12 files\) names no speaker"):
        layouts.audio_folder(str(tmp_path), split_by="speaker")


def test_pieces_are_half_seconds_and_whole_recordings_are_their_concatenation(folder, load):
    found = load("audio_folder", folder)
    pieces, whole = found.splits["test_chunks"], found.splits["test"]
    assert pieces.lengths.max() == 40
    assert whole.lengths.sum() == pieces.lengths.sum()
    for i in range(len(whole)):
        mine = [pieces[j].targets for j in np.flatnonzero(pieces.recording == whole.recording[i])]
        assert np.array_equal(np.concatenate(mine), whole[i].targets)
    assert whole.lengths.max() * 200 > BLOCK  # some recording lies in more than one record


def test_srnn_scores_one_frame_less_a_sequence(folder, load):
    full, srnn = load("audio_folder", folder), load("audio_folder", folder, protocol="srnn")
    for split in ("test", "test_chunks"):
        kept = full.splits[split].lengths > 1
        assert np.array_equal(srnn.splits[split].lengths, full.splits[split].lengths[kept] - 1)
        for i, j in enumerate(np.flatnonzero(kept)):
            assert len(srnn.splits[split][i].targets) == srnn.splits[split].lengths[i]
            assert np.array_equal(srnn.splits[split][i].targets, full.splits[split][j].targets[1:])
    counted = srnn.describe()["audio"]["test"]["pieces_too_short_to_score"]
    assert counted == (full.splits["test_chunks"].lengths == 1).sum()


def test_what_does_not_fit_in_memory_is_read_again(folder, load, monkeypatch):
    kept = load("audio_folder", folder).splits["test"]
    monkeypatch.setattr("zf_jax.data.speech.source.KEPT_BLOCKS", 1)
    read = load("audio_folder", folder).splits["test"]
    for _ in range(2):
        assert all(np.array_equal(kept[i].targets, read[i].targets) for i in range(len(kept)))


@pytest.mark.parametrize(("frame_size", "piece_frames"), [(200, 40), (160, 33), (7, 5000), (9000, 2)])
def test_any_frame_and_piece_size_cuts_the_same_samples(folder, load, frame_size, piece_frames):
    found = load("audio_folder", folder, frame_size=frame_size, piece_frames=piece_frames)
    recordings = {r.split: [] for r in layouts.audio_folder(str(folder))[0]}
    for r in sorted(layouts.audio_folder(str(folder))[0], key=lambda r: r.name):
        recordings[r.split].append(soundfile.read(r.path, dtype="int16")[0])
    for split in ("valid", "test"):
        heard = np.concatenate(list(raw(found.splits[f"{split}_chunks"])) or [np.zeros(0, np.int16)])
        cut = [x[: len(x) // frame_size * frame_size] for x in recordings[split]]
        assert np.array_equal(heard, np.concatenate(cut))
        left = found.describe()["audio"][split]["samples_after_last_frame_not_scored"]
        assert left == sum(len(x) % frame_size for x in recordings[split])
        assert len(heard) + left == found.describe()["audio"][split]["samples"]


def test_normalisation_is_that_of_the_training_samples_alone(folder, load, tmp_path):
    found = load("audio_folder", folder)
    recordings, *_ = layouts.audio_folder(str(folder))
    train = np.concatenate([soundfile.read(r.path, dtype="int16")[0] for r in recordings if r.split == "train"])
    assert found.normalisation == pytest.approx({"mean": train.mean(), "std": train.std()}, rel=1e-9)
    assert found.quantisation_step == pytest.approx(1 / train.std())
    for r in recordings:  # louder test recordings change nothing
        if r.split == "test":
            soundfile.write(r.path, 3 * soundfile.read(r.path, dtype="int16")[0], RATE, subtype="PCM_16")
    assert load("audio_folder", folder).normalisation == found.normalisation


def test_louder_recordings_give_the_same_normalised_frames_and_a_larger_std(folder, load, tmp_path):
    quiet = load("audio_folder", folder)
    for r in layouts.audio_folder(str(folder))[0]:
        write(tmp_path / "loud" / r.name, 4 * soundfile.read(r.path, dtype="int16")[0])
    loud = load("audio_folder", tmp_path / "loud")
    assert loud.normalisation["std"] == pytest.approx(4 * quiet.normalisation["std"], rel=1e-12)
    for one, other in zip(raw(quiet.splits["test"]), raw(loud.splits["test"]), strict=True):
        assert np.array_equal(4 * one, other)
    # So log p of the raw samples moves by exactly -D log 4: the normalised frames are the same.
    for i in range(len(quiet.splits["test"])):
        assert np.allclose(quiet.splits["test"][i].targets, loud.splits["test"][i].targets, atol=1e-6)


def test_every_depth_and_encoding_is_read_on_the_16_bit_scale(tmp_path):
    from zf_jax.data.speech.audio import read_audio

    samples = np.concatenate([noise(0), np.array([-32768, -32767, 32766, 32767], np.int16)])
    for subtype in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        soundfile.write(tmp_path / "a.wav", samples / 32768.0, RATE, subtype=subtype)
        assert np.array_equal(read_audio(str(tmp_path / "a.wav"), RATE)[0], samples)


def test_resampling_keeps_duration_and_pitch(tmp_path):
    from zf_jax.data.speech.audio import read_audio

    pytest.importorskip("soxr")
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)).astype(np.int16)
    write(tmp_path / "tone.wav", tone, 22050)
    samples, rate = read_audio(str(tmp_path / "tone.wav"), RATE, resample=True)
    assert rate == RATE
    assert len(samples) == RATE
    assert np.argmax(np.abs(np.fft.rfft(samples))) == 440


def test_unicode_names_and_sub_folders_are_read(tmp_path, load):
    for i in range(20):
        write(tmp_path / "données" / "日本" / f"é {i}.wav", noise(i))
    assert sum(c["recordings"] for c in load("audio_folder", tmp_path / "données").describe()["audio"].values()) == 20


def spoil(folder, kind):
    """Replace one recording by a bad one and return its path."""
    path = folder / "speaker03" / "7.wav"
    if kind == "text":
        path.write_text("Dear diary, this is no sound.")
    elif kind == "truncated":
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "truncated sphere":
        soundfile.write(path, noise(7), RATE, format="NIST", subtype="PCM_16")
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "truncated flac":
        path.unlink()
        path = path.with_suffix(".flac")
        write(path, noise(7))
        path.write_bytes(path.read_bytes()[:-3000])
    elif kind == "stereo":
        write(path, np.stack([noise(7), noise(7)], 1))
    elif kind == "rate":
        write(path, noise(7), 8000)
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "no samples":
        write(path, np.zeros(0, np.int16))
    elif kind == "constant":
        write(path, np.full(4000, 12, np.int16))
    return path


BAD = {
    "text": "cannot be decoded as audio",
    "truncated": r"is truncated: \d+ bytes of sound where its header says \d+",
    "truncated sphere": "is truncated",
    "truncated flac": "(is truncated|cannot be decoded)",
    "stereo": "has 2 channels instead of one",
    "rate": r"is sampled at 8000 Hz instead of 16000 Hz: pass resample=True",
    "nothing": "is an empty file",
    "no samples": "holds no samples",
    "constant": "is constant: every sample is 12",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_recording_is_named_or_counted_and_skipped(folder, load, kind):
    path = spoil(folder, kind)
    with pytest.raises(data.DataError, match=rf"speaker03/{path.name} {BAD[kind]}") as caught:
        load("audio_folder", folder)
    assert "\n" not in str(caught.value)
    assert "skip_bad_files" in str(caught.value)
    found = load("audio_folder", folder, skip_bad_files=True).describe()
    assert found["bad_files_skipped"] == 1
    assert path.name in found["bad_files"][0]
    assert sum(c["recordings"] for c in found["audio"].values()) == 23
    with pytest.raises(data.DataError, match=path.name):  # a set prepared by skipping is not taken for a whole one
        load("audio_folder", folder)


def test_files_that_a_conversion_makes_good_are_not_skipped_for_an_earlier_load(folder, load, tmp_path):
    spoil(folder, "stereo")
    assert load("audio_folder", folder, skip_bad_files=True).describe()["bad_files_skipped"] == 1
    assert load("audio_folder", folder, skip_bad_files=True, downmix=True).describe()["bad_files_skipped"] == 0
    whole = load("audio_folder", folder, downmix=True).describe()
    assert sum(counts["recordings"] for counts in whole["audio"].values()) == 24
    where = {"manual_dir": str(folder), "data_dir": str(tmp_path / "tfds"), "skip_bad_files": True}
    data.prepare("audio_folder", **where)
    with pytest.raises(data.DataError, match="prepared without 1 bad files, and not with downmix=True: delete"):
        data.prepare("audio_folder", **where, downmix=True)


@pytest.mark.parametrize("skip", [False, True])
def test_a_link_to_nothing_is_named(folder, load, skip):
    (folder / "speaker03" / "moved.wav").symlink_to(folder / "elsewhere.wav")
    with pytest.raises(data.DataError, match=r"speaker03/moved\.wav is a link to nothing"):
        load("audio_folder", folder, skip_bad_files=skip)


def test_several_bad_recordings_are_counted_in_one_sentence(folder, load):
    spoil(folder, "text")
    write(folder / "speaker01" / "3.wav", np.zeros(100, np.int16))
    with pytest.raises(data.DataError, match=r"\(2 of the 24 files read are bad\)"):
        load("audio_folder", folder)


def test_folders_without_sound_say_what_is_missing(tmp_path, load):
    (tmp_path / "empty").mkdir()
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("text")
    for root, sentence in (
        ("absent", "absent does not exist"),
        ("empty", "empty is empty"),
        ("letters", "letters holds no audio files"),
        ("letters/a.txt", "a.txt is not a folder"),
    ):
        with pytest.raises(data.DataError, match=sentence):
            load("audio_folder", tmp_path / root)
    with pytest.raises(
        data.DataError, match="letters is not TIMIT: pass the licensed folder, which holds TRAIN and TEST"
    ):
        load("timit", tmp_path / "letters")


def test_too_few_recordings_cannot_be_divided(tmp_path, load):
    write(tmp_path / "one" / "a.wav", noise(0))
    with pytest.raises(data.DataError, match="1 different files cannot be divided into splits"):
        load("audio_folder", tmp_path / "one")


def test_recordings_shorter_than_a_frame_are_counted(folder, load):
    for i in range(40):
        write(folder / "short" / f"{i}.wav", noise(i, 150))
    found = load("audio_folder", folder)
    audio = found.describe()["audio"]
    assert sum(c["recordings"] for c in audio.values()) == 64
    assert sum(c["recordings_too_short_to_score"] for c in audio.values()) == 40
    scored = sum(len(found.splits[s]) for s in ("valid", "test")) + len(set(found.splits["train"].recording))
    assert scored == 24


def test_an_option_that_is_not_there_is_named(folder, load):
    with pytest.raises(data.DataError, match="audio_folder has no option 'sampel_rate'"):
        load("audio_folder", folder, sampel_rate=8000)
    with pytest.raises(data.DataError, match="split_by is 'file' or 'speaker', not 'colour'"):
        load("audio_folder", folder, split_by="colour")
    with pytest.raises(data.DataError, match="protocol is 'full' or 'srnn'"):
        load("audio_folder", folder, protocol="half")
