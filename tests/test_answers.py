"""The programs that answer questions of a run: what they print and write, on a run that moved with its data."""

import json

import numpy as np
import pytest
from helpers.runs import one_sentence, run
from helpers.saved_runs import arrays_config, save_run, write_frames

from experiments.lib.diagnosis import diagnose
from experiments.lib.encoding import encode
from experiments.lib.interpolation import interpolate
from experiments.lib.scoring import evaluate
from experiments.lib.sequence_scoring import score
from zf_jax.data import DataError


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
