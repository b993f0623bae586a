"""Checkpoints: the best and the latest are kept, found again by another reader, and refused when damaged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zf_jax.checkpointing import CheckpointError, Checkpoints
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
        assert checkpoints.config(99) == {}


def test_a_run_that_was_never_validated_has_its_latest_as_best(tmp_path):
    save_run(tmp_path, {1: None, 2: None})
    with Checkpoints(tmp_path, create=False) as checkpoints:
        assert checkpoints.best_step == 2


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    save_run(tmp_path, {1: None})
    other = state(0)._replace(params={"kernel": jnp.zeros((4, 4))})
    with Checkpoints(tmp_path, create=False) as checkpoints, pytest.raises(CheckpointError, match="another model"):
        checkpoints.restore(other, 1)


def test_an_empty_folder_has_no_checkpoints(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoints"):
        Checkpoints(tmp_path, create=False)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step is None
        assert checkpoints.best_step is None
