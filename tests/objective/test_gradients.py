"""The gradient that training follows, of every model under every setting, against two computations that share less.

Finite differences along a random direction know nothing of ``custom_vjp``; where a stop-gradient stands in the way,
the same program with ``jax.lax.scan`` and the plain softmax does.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
from helpers.models_under_test import KINDS, LATENT_NAMES, NAMES, random_batch, random_noise, random_params, small

from zf_jax import distributions
from zf_jax.nn import chunked_softmax, deferred_scan
from zf_jax.nn.layers import linear
from zf_jax.objective import Objective, Weights, loss_and_metrics, trainable

pytestmark = pytest.mark.x64

SETTINGS = {
    "elbo": Objective(),
    "elbo of 3": Objective(num_samples=3),
    "iwae of 3": Objective(bound="iwae", num_samples=3),
    "doubly reparametrised": Objective(bound="iwae", num_samples=3, doubly_reparametrised=True),
    "free bits": Objective(num_samples=3, free_nats=0.5),
    "balance": Objective(num_samples=3, kl_balance=0.8),
    "word dropout": Objective(num_samples=3, word_dropout=0.5, unknown_word=1),
    "bag of words": Objective(num_samples=3, bag_of_words_weight=0.5),
    "backward": Objective("backward", num_samples=3),
}
# The gradient of these is that of their value: nothing is stopped on the way, where the auxiliary weight is 0.
SMOOTH = ("elbo", "elbo of 3", "iwae of 3", "free bits", "word dropout", "bag of words")
WORDS_ONLY = ("word dropout", "bag of words")


def problem(name, kind, setting, aux_weight):
    """The loss as a function of the parameters, and parameters."""
    settings = SETTINGS[setting]
    model = trainable(small(name, kind), settings)
    batch = random_batch(KINDS[kind][0], (4, 2), 4)
    noise = random_noise(model, batch, num_samples=settings.num_samples)
    weights = Weights(0.7, aux_weight, 0.3)

    def loss(params):
        return loss_and_metrics(model, params, batch, jax.random.key(0), weights, settings, noise=noise)[0]

    return loss, random_params(model, spread=0.1)


def fits(name, kind, setting):
    if name == "rnn" and setting in ("doubly reparametrised", "bag of words"):
        return False
    return kind == "words" or setting not in WORDS_ONLY


# STORN's posterior does not depend on the noise, and so is the one that the samples share.
QUICK = {("storn", "words", s) for s in SMOOTH} | {("storn", "frames", "iwae of 3")}
QUICK -= {("storn", "words", "iwae of 3"), ("storn", "words", "elbo")}
QUICK |= {(name, "words", "elbo of 3") for name in ("zforcing", "srnn")}
QUICK_PLAIN = {("storn", "words", "balance"), ("zforcing", "frames", "backward")}


@pytest.mark.parametrize(
    ("name", "kind", "setting"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
        for case in ((n, k, s) for n in NAMES for k in ("words", "frames") for s in SMOOTH)
        if fits(*case)
    ],
)
def test_the_gradient_is_the_slope_of_the_loss(name, kind, setting):
    loss, params = problem(name, kind, setting, aux_weight=0.0)
    slope = jax.jit(jax.value_and_grad(loss))
    rng = np.random.default_rng(1)
    params = jax.device_get(params)  # moved by numpy, which compiles nothing
    direction = jax.tree.map(lambda x: rng.normal(size=x.shape), params)

    def moved(by):
        return slope(jax.tree.map(lambda x, d: x + by * d, params, direction))[0]

    along = sum(jax.tree.leaves(jax.tree.map(lambda g, d: np.sum(g * d), jax.device_get(slope(params)[1]), direction)))
    np.testing.assert_allclose(along, (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind", "setting"),
    [
        pytest.param(*case, marks=() if case in QUICK_PLAIN else pytest.mark.slow)
        for case in ((n, k, s) for n in NAMES for k in ("words", "frames") for s in SETTINGS)
        if fits(*case)
    ],
)
def test_the_gradient_is_that_of_a_plain_scan(monkeypatch, name, kind, setting):
    loss, params = problem(name, kind, setting, aux_weight=0.4)
    ours = jax.jit(jax.grad(loss))(params)
    monkeypatch.setattr(deferred_scan, "scan", jax.lax.scan)
    monkeypatch.setattr(
        chunked_softmax,
        "categorical_log_prob",
        lambda layer, hidden, x: distributions.categorical_log_prob(linear(layer, hidden), x),
    )
    expected = jax.jit(jax.grad(lambda params: loss(params)))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), ours, expected)


@pytest.mark.slow  # of one model, and with other quadrature, in test_objective.py
@pytest.mark.parametrize("name", LATENT_NAMES)
def test_the_doubly_reparametrised_gradient_has_the_mean_of_the_plain_one(name):
    """One step, one latent and two samples: the mean is an integral over a plane, by quadrature."""
    model = small(name, "frames", latent_dim=1)
    params = jax.tree.map(lambda x: 0.15 * x, random_params(model))  # smooth enough for the nodes
    batch = random_batch(KINDS["frames"][0], (1,), 1)
    nodes, shares = np.polynomial.hermite_e.hermegauss(40)
    one, two = (x.ravel() for x in np.meshgrid(range(40), range(40)))
    shares = shares[one] * shares[two] / shares.sum() ** 2
    noise = nodes[np.stack([one, two], axis=1)].reshape(-1, 2, 1, 1, 1)

    def mean_gradient(doubly):
        settings = Objective(bound="iwae", num_samples=2, doubly_reparametrised=doubly)

        def loss(params, noise):
            return loss_and_metrics(model, params, batch, None, Weights(), settings, noise=noise)[0]

        gradients = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(params, noise)
        return jax.tree.map(lambda g: np.tensordot(shares, g, 1), gradients)

    plain, doubly = mean_gradient(False), mean_gradient(True)
    # Where z passes a bent activation on its way to the output, forty nodes leave an error of some thousandths.
    kinked = name in ("vrnn", "vrnn_i", "srnn", "dmm")
    close = {"rtol": 1e-2, "atol": 1e-4} if kinked else {"rtol": 1e-5, "atol": 1e-6}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), doubly, plain)
    assert max(float(np.abs(x).max()) for x in jax.tree.leaves(plain["posterior"])) > 1e-3
