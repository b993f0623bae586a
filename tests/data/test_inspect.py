"""The configs load their data, and inspect_data decodes a batch back into what people look at, read and hear."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zf_jax import data
from zf_jax.data import registry
from zf_jax.data.speech import layouts

ROOT = Path(__file__).parents[2]
SPEECH = ["timit", "blizzard", "librispeech", "ljspeech", "audio_folder"]
CONFIGS = ["mnist", *SPEECH, "imdb", "text_folder", "music", "arrays"]


def config(name, variant):
    return importlib.import_module(f"experiments.configs.{name}").get_config(variant)


@pytest.mark.parametrize("variant", ["", "small"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_field_of_a_configs_data_is_an_option_of_its_loader(name, variant):
    fields = dict(config(name, variant).data)
    loader = registry._function(registry.DATA_SETS[fields.pop("name")].load)
    known = set(inspect.signature(loader).parameters)
    if name in layouts.LAYOUTS:
        known |= {"sample_rate", *inspect.signature(layouts.LAYOUTS[name]).parameters}
    assert set(fields) - {"dir", "skip_bad_files"} <= known  # which all sets accept
    assert "skip_bad_files" in fields


@pytest.mark.parametrize("variant", ["", "small"])
@pytest.mark.parametrize("name", [c for c in CONFIGS if c not in ("mnist", "music", "arrays")])
def test_what_is_prepared_once_serves_both_variants(name, variant, tmp_path):
    # Options at their defaults have no part in the stored name, so no config may move one that is stored.
    whole = tmp_path / "zf_jax" / name / "1.0.0"
    whole.mkdir(parents=True)
    (whole / "dataset_info.json").touch()
    options = {k: v for k, v in dict(config(name, variant).data).items() if k not in ("name", "dir")}
    with pytest.raises(data.DataError, match=rf"{name}/1\.0\.0/metadata\.json is damaged or missing"):  # it was found
        data.load(name, data_dir=str(tmp_path), **options)


@pytest.mark.parametrize("name", CONFIGS)
def test_an_unknown_variant_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}.py has no variant 'huge'"):
        config(name, "huge")


@pytest.mark.parametrize("variant", ["", "small"])
def test_the_gates_of_a_scored_batch_of_mnist_fit_in_half_a_gigabyte(variant):
    # 784 steps a sequence, four gates a unit, four bytes a number: the largest of the arrays that every step leaves.
    settings = config("mnist", variant)
    gates = settings.train.eval_batch_size * 784 * 4 * settings.model.rnn_dim * 4
    assert 2**27 < gates < 2**29  # and no smaller than need be


def look(name, folder, out, *flags):
    command = [sys.executable, "-m", "experiments.inspect_data", f"--config=experiments/configs/{name}.py:small"]
    command += [f"--config.data.dir={folder}", f"--out={out}", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (out / "batch.png").read_bytes().startswith(b"\x89PNG")
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


def test_a_batch_of_speech_is_heard_again(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    rng = np.random.default_rng(0)
    folder = tmp_path / "talks"
    folder.mkdir()
    for i in range(20):
        soundfile.write(folder / f"{i}.wav", rng.normal(0, 0.1, 16000), 16000, subtype="PCM_16")
    cache = f"--config.data.cache_dir={tmp_path / 'cache'}"
    counts, _ = look("audio_folder", folder, tmp_path / "out", cache)
    assert counts["audio"]["train"]["recordings"] == 17
    heard, rate = soundfile.read(tmp_path / "out" / "batch.wav", dtype="int16")
    assert rate == 16000
    recorded = np.concatenate([soundfile.read(folder / f"{i}.wav", dtype="int16")[0] for i in range(20)])
    assert heard[:8000].tobytes() in recorded.tobytes()


@pytest.mark.slow
def test_a_batch_of_text_is_read_again(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(f"Today number {i} is here, my friend." for i in range(99)))
    counts, printed = look("text_folder", tmp_path, tmp_path / "out", f"--config.data.cache_dir={tmp_path / 'cache'}")
    assert sum(c["documents"] for c in counts["text"].values()) == 99
    lines = (tmp_path / "out" / "batch.txt").read_text().splitlines()
    assert len(lines) == 16
    for line in lines:
        assert line.startswith("today number ")
        assert line.endswith(" is here, my friend.")
        assert line in printed


@pytest.mark.slow
def test_a_batch_of_music_is_drawn(tmp_path):
    arrays = {split: np.eye(88, dtype=np.uint8)[:60] for split in ("train", "valid", "test")}
    np.savez(tmp_path / "jsb_chorales.npz", **arrays, **{f"{s}_lengths": np.array([20, 40]) for s in arrays})
    counts, _ = look("music", tmp_path, tmp_path / "out")
    assert counts["notes"] == {"train": 60, "valid": 60, "test": 60}
