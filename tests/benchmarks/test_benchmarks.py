"""The benchmark's peer computes what we compute."""

import json

import jax
import numpy as np
import pytest

from benchmarks.configurations import TINY, model_of, random_batch
from zf_jax import bounds

torch = pytest.importorskip("torch")

from benchmarks import autoregressive, contestants, peer, speed  # noqa: E402


@pytest.mark.parametrize("name", TINY)
def test_loss_and_gradients_of_the_peer_are_ours(name):
    gaps = contestants.disagreement(TINY[name])
    assert gaps["loss"] < 1e-5
    assert gaps["gradients"] < 1e-4


@pytest.mark.parametrize("name", autoregressive.TINY)
def test_loss_and_gradients_of_nade_s_and_pixel_rnn_s_peer_are_ours(name, monkeypatch):
    gaps = autoregressive.disagreement(name, autoregressive.TINY[name])
    assert gaps["loss"] < 1e-5
    assert gaps["gradients"] < 1e-4
    wrong = {"cumsum": lambda x, dim: x, "bmm": lambda x, y: 0 * torch.matmul(x, y)}  # no running sum; no recurrence
    for function, other in wrong.items():
        monkeypatch.setattr(torch, function, other)
    assert autoregressive.disagreement(name, autoregressive.TINY[name])["gradients"] > 1e-2


@pytest.mark.parametrize("name", TINY)
def test_iwae_of_the_peer_is_ours(name):
    c, model, batch = TINY[name], model_of(TINY[name]), random_batch(TINY[name])
    params = model.init(jax.random.key(0))
    noise = np.random.default_rng(1).normal(size=(c.K, c.B, c.T, c.Z)).astype(np.float32)
    ours = bounds.iwae(model, params, batch, noise=noise)
    one = peer.Peer(c, jax.tree.map(np.asarray, params))
    theirs = one.iwae(peer.to_torch(batch), torch.tensor(noise.transpose(2, 0, 1, 3).reshape(c.T, -1, c.Z)))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_peer_samples_are_of_the_right_kind(name):
    c = TINY[name]
    drawn = peer.Peer(c, jax.tree.map(np.asarray, model_of(c).init(jax.random.key(0)))).sample(c.B)
    frames = (c.observation.size,) if c.observation.kind == "frames" else ()
    assert drawn.shape == (c.T, c.B, *frames)
    assert frames or drawn.max() < c.observation.size


def test_the_command_writes_what_it_promises(tmp_path):
    path = tmp_path / "report.json"
    speed.main(["--quick", "--configs=D", "--tasks=update,train_step", "--no-memory", f"--json={path}"])
    report = json.loads(path.read_text())["configurations"]["D"]
    for one in (report, report["train_step"]):
        assert {"time_over_peer", "fraction_of_peak", "compile_seconds", "temporary_bytes"} <= set(one)
    speed.main(["--quick", "--configs=N,P", "--no-memory", f"--json={path}"])
    rows = json.loads(path.read_text())["configurations"]
    assert set(rows) == {"N", "P"}
    assert all({"time_over_peer", "fraction_of_peak", "temporary_bytes"} <= set(row) for row in rows.values())
    assert path.with_suffix(".md").read_text().startswith("| |")
