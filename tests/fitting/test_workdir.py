"""The folder of a training from Python, where several processes train: all of them end if the first is refused it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import zf_jax
from zf_jax.data import from_arrays

DATA = from_arrays({"train": np.random.default_rng(0).normal(size=(8, 5, 1))})
MODEL = zf_jax.build_model("rnn", DATA.observation, emission="gaussian", rnn_dim=3, embed_dim=2)
SETTINGS = zf_jax.FitSettings(batch_size=8)


def test_a_folder_that_cannot_be_written_is_refused_by_all_processes(tmp_path, monkeypatch):
    """Processes other than the first wait for what it says of the folder, so it must say something."""
    module, told = sys.modules["zf_jax.fitting.fit"], []

    def any_process(mine):
        told.append(mine)
        return True  # process 0 was refused

    monkeypatch.setattr(module, "any_process", any_process)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"workdir .*file cannot be made or written: .*; choose another workdir"):
        zf_jax.fit(MODEL, DATA, SETTINGS, workdir=tmp_path / "file")
    monkeypatch.setattr(module.jax, "process_index", lambda: 1)
    with pytest.raises(ValueError, match=r"process 0 was refused the workdir .*, and says why"):
        zf_jax.fit(MODEL, DATA, SETTINGS, workdir=tmp_path / "other")
    assert told == [True, False]
