"""An output that cannot be written is refused before the work, and no file is half written."""

import numpy as np
import pytest
from helpers.saved_runs import arrays_config, save_run, write_frames

from experiments.lib import encoding, forecasting, imputing
from experiments.lib.cli import UserError
from experiments.lib.output_files import check_file, make_folder, replaced

FEW = {"num_sequences": 2, "num_samples": 2, "num_particles": 2}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("output")
    write_frames(folder / "arrays.npz")
    save_run(folder / "run", arrays_config(folder / "arrays.npz"))
    return str(folder / "run")


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gaps")
    values = np.random.default_rng(0).normal(size=(20, 3, 1))
    values[:, 1] = np.nan
    np.savez(folder / "arrays.npz", values=values, lengths=np.full(20, 3))
    save_run(folder / "run", arrays_config(folder / "arrays.npz", **{"data.missing": True}))
    return str(folder / "run")


def working(*_, **__):
    raise AssertionError("the work had begun")


def disk_full(*_, **__):
    raise OSError(28, "No space left on device")


def half_written(file, **arrays):
    if hasattr(file, "write"):
        file.write(b"half")
    else:
        file.write_bytes(b"half")
    raise KeyboardInterrupt


def test_a_file_in_a_folder_that_is_missing_or_no_folder_is_refused_as_is_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path, tmp_path / "none" / "a.npz", tmp_path / "file" / "a.npz"):
        with pytest.raises(UserError, match=r"--out=a cannot be written: .*; choose another"):
            check_file(wrong, "--out=a", "; choose another")
    check_file(tmp_path / "file", "--out=a")
    check_file(tmp_path / "new", "--out=a")
    with pytest.raises(UserError, match="--out=b cannot be made: "):
        make_folder(tmp_path / "file" / "b", "--out=b")
    make_folder(tmp_path / "a" / "b", "--out=b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_what_fails_leaves_the_file_that_was_there_and_no_other(tmp_path):
    (tmp_path / "a.txt").write_text("before")

    def interrupted():
        with replaced(tmp_path / "a.txt") as unfinished:
            unfinished.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
    with replaced(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("half")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["half"]


def test_a_folder_with_arrays_of_other_sequences_is_refused_before_any_is_encoded(workdir, tmp_path, monkeypatch):
    (tmp_path / "names.txt").write_text("a\n")
    np.save(tmp_path / "mine.npy", np.zeros(1))
    number, _ = encoding.encode(workdir, str(tmp_path), split="valid")  # which names.txt alone does not hinder
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert number == 2
    monkeypatch.setattr(encoding, "opened_run", working)
    with pytest.raises(UserError, match=r"holds 2 arrays already, the first 0\.npy.*: choose another folder"):
        encoding.encode(workdir, str(tmp_path), split="test")
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_draws_past_the_end_that_cannot_be_written_are_refused_before_they_are_drawn(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(forecasting, "draw_past_end", working)
    monkeypatch.setattr(forecasting, "draw", working)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file cannot be made.*; --out chooses another folder"):
        forecasting.forecast_past_end(workdir, steps=2, out=str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"--out=.*file cannot be made"):
        forecasting.forecast_run(workdir, prefix=2, steps=2, out=str(tmp_path / "file"))


def test_draws_past_the_end_that_were_not_written_are_an_error_and_of_scores_a_warning(workdir, monkeypatch, capsys):
    monkeypatch.setattr(forecasting, "write_forecasts", disk_full)
    with pytest.raises(UserError, match="test_past_end cannot be written: No space left on device; --out chooses"):
        forecasting.forecast_past_end(workdir, steps=2, **FEW)
    printed = []
    found = forecasting.forecast_run(workdir, prefix=2, steps=2, report=printed.append, **FEW)
    assert printed == [found]
    assert "test cannot be written: No space left on device" in capsys.readouterr().err


def test_a_forecast_is_not_left_half_written(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(np, "savez", half_written)
    with pytest.raises(KeyboardInterrupt):
        forecasting.forecast_past_end(workdir, steps=2, out=str(tmp_path), **FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["test_past_end.json"]


def test_draws_of_gaps_that_cannot_be_written_are_refused_before_they_are_drawn(gaps, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="there is no run"):
        imputing.impute_split(str(tmp_path / "none"))
    monkeypatch.setattr(imputing, "impute", working)
    for wrong in (tmp_path / "none" / "a.npz", tmp_path):
        with pytest.raises(UserError, match=r"cannot be written: .*; choose another with --out"):
            imputing.impute_split(gaps, out=str(wrong))


def test_draws_of_gaps_are_not_left_half_written(gaps, tmp_path, monkeypatch):
    (tmp_path / "a.npz").write_text("before")
    monkeypatch.setattr(np, "savez", half_written)
    with pytest.raises(KeyboardInterrupt):
        imputing.impute_split(gaps, out=str(tmp_path / "a.npz"), **FEW)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
