"""The report's page in a browser: pictures load, sound has a length, and it reads on a telephone."""

import base64
import json
import os
import re

import numpy as np
import pytest
import soundfile
from helpers.browser import CHROMIUM, look_at
from helpers.results import write_result
from matplotlib.figure import Figure

from experiments.lib import report
from experiments.lib.table_rows import tables

PHONE = 390  # CSS pixels


def write_files(folder):
    """One file of every kind that a run leaves for its page."""
    for name in ("samples", "interpolation"):
        (folder / name).mkdir(parents=True)
    Figure(figsize=(14, 2)).savefig(folder / "samples" / "samples.png", dpi=100)
    (folder / "samples" / "samples.txt").write_text("a <b> and " + "a long sentence of many words " * 9)
    (folder / "samples" / "samples.mid").write_bytes(b"MThd")
    noise = 0.1 * np.random.default_rng(0).normal(size=32000)
    soundfile.write(folder / "samples" / "samples.wav", noise, 16000, subtype="PCM_16")
    soundfile.write(folder / "samples" / "completions.wav", noise, 10000, subtype="PCM_16")  # no rate of MP3
    told = {"weights": [0.0, 1.0], "greedy": ["one", "other"], "sampled": ["won", "another"]}
    (folder / "interpolation" / "valid.json").write_text(json.dumps(told))


@pytest.fixture
def page(tmp_path):
    """The page of the widest table, with the paper's columns, claims and an unfinished part."""
    for row in tables("timit")["1-left"].rows:
        for seed in range(3):
            write_result(tmp_path, row, seed, 68132.25 - seed, 3000.5, table="1-left")
    write_files(tmp_path / "runs" / "1-left" / "ours-seed0")
    begun = tmp_path / "runs" / "2" / "ours-seed0"
    begun.mkdir(parents=True)
    (begun / "config.json").write_text('{"train": {"num_steps": 150000}}')
    return report.write_report(tmp_path, "timit")[1]


def test_the_page_needs_no_other_file_and_escapes_text(page):
    text = page.read_text()
    assert text.count("<img") == 3 and text.count("<audio") == 2 and "a &lt;b&gt; and" in text
    assert "2: ours, seed 0" in text and "150,000" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    small, whole = (len(re.findall(f'data:audio/{kind};base64,([^"]*)', text)[0]) for kind in ("mpeg", "wav"))
    assert small < whole / 4, "a page of ten rows has minutes of sound"


def test_sound_is_encoded_once_and_again_for_another_file(page, tmp_path):
    def sounds():
        report.write_report(tmp_path, "timit")
        return re.findall('data:audio/mpeg;base64,([^"]*)', page.read_text())

    wav = tmp_path / "runs" / "1-left" / "ours-seed0" / "samples" / "samples.wav"
    packed = wav.with_suffix(".mp3")
    assert [base64.b64encode(packed.read_bytes()).decode()] == sounds()
    packed.write_bytes(b"kept")
    os.utime(packed, ns=2 * (wav.stat().st_mtime_ns,))
    assert sounds() == [base64.b64encode(b"kept").decode()]
    os.utime(wav, (0, 0))  # another file of the same name, as a copy keeps the time of what was copied
    assert len(sounds()[0]) > 1000


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_the_page_in_a_browser(page):
    seen = look_at(page, PHONE)
    assert len(seen.pictures) == 3 and all(seen.pictures), "a picture does not load"
    assert seen.seconds == [pytest.approx(3.2), pytest.approx(2.0, abs=0.15)], "a sound does not load"
    assert seen.errors == []
    assert seen.content <= PHONE, f"the page is {seen.content} wide: it scrolls sideways on a telephone"
