"""Downloads: by one process at a time, and not again after an interruption."""

import contextlib
import hashlib
import io
import os
import tarfile
import threading
from pathlib import Path

import pytest

from zf_jax.data import DataError
from zf_jax.data.prepared import downloads


def served(monkeypatch, name, file, content):
    """Register one file of a set, and return the list of what was asked for; the answer is ``content``."""
    asked = []

    def answer(url, timeout):
        asked.append(url)
        return contextlib.closing(io.BytesIO(content))

    remote = downloads.Remote(f"https://example.org/{file}", len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(downloads.REMOTES, name, (remote,))
    monkeypatch.setattr(downloads.urllib.request, "urlopen", answer)
    return asked


def archive():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:bz2") as file:
        entry = tarfile.TarInfo("LJ/a.wav")
        entry.size = 4
        file.addfile(entry, io.BytesIO(b"RIFF"))
    return packed.getvalue()


def test_two_that_download_at_once_download_once(tmp_path, monkeypatch):
    asked = served(monkeypatch, "mnist", "a.amat", b"0 1\n")
    answer, second = downloads.urllib.request.urlopen, threading.Event()

    def slow(url, timeout):
        found = answer(url, timeout)
        if len(asked) > 1:
            second.set()
        second.wait(1.0)  # for the other to ask, too
        return found

    monkeypatch.setattr(downloads.urllib.request, "urlopen", slow)
    threads = [threading.Thread(target=downloads.fetch, args=("mnist", str(tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(asked) == 1
    assert (tmp_path / "downloads" / "mnist" / "a.amat").read_bytes() == b"0 1\n"


@pytest.mark.parametrize("before", [True, False])
def test_an_archive_that_was_unpacked_is_not_downloaded_again_after_an_interruption(before, tmp_path, monkeypatch):
    asked, remove, paths = served(monkeypatch, "ljspeech", "a.tar.bz2", archive()), os.remove, []

    def ended(path):
        paths.append(path)
        if not before:
            remove(path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloads.os, "remove", ended)
        with pytest.raises(KeyboardInterrupt):
            downloads.fetch("ljspeech", str(tmp_path))
    folder = Path(downloads.fetch("ljspeech", str(tmp_path)))
    assert (folder / "LJ" / "a.wav").read_bytes() == b"RIFF"
    assert len(asked) == 1
    assert paths == [str(folder / "a.tar.bz2")]
    assert not (folder / "a.tar.bz2").exists()  # which nobody else would remove


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written.*choose another folder with data_dir"):
        downloads.fetch("mnist", str(tmp_path / "file"))
