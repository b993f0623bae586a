"""One score a sequence, by name and in the order of the data, whatever the batch size; foreign data by the run."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.saved_runs import arrays_config, save_run, write_frames

import zf_jax
from experiments.lib.cli import UserError
from experiments.lib.rows_file import RowsFile
from experiments.lib.sequence_scoring import score, sequences
from zf_jax.data import DataError, from_arrays, subsample
from zf_jax.data.description import DataDescription
from zf_jax.data.foreign import foreign_source
from zf_jax.evaluation.features import encode_means, encode_source
from zf_jax.evaluation.scoring import evaluate_split, make_eval_step
from zf_jax.sharding import data_mesh
from zf_jax.typing import Observation


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("score")
    names = np.array([f"seq {chr(97 + index)}" for index in range(20)])
    write_frames(folder / "arrays.npz", names=names)
    save_run(folder / "run", arrays_config(folder / "arrays.npz"))
    return folder


@pytest.fixture(scope="module")
def run(place):
    return zf_jax.open_run(place / "run")


def test_neither_order_nor_scores_depend_on_the_batch_size(place, run):
    source = sequences(run, "train", None)
    found = {size: run.score(source, batch_size=size) for size in (3, 64)}
    np.testing.assert_allclose(found[3].bound, found[64].bound, rtol=1e-5)
    np.testing.assert_allclose(found[3].totals.kl, found[64].totals.kl, rtol=1e-4, atol=1e-6)
    assert found[3].lengths.tolist() == found[64].lengths.tolist() == list(source.lengths)
    assert found[3].names == found[64].names
    mesh = data_mesh(jax.local_devices()[:1])
    batches = zf_jax.data.eval_batches(source, batch_size=5)
    whole = evaluate_split(make_eval_step(run.model, mesh), run.params, batches, zf_jax.bounds.seed_key(0), mesh)
    np.testing.assert_allclose(found[3].bound, whole.bound, rtol=1e-5)


def test_names_follow_their_sequences_into_splits_and_subsets(place, run):
    with np.load(place / "arrays.npz") as stored:
        values, lengths, names = stored["values"], stored["lengths"], stored["names"].tolist()
    for split in ("train", "valid", "test"):
        source = sequences(run, split, None)
        for index, name in enumerate(source.names):
            whole = values[names.index(name), : lengths[names.index(name)]]
            np.testing.assert_allclose(run.data.to_own_unit(source[index].targets), whole, rtol=1e-4)
    few = subsample(sequences(run, "train", None), 3)
    assert few.names == [sequences(run, "train", None).names[place] for place in (0, 7, 15)]
    unnamed = from_arrays(values, lengths)
    assert sorted(name for split in unnamed.splits for name in unnamed.split(split).names) == sorted(
        map(str, range(20))
    )
    with pytest.raises(DataError, match="2 names and 20 sequences"):
        from_arrays(values, lengths, names=["a", "b"])


def test_foreign_arrays_are_scaled_by_the_run_and_other_shapes_are_refused(place, run):
    rows = write_frames(place / "other.npz", number=5, mean=-20.0, seed=4)
    found = score(str(place / "run"), data_dir=str(place / "other.npz"))
    np.testing.assert_allclose(found.bound, run.score(rows).bound, rtol=1e-6)
    own = score(str(place / "run"), data_dir=str(place / "arrays.npz"), split="test")
    np.testing.assert_array_equal(own.bound, score(str(place / "run")).bound)
    with pytest.raises(DataError, match=r"other statistics.*leave the split out"):
        score(str(place / "run"), data_dir=str(place / "other.npz"), split="test")
    write_frames(place / "wide.npz", dimension=3)
    with pytest.raises(DataError, match=r"wide.npz: values\[0\] is float32 \[\d, 3\]"):
        score(str(place / "run"), data_dir=str(place / "wide.npz"))
    with pytest.raises(UserError, match="unknown bound"):
        score(str(place / "run"), bound="vae")


def test_foreign_text_is_read_with_the_words_of_the_run(tmp_path):
    words = ("<eos>", "<unk>", ".", "good", "day")
    data = DataDescription("text_folder", Observation("tokens", 5), "categorical", units="word", vocabulary=words)
    (tmp_path / "a.txt").write_text(
        "Good day. Bad\nday. And much, much more of the same in a long line of prose.\n\nDay\n"
    )
    source = foreign_source(str(tmp_path), data)
    assert [source[index].targets.tolist() for index in (0, 1, 3)] == [[3, 4, 2, 0], [1, 4, 2, 0], [4, 0]]
    assert source.names == ["a.txt:1", "a.txt:1.2", "a.txt:1.3", "a.txt:4"]


def test_foreign_recordings_are_scaled_by_the_run(tmp_path):
    import soundfile

    scale = {"mean": 10.0, "std": 200.0}
    data = DataDescription("audio_folder", Observation("frames", 4), "gaussian", normalisation=scale, sample_rate=8000)
    samples = np.random.default_rng(0).integers(-3000, 3000, 17_003).astype(np.int16)
    (tmp_path / "b").mkdir()
    for name, part in (("a", samples[:9]), ("b/c", samples)):
        soundfile.write(tmp_path / f"{name}.wav", part, 8000, subtype="PCM_16")
    source = foreign_source(str(tmp_path), data)
    assert source.names == ["a", "b/c"]
    assert source.lengths.tolist() == [2, 4250]
    np.testing.assert_allclose(source[1].targets.ravel() * 200.0 + 10.0, samples[:17_000], atol=1e-2)
    with pytest.raises(DataError, match="does not exist"):
        foreign_source(str(tmp_path / "none"), data)


def test_means_are_those_of_the_posterior_and_zero_on_padding(run, place):
    source = sequences(run, "valid", None)
    found = encode_source(run.model, run.params, source, batch_size=1)
    assert [len(means) for means in found] == list(source.lengths)
    targets = [source[index].targets for index in range(len(source))]
    batch = zf_jax.batch_of(targets)
    means = encode_means(run.model, run.params, batch)
    features = run.model.encode(run.params, batch)
    carry = run.model.initial_carry(run.params, batch.mask)
    at_step = jax.tree.map(lambda leaf: leaf[:, 0], features._replace(observed=None, extra=None))
    first = run.model.step(run.params, carry, at_step, np.ones((2, run.model.latent_dim)))[1].proposal.mean
    np.testing.assert_allclose(means[:, 0], first, rtol=1e-5)
    for row, mean in enumerate(found):
        np.testing.assert_allclose(means[row, : len(mean)], mean, rtol=1e-4, atol=1e-6)
        assert not np.any(means[row, len(mean) :])


def test_a_table_is_refused_before_and_written_after_the_scores(tmp_path):
    for name, sentence in (("a.csv", "must end in"), ("none/a.jsonl", "no folder")):
        with pytest.raises(UserError, match=sentence):
            RowsFile(str(tmp_path / name))
    rows = [{"index": 0, "name": "a", "nats_per_step": -1.5}, {"index": 1, "name": "b", "nats_per_step": None}]
    assert RowsFile(str(tmp_path / "a.jsonl")).write(rows)
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == rows
    parquet = pytest.importorskip("pyarrow.parquet")
    assert RowsFile(str(tmp_path / "a.parquet")).write(rows)
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == rows


def test_the_code_of_the_page_about_runs_runs(place):
    page = (Path(__file__).parents[2] / "docs" / "answers.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    exec(compile("\n".join(blocks).replace("runs/mine", str(place / "run")), "answers.md", "exec"), {})
