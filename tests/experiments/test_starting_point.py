"""A run that begins with the parameters of another run."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from helpers.runs import tiny_config

from experiments.lib import training_loop
from experiments.lib.cli import UserError
from experiments.lib.run_folder import restore

STEPS = {"train.num_steps": 4, "train.eval_every": 2, "train.checkpoint_every": 2, "train.log_every": 2}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A run whose parameters have an average, which is what is evaluated."""
    workdir = tmp_path_factory.mktemp("other") / "run"
    training_loop.train(tiny_config(**STEPS, **{"train.ema_decay": 0.5}), str(workdir))
    return str(workdir)


def test_a_run_begins_with_the_best_parameters_of_another_at_a_rate_of_its_own(other, tmp_path, capsys):
    # At this rate nothing moves: the parameters after two updates are those before the first.
    config = tiny_config(**STEPS | {"train.num_steps": 2, "train.learning_rate": 1e-30})
    training_loop.train(config, str(tmp_path / "run"), init_from=other)
    theirs, mine = restore(other, "best")[1], restore(str(tmp_path / "run"), "latest")[1]
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(mine.params), jax.device_get(theirs.params))
    assert int(mine.step) == 2
    record = json.loads((tmp_path / "run" / "init_from.json").read_text())
    assert record == {"run": other, "step": int(theirs.step)}
    assert "begins with the parameters of" in capsys.readouterr().out

    config.train.num_steps = 3
    assert training_loop.train(config, str(tmp_path / "run"))["step"] == 3, "it goes on without the flag"
    assert training_loop.train(config, str(tmp_path / "run"), init_from=other)["step"] == 3, "and with it"
    with pytest.raises(UserError, match="holds a run that began from"):
        training_loop.train(config, str(tmp_path / "run"), init_from=str(tmp_path / "run"))
    with pytest.raises(UserError, match="began with parameters of its own"):
        training_loop.train(tiny_config(**STEPS, **{"train.ema_decay": 0.5}), other, init_from=str(tmp_path / "run"))


def test_parameters_of_another_model_are_refused_by_name_and_nothing_is_written(other, tmp_path):
    differ = r"--init_from=.*arrays differ, as \S+emission\S+, there \[8, 1\] \S+, here \[9, 1\]"
    with pytest.raises(UserError, match=differ):
        training_loop.train(tiny_config(**STEPS, **{"model.rnn_dim": 9}), str(tmp_path / "run"), init_from=other)
    with pytest.raises(UserError, match=r"--init_from=.*there is no run in"):
        training_loop.train(tiny_config(**STEPS), str(tmp_path / "run"), init_from=str(tmp_path / "none"))
    assert not (tmp_path / "run").exists()
