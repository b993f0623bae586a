"""Checkpoints: the best and the latest are kept, found again by another reader, and refused when damaged."""

import gc
import json
import logging
import resource
import shutil
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zf_jax.runs.checkpoints import CheckpointError, Checkpoints, OtherModel
from zf_jax.training import TrainState


def state(step):
    def number():
        return jnp.asarray(step, jnp.int32)

    return TrainState(number(), {"kernel": jnp.full((2, 3), float(step))}, (number(),), number(), number())


def save_run(workdir, scores):
    with Checkpoints(workdir) as checkpoints:
        for step, score in scores.items():
            checkpoints.save(state(step), {"seed": 0}, score)
            checkpoints.wait()


def test_the_best_and_the_two_latest_are_kept_and_another_reader_finds_them(tmp_path):
    save_run(tmp_path, {1: -9.0, 2: -3.0, 3: -4.0, 4: -5.0, 5: -6.0, 6: None})
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"2", "5", "6"}
    with Checkpoints(tmp_path, create=False) as checkpoints:
        assert checkpoints.best_step == 2
        assert checkpoints.latest_step == 6
        restored = checkpoints.restore(state(0), 2)
    jax.tree.map(np.testing.assert_array_equal, restored, state(2))


def test_a_bound_that_is_not_finite_is_never_the_best(tmp_path):
    save_run(tmp_path, {1: -5.0, 2: float("nan"), 3: -6.0, 4: -7.0, 5: float("inf")})
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"1", "4", "5"}
    with Checkpoints(tmp_path, create=False) as checkpoints:
        assert checkpoints.best_step == 1
        assert checkpoints.config(1) == {"seed": 0}
        with pytest.warns(UserWarning, match="config"):
            assert checkpoints.config(99) == {}


def test_a_run_that_was_never_validated_has_its_latest_as_best(tmp_path):
    save_run(tmp_path, {1: None, 2: None})
    with Checkpoints(tmp_path, create=False) as checkpoints:
        assert checkpoints.best_step == 2


def test_a_checkpoint_of_another_model_is_called_so_and_stays(tmp_path):
    save_run(tmp_path, {1: None, 2: None})
    other = state(0)._replace(params={"kernel": jnp.zeros((4, 4))})
    fewer = state(0)._replace(opt_state=())
    with Checkpoints(tmp_path) as checkpoints:
        for like, message in ((other, r"there \[2, 3\] float32, here \[4, 4\]"), (fewer, "opt_state/0.*here absent")):
            with pytest.raises(OtherModel, match="is sound, and of another model or optimiser.*" + message):
                checkpoints.restore_newest(like)
    shutil.rmtree(tmp_path / "checkpoints" / "2" / "record")
    forget_record(tmp_path / "checkpoints" / "2")
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(OtherModel, match="is sound"):
        checkpoints.restore(other, 2)
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"1", "2"}


def forget_record(folder):
    metadata = folder / "_CHECKPOINT_METADATA"
    known = json.loads(metadata.read_text())
    known["item_handlers"].pop("record")
    metadata.write_text(json.dumps(known))


def test_a_checkpoint_without_a_record_is_read_with_a_warning_if_it_is_old_and_refused_if_it_lost_one(tmp_path):
    save_run(tmp_path, {1: -2.0})
    folder = tmp_path / "checkpoints" / "1"
    shutil.rmtree(folder / "record")
    with Checkpoints(tmp_path, create=False) as checkpoints:
        with pytest.raises(CheckpointError, match=r"record of .* is missing"):
            checkpoints.restore(state(0), 1)
        forget_record(folder)
        with pytest.warns(UserWarning, match="older than digests"):
            restored = checkpoints.restore(state(0), 1)
        assert checkpoints.best == (1, -2.0)
    jax.tree.map(np.testing.assert_array_equal, restored, state(1))


def test_a_flipped_bit_never_gives_other_values_and_no_read_prints_a_traceback(tmp_path, capfd):
    """Any file, any bit: the checkpoint is refused, or all that is read from it is what was saved."""
    rng = np.random.default_rng(0)
    whole = state(1)._replace(params={"kernel": jnp.asarray(rng.normal(size=(40, 30)), jnp.float32)})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(whole, {"seed": 0}, -1.0)
    files = sorted(
        path for path in (tmp_path / "checkpoints" / "1").rglob("*") if path.stat().st_size and path.is_file()
    )
    array_file = max(files, key=lambda path: path.stat().st_size)
    refused = 0
    for path in [*files, *[array_file] * 6]:
        before = path.read_bytes()
        damaged, bit = bytearray(before), int(rng.integers(8 * len(before)))
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with Checkpoints(tmp_path, create=False, warn=lambda sentence: None) as checkpoints:
            try:
                found = checkpoints.restore(whole, 1)
                jax.tree.map(np.testing.assert_array_equal, found, whole)
            except CheckpointError:
                refused += 1
            assert checkpoints.best in ((1, -1.0), None)
            assert checkpoints.config(1) in ({"seed": 0}, {})
        path.write_bytes(before)
    assert refused >= 6
    manifest = tmp_path / "checkpoints" / "1" / "state" / "manifest.ocdbt"  # of all arrays, whose reads then all fail
    manifest.write_bytes(manifest.read_bytes()[:-60])
    with Checkpoints(tmp_path, create=False) as checkpoints, pytest.raises(CheckpointError, match="damaged"):
        checkpoints.restore(whole, 1)
    gc.collect()  # asyncio tells of errors that nobody asked for when they are forgotten
    time.sleep(0.2)
    assert "Traceback" not in capfd.readouterr().err


def test_damage_costs_one_checkpoint_and_the_run_goes_on_from_the_one_before(tmp_path):
    save_run(tmp_path, {1: -2.0, 2: -3.0, 3: -4.0})
    for item in ("state", "record"):
        with Checkpoints(tmp_path, create=False) as checkpoints:
            last = checkpoints.latest_step
        for path in (tmp_path / "checkpoints" / str(last) / item).rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        told = []
        with Checkpoints(tmp_path, warn=told.append) as checkpoints:
            restored, step = checkpoints.restore_newest(state(0))
            assert step == last - 1 == int(restored.step)
            assert f"checkpoints/{last} is damaged" in told[0] and f"step {step} is read instead" in told[0]
            assert (tmp_path / "damaged" / str(last)).is_dir()
    (tmp_path / "checkpoints" / "1" / "record" / "metadata").write_text("[]")
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match="no other is left"):
        checkpoints.restore_newest(state(0))
    assert (tmp_path / "checkpoints" / "1").is_dir(), "nothing is moved where nothing is gained"


def test_damaged_metrics_cost_a_sentence(tmp_path):
    save_run(tmp_path, {1: -2.0, 2: -3.0, 3: -4.0})
    shutil.rmtree(tmp_path / "checkpoints" / "1" / "metrics")
    (tmp_path / "checkpoints" / "2" / "metrics" / "metrics").write_text('{"elbo_nats_per_sequence": "x')
    (tmp_path / "checkpoints" / "3" / "metrics" / "metrics").write_text('{"elbo_nats_per_sequence": -1.0}')
    told = []
    with Checkpoints(tmp_path, warn=told.append) as checkpoints:
        assert checkpoints.best == (1, -2.0)
        checkpoints.save(state(4), {"seed": 0}, -5.0)
        checkpoints.wait()
    assert [sentence.count("written anew") for sentence in told] == [1, 1, 1]
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"1", "3", "4"}


def test_what_a_killed_save_left_is_removed_and_a_reader_passes_over_what_is_being_deleted(tmp_path, monkeypatch):
    save_run(tmp_path, {1: None, 2: None})
    unfinished = tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp-5"
    unfinished.mkdir()
    with Checkpoints(tmp_path, create=False) as reader:
        assert unfinished.is_dir(), "a reader changes nothing"
        real, before = Checkpoints.restore, []

        def restore(self, like, step):
            if not before:
                before.append(step)
                shutil.rmtree(self.directory / "2")  # by the run that is being read
            return real(self, like, step)

        monkeypatch.setattr(Checkpoints, "restore", restore)
        assert reader.restore_newest(state(0))[1] == 1
    with Checkpoints(tmp_path):
        assert not unfinished.exists()


def test_what_cannot_be_written_is_one_sentence_and_no_traceback(tmp_path, caplog, monkeypatch):
    heard: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: heard.append(str(problem.exc_value)))
    save_run(tmp_path, {1: None})
    large = state(2)._replace(params={"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(100, 100)))})
    most, filters = resource.getrlimit(resource.RLIMIT_FSIZE), list(logging.getLogger("absl").filters)

    def save():
        with Checkpoints(tmp_path) as checkpoints:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, most[1]))
            try:
                checkpoints.save(large, {})
                checkpoints.wait()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, most)

    with pytest.raises(CheckpointError, match=r"File too large; the last good one is .*1; make room"):
        save()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not heard, "a write in a thread of its own ends after orbax has closed the loop"
    assert logging.getLogger("absl").filters == filters, "as they were"


def test_an_empty_folder_has_no_checkpoints(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoints"):
        Checkpoints(tmp_path, create=False)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step is None
        assert checkpoints.best_step is None
