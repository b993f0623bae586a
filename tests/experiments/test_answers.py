"""The programs that answer questions of a run: what they print and write, on a run that moved with its data."""

import csv
import json

import numpy as np
import pytest
from helpers.runs import one_sentence, run
from helpers.saved_runs import arrays_config, save_run, write_frames

from experiments.lib.cli import UserError
from experiments.lib.diagnosis import diagnose
from experiments.lib.encoding import encode
from experiments.lib.forecasting import forecast_past_end, forecast_run
from experiments.lib.interpolation import interpolate
from experiments.lib.scoring import evaluate
from experiments.lib.sequence_scoring import score
from zf_jax.data import DataError
from zf_jax.evaluation.crps import crps


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A run and its data, both elsewhere than they were: the workdir and the file."""
    folder = tmp_path_factory.mktemp("moved")
    write_frames(folder / "before.npz", names=np.array([f"n{index}" for index in range(20)]))
    save_run(folder / "run", arrays_config(folder / "before.npz", name="srnn"))
    (folder / "elsewhere").mkdir()
    (folder / "before.npz").rename(folder / "elsewhere" / "after.npz")
    (folder / "run").rename(folder / "elsewhere" / "moved")
    return str(folder / "elsewhere" / "moved"), str(folder / "elsewhere" / "after.npz")


def test_a_moved_run_with_moved_data_is_evaluated_looked_at_and_interpolated(moved):
    workdir, data = moved
    found = evaluate(workdir, split="valid", data_dir=data)
    scores = score(workdir, split="valid", data_dir=data)
    assert found["nats_per_sequence"] == pytest.approx(scores.bound.mean(), rel=1e-5)
    assert diagnose(workdir, data_dir=data, num_mutual=0)["num_sequences"] == 2
    assert interpolate(workdir, data_dir=data, num_points=3)["ends"] == [0, 1]
    with pytest.raises(DataError, match=r"before\.npz does not exist"):
        score(workdir)


def test_score_prints_a_line_a_sequence_and_the_least_likely_first(moved, tmp_path):
    workdir, data = moved
    out = tmp_path / "scores.jsonl"
    result = run("score", f"--workdir={workdir}", f"--data_dir={data}", "--lowest=3", f"--out={out}", "--per_step")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["name"] for row in rows] == [f"n{index}" for index in range(20)]
    shown = [json.loads(line) for line in result.stdout.splitlines()[1:]]
    assert shown == sorted(rows, key=lambda row: row["nats_per_step"])[:3]
    assert all(len(row["per_step"]) == row["length"] for row in rows)
    refused = run("score", f"--workdir={workdir}", f"--data_dir={data}", "--out=scores.txt")
    assert one_sentence(refused) == "error: --out=scores.txt must end in .jsonl or .parquet"


def test_encode_writes_an_array_a_sequence(moved, tmp_path):
    workdir, data = moved
    assert encode(workdir, str(tmp_path / "a.npz"), data_dir=data)[0] == 20
    assert encode(workdir, str(tmp_path / "b"), data_dir=data)[0] == 20
    with np.load(data) as stored, np.load(tmp_path / "a.npz") as found:
        assert found["names"].tolist() == stored["names"].tolist()
        for index, length in enumerate(stored["lengths"]):
            assert found[str(index)].shape == (length, 2)
            np.testing.assert_array_equal(found[str(index)], np.load(tmp_path / "b" / f"{index}.npy"))
    assert (tmp_path / "b" / "names.txt").read_text().split() == [f"n{index}" for index in range(20)]


def test_forecast_holds_its_draws_against_what_came(moved, tmp_path):
    workdir, data = moved
    found = forecast_run(workdir, prefix=3, steps=3, data_dir=data, num_samples=40, num_particles=20)
    with np.load(data) as stored:
        values, lengths = stored["values"], stored["lengths"]
    longer = np.flatnonzero(lengths > 3)
    assert (found["num_sequences"], found["too_short"]) == (len(longer), 20 - len(longer))
    with np.load(f"{workdir}/forecast/all.npz") as written:
        truth, quantiles, mean = written["truth"], written["quantiles"], written["mean"]
        assert written["index"].tolist() == longer.tolist()
    for row, index in enumerate(longer):
        came = values[index, 3 : min(6, lengths[index])]
        np.testing.assert_allclose(truth[row, : len(came)], came, rtol=1e-5)
        assert np.isnan(truth[row, len(came) :]).all()
    came = np.isfinite(truth)
    inside = (quantiles[0] <= truth) & (truth <= quantiles[-1])
    assert found["coverage_90"] == pytest.approx(inside[came].mean())
    assert found["coverage_50"] < found["coverage_90"]
    # Draws of the initial model have about the data's spread: their CRPS is that of a Gaussian of it, to some 20%.
    gaussian = np.random.default_rng(0).normal(7.0, 3.0, (4000, int(came.sum())))
    assert found["crps"] == pytest.approx(crps(gaussian, truth[came]).mean(), rel=0.25)
    assert list(found["crps_by_column"]) == list(found["coverage_90_by_column"]) == ["0", "1"]
    assert np.average(list(found["crps_by_column"].values()), weights=came.sum((0, 1))) == pytest.approx(found["crps"])
    by_column = [found["coverage_90_by_column"][name] for name in "01"]
    assert by_column == pytest.approx([inside[..., d][came[..., d]].mean() for d in (0, 1)])
    with open(f"{workdir}/forecast/all.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == mean.size
    assert float(table[1]["mean"]) == pytest.approx(mean[0, 0, 1])
    picture = (tmp_path / workdir / "forecast" / "all.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_past_the_end_of_the_data_there_are_forecasts_and_no_scores(moved, tmp_path):
    workdir, data = moved
    flags = f"--workdir={workdir}", f"--data_dir={data}", f"--out={tmp_path}", "--past_end", "--steps=2"
    result = run("forecast", *flags, "--num_samples=20", "--num_particles=20", "--num_sequences=3")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["past_end"], found["steps"], found["num_sequences"]) == (True, 2, 3)
    assert "crps" not in found
    with np.load(data) as stored, np.load(tmp_path / "all_past_end.npz") as written:
        assert written["index"].tolist() == [0, 9, 19]
        assert written["given"].tolist() == stored["lengths"][written["index"]].tolist()
        assert written["mean"].shape == (3, 2, 2)
        assert "truth" not in written
    assert (tmp_path / "all_past_end.csv").read_text().splitlines()[0].endswith(",q0.95")
    with pytest.raises(UserError, match="the data of this run have no context, leave it out"):
        forecast_past_end(workdir, steps=2, data_dir=data, future_context=data)


def test_tokens_without_an_order_are_forecast_as_draws_and_the_share_that_is_right(tmp_path):
    rng = np.random.default_rng(0)
    values, lengths = rng.integers(0, 3, (20, 6)), rng.integers(2, 7, 20)
    np.savez(tmp_path / "arrays.npz", values=values, lengths=lengths)
    save_run(tmp_path / "run", arrays_config(tmp_path / "arrays.npz", name="rnn"))
    found = forecast_run(str(tmp_path / "run"), prefix=0.5, steps=2, split="train", num_samples=30, num_particles=1)
    assert "crps" not in found
    with np.load(tmp_path / "run" / "forecast" / "train.npz") as written:
        draws, truth, given, names = written["draws"], written["truth"], written["given"], written["names"]
    assert draws.shape == (found["num_sequences"], 30, 2)
    right, count = 0, 0
    for row, name in enumerate(names):
        whole = values[int(name), : lengths[int(name)]]
        assert given[row] == max(1, len(whole) // 2)
        came = whole[given[row] :][:2]
        assert truth[row].tolist() == [*came, *[-1] * (2 - len(came))]
        right += sum(np.sum(draws[row, :, ahead] == token) for ahead, token in enumerate(came))
        count += 30 * len(came)
    assert found["share_of_draws_right"] == pytest.approx(right / count)
