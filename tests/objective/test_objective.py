"""Every setting of the objective does what its paper says, and none of them touches what is reported."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import linear_gaussian_models as linear
from helpers.few import few
from helpers.models_under_test import (
    KINDS,
    LATENT_NAMES,
    random_batch,
    random_noise,
    random_params,
    small,
    targets_batch,
)
from scipy import special

from examples import new_model
from zf_jax import bounds
from zf_jax.distributions import Gaussian, gaussian_kl
from zf_jax.models.base import replay, unroll
from zf_jax.objective.bag_of_words import bag_log_prob
from zf_jax.objective.loss import kl_cost, loss_and_metrics, sequence_mean, trainable, trajectory
from zf_jax.objective.settings import Objective, Weights
from zf_jax.objective.word_dropout import drop_words
from zf_jax.typing import Observation

pytestmark = pytest.mark.x64

LENGTHS = (5, 2, 4, 0)
WORDS = KINDS["words"][0]
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@functools.cache
def case(name, settings=Objective()):
    """Model, parameters, words, noise ``[K, B, T, Z]``; (loss, metrics), and the gradient beside them, compiled."""
    model = trainable(small(name, "words"), settings)
    batch = random_batch(WORDS, LENGTHS, 6)

    def measure(params, batch, noise, weights=Weights()):
        return loss_and_metrics(model, params, batch, jax.random.key(0), weights, settings, noise=noise)

    noise = random_noise(model, batch, num_samples=settings.num_samples)
    slope = jax.jit(jax.value_and_grad(measure, has_aux=True))
    return model, random_params(model, spread=0.1), batch, noise, jax.jit(measure), slope


def largest(tree):
    return max(float(np.abs(x).max()) for x in jax.tree.leaves(tree))


SETTINGS = {
    "free bits": Objective(free_nats=2.0),
    "balance": Objective(kl_balance=0.8),
    "word dropout": Objective(word_dropout=0.5, unknown_word=1),
    "bag of words": Objective(bag_of_words_weight=0.5),
    "iwae": Objective(bound="iwae", num_samples=3),
    "doubly reparametrised": Objective(bound="iwae", num_samples=3, doubly_reparametrised=True),
    "everything at once": Objective("backward", 0.5, 0.7, 0.3, 1, 0.2, num_samples=2),
}


@pytest.mark.parametrize("setting", few([*SETTINGS], "everything at once", "iwae", "bag of words"))
def test_the_reported_figures_stay_pure(setting):
    settings = SETTINGS[setting]
    name = "zforcing" if setting == "everything at once" else "storn"  # the quickest to compile
    model, params, batch, noise, measure, _ = case(name, settings)
    loss, metrics = measure(params, batch, noise, Weights(0.3, 0.4, 0.5))
    elbo = jax.jit(jax.vmap(lambda n: bounds.elbo(model, params, batch, noise=n)))(noise).mean(axis=0)
    expected = sequence_mean(elbo, batch)
    np.testing.assert_allclose(metrics["elbo_nats_per_sequence"], expected, **CLOSE)
    if "iwae_nats_per_sequence" in metrics:
        iwae = sequence_mean(jax.jit(functools.partial(bounds.iwae, model))(params, batch, noise=noise), batch)
        np.testing.assert_allclose(metrics["iwae_nats_per_sequence"], iwae, **CLOSE)
    assert abs(loss + expected) > 1e-2, "and yet something else is trained"


def test_free_bits():
    q = Gaussian(jnp.array([[[0.5, 0.0], [2.0, 1.0], [9.0, 9.0]]]), jnp.zeros((1, 3, 2)))
    p = Gaussian(jnp.zeros((1, 3, 2)), jnp.zeros((1, 3, 2)))
    mask, settings = jnp.array([[1.0, 1.0, 0.0]]), Objective(free_nats=1.0)
    np.testing.assert_allclose(kl_cost(q, p, mask, settings), [[1.0, 2.5, 0.0]])
    np.testing.assert_allclose(kl_cost(q, p, mask, Objective()), [[0.125, 2.5, 0.0]])
    slope = jax.grad(lambda mean: kl_cost(q._replace(mean=mean), p, mask, settings).sum())(q.mean)
    np.testing.assert_allclose(slope, [[[0.0, 0.0], [2.0, 1.0], [0.0, 0.0]]])  # free below, itself above


def test_kl_balance_weighs_the_two_gradients():
    rng = np.random.default_rng(0)
    q, p = (Gaussian(*(jnp.asarray(rng.normal(size=(1, 3, 2))) for _ in range(2))) for _ in range(2))
    mask, settings = jnp.ones((1, 3)), Objective(kl_balance=0.8)
    np.testing.assert_allclose(kl_cost(q, p, mask, settings), gaussian_kl(q, p).sum(-1))
    plain = jax.grad(lambda pair: gaussian_kl(*pair).sum())((q, p))
    weighed = jax.grad(lambda pair: kl_cost(*pair, mask, settings).sum())((q, p))
    jax.tree.map(lambda w, x: np.testing.assert_allclose(w, 0.2 * x), weighed[0], plain[0])
    jax.tree.map(lambda w, x: np.testing.assert_allclose(w, 0.8 * x), weighed[1], plain[1])


def test_kl_balance_and_free_bits_reach_the_parameters():
    plain = case("vrnn")
    (_, metrics), gradient = plain[5](*plain[1:4])
    balanced = case("vrnn", Objective(kl_balance=0.25))
    (loss, _), weighed = balanced[5](*balanced[1:4])
    np.testing.assert_allclose(loss, -metrics["elbo_nats_per_sequence"], **CLOSE)
    # f_p is read by the KL alone.
    jax.tree.map(lambda w, x: np.testing.assert_allclose(w, 0.25 * x, **CLOSE), weighed["prior"], gradient["prior"])
    free = case("vrnn", Objective(free_nats=1e3))
    (loss, _), relieved = free[5](*free[1:4])
    assert largest(relieved["prior"]) == 0.0
    np.testing.assert_allclose(loss, 1e3 * np.mean(LENGTHS[:3]) - metrics["emission_nats_per_sequence"], **CLOSE)


def test_word_dropout_hides_inputs_alone():
    settings = Objective(word_dropout=1.0, unknown_word=1)
    batch = random_batch(WORDS, LENGTHS, 6)
    seen = drop_words(batch, jax.random.key(0), settings)
    assert np.all(np.asarray(seen.inputs)[np.asarray(batch.input_mask) > 0] == 1)
    assert np.all(seen.inputs[:, 0] == WORDS.start_token)
    np.testing.assert_array_equal(seen.targets, batch.targets)
    some = Objective(word_dropout=0.3, unknown_word=9)
    seen = drop_words(random_batch(WORDS, (50,) * 40, 50), jax.random.key(0), some)
    assert abs(np.mean(np.asarray(seen.inputs)[:, 1:] == 9) - 0.3) < 0.05
    with pytest.raises(ValueError, match="tokens"):
        drop_words(random_batch(KINDS["frames"][0]), jax.random.key(0), settings)


@pytest.mark.parametrize("unknown", [-1, 5, 1.5])
def test_a_dropped_word_becomes_one_of_the_vocabulary(unknown):
    """Of the words 0 .. 4: 5 is the token that opens a sequence, which no word is."""
    model, settings = small("rnn", "words"), Objective(word_dropout=0.5, unknown_word=unknown)
    params, batch = random_params(model), random_batch(model.observation)
    with pytest.raises(ValueError, match=rf"a token of the model, 0 \.\. 4: {unknown}"):
        trainable(model, settings)
    with pytest.raises(ValueError, match=rf"a token of the model, 0 \.\. 4: {unknown}"):
        loss_and_metrics(model, params, batch, jax.random.key(0), settings=settings)
    assert trainable(model, dataclasses.replace(settings, word_dropout=0.0)) is model  # nothing reads the token


def test_word_dropout_in_training():
    """With every word hidden a decoder cannot tell one past from another; the reverse term still scores the words."""
    plain = case("rnn")
    hidden = case("rnn", Objective(word_dropout=1.0, unknown_word=1))
    _, params, batch, noise, measure, _ = hidden
    other = targets_batch(WORDS, np.asarray((batch.targets + 1) % 5), LENGTHS)._replace(targets=batch.targets)
    loss, metrics = measure(params, batch, noise)
    np.testing.assert_allclose(measure(params, other, noise)[0], loss, **CLOSE)
    np.testing.assert_allclose(metrics["elbo_nats_per_sequence"], -plain[4](*plain[1:4])[0], **CLOSE)
    assert abs(loss + metrics["elbo_nats_per_sequence"]) > 1e-2

    model, params, batch, noise, _, _ = case("zforcing")
    seen = drop_words(batch, jax.random.key(0), Objective(word_dropout=1.0, unknown_word=1))

    @jax.jit
    def terms(read):
        return trajectory(model, params, batch, model.encode(params, read), noise[0], Objective()).terms

    hidden, plain = terms(seen), terms(batch)
    np.testing.assert_allclose(hidden.reverse_log_prob, plain.reverse_log_prob, **CLOSE)
    assert np.abs(hidden.emission_log_prob - plain.emission_log_prob).max() > 1e-2


def test_bag_of_words_against_numpy():
    rng = np.random.default_rng(0)
    head = {"kernel": jnp.asarray(rng.normal(size=(2, 5))), "bias": jnp.asarray(rng.normal(size=5))}
    latents, targets = rng.normal(size=(2, 4, 2)), rng.integers(0, 5, (2, 4))
    lengths = (4, 2)
    mask = np.arange(4) < np.array(lengths)[:, None]
    expected = np.zeros((2, 4))
    for row, length in enumerate(lengths):
        for t in range(length):
            log_probs = special.log_softmax(latents[row, t] @ np.asarray(head["kernel"]) + np.asarray(head["bias"]))
            expected[row, t] = np.mean([log_probs[targets[row, s]] for s in range(t, length)])
    found = bag_log_prob({"bag_of_words": head}, jnp.asarray(latents), jnp.asarray(targets), jnp.asarray(mask * 1.0))
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_bag_of_words_trains_its_head_and_the_posterior():
    settings = Objective(bag_of_words_weight=2.0)
    model, params, batch, noise, _, slope = case("storn", settings)
    (loss, metrics), gradient = slope(params, batch, noise)

    @jax.jit
    def mean_of_the_bag(params):
        latents = unroll(model, params, model.encode(params, batch), noise[0])[1].latent
        return sequence_mean(bag_log_prob(params, latents, batch.targets, batch.mask).sum(axis=1), batch)

    bag = mean_of_the_bag(params)
    np.testing.assert_allclose(loss, -metrics["elbo_nats_per_sequence"] - 2.0 * bag, **CLOSE)
    assert largest(gradient["bag_of_words"]) > 1e-3
    without = functools.partial(loss_and_metrics, small("storn", "words"), settings=settings)
    with pytest.raises(ValueError, match="bag_of_words"):
        jax.eval_shape(lambda params: without(params, batch, noise=noise), case("storn")[1])
    for name, kind in (("storn", "frames"), ("rnn", "words")):
        with pytest.raises(ValueError, match="tokens and a model with latents"):
            trainable(small(name, kind), settings)


def test_iwae_training_maximises_the_bound_that_is_reported():
    settings = Objective(bound="iwae", num_samples=4)
    model, params, batch, noise, _, slope = case("storn", settings)
    (loss, _), gradient = slope(params, batch, noise)

    @jax.jit
    def bound(params):
        return jax.value_and_grad(lambda p: -sequence_mean(bounds.iwae(model, p, batch, noise=noise), batch))(params)

    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-8), (loss, gradient), bound(params))


def test_the_samples_of_training_are_drawn_apart():
    """From a key as from K noises, each drawn from the key of its number, as ``bounds.iwae`` draws them."""
    settings, weights = SETTINGS["iwae"], Weights(0.3, 0.4, 0.5)
    model, params, batch, _, measure, _ = case("storn", settings)
    key = jax.random.key(3)
    noise = jnp.stack([bounds.draw_noise(jax.random.fold_in(key, k), batch, model.latent_dim) for k in range(3)])
    assert len(np.unique(noise)) == noise.size
    drawn = jax.jit(lambda params, key: loss_and_metrics(model, params, batch, key, weights, settings))(params, key)
    jax.tree.map(functools.partial(np.testing.assert_allclose, **CLOSE), drawn, measure(params, batch, noise, weights))


@pytest.mark.parametrize("doubly", few([False, True], True))
def test_the_iwae_gradient_is_on_average_that_of_the_bound(doubly):
    """One latent and two samples: an average is an integral over a plane, and quadrature needs no luck."""
    model = new_model.Markov(Observation("frames", 2), "gaussian", latent_dim=1, mlp_dim=3, embed_dim=2)
    params = jax.tree.map(lambda x: 0.3 * x, random_params(model))  # weights that vary slowly from node to node
    params, directions = jax.device_get((params, random_params(model, seed=7)))
    batch = targets_batch(Observation("frames", 2), [[[0.7, -1.1]]])
    settings = Objective(bound="iwae", num_samples=2, doubly_reparametrised=doubly)
    nodes, shares = np.polynomial.hermite_e.hermegauss(40)
    one, two = (x.ravel() for x in np.meshgrid(range(40), range(40)))
    shares = shares[one] * shares[two] / shares.sum() ** 2

    @jax.jit
    def terms_at_nodes(params):
        return jax.vmap(lambda n: bounds.step_terms(model, params, batch, noise=n))(nodes.reshape(-1, 1, 1, 1))

    def bound(params, temperature):
        terms = jax.tree.map(np.ravel, terms_at_nodes(params))
        weights = terms.emission_log_prob + temperature * (terms.prior_log_prob - terms.posterior_log_prob)
        return shares @ (np.logaddexp(weights[one], weights[two]) - np.log(2.0))

    @jax.jit
    def average(params, temperature):
        def loss(params, noise):
            return loss_and_metrics(model, params, batch, None, Weights(temperature), settings, noise=noise)[0]

        noise = nodes[np.stack([one, two], axis=1)].reshape(-1, 2, 1, 1, 1)
        found = jax.vmap(jax.value_and_grad(loss), (None, 0))(params, noise)
        return jax.tree.map(lambda x: -jnp.tensordot(shares, x, 1), found)

    def moved(group, by):
        return params | {group: jax.tree.map(lambda x, d: x + by * d, params[group], directions[group])}

    for temperature in (1.0, 0.5):
        value, gradient = average(params, temperature)
        np.testing.assert_allclose(value, bound(params, temperature), rtol=1e-6)
        for group in params:
            slope = (bound(moved(group, 1e-4), temperature) - bound(moved(group, -1e-4), temperature)) / 2e-4
            along = jax.tree.map(lambda g, d: np.sum(g * d), gradient[group], directions[group])
            np.testing.assert_allclose(sum(jax.tree.leaves(along)), slope, rtol=1e-5, atol=1e-5, err_msg=group)


@pytest.mark.parametrize("name", few(LATENT_NAMES, "storn"))
def test_doubly_reparametrised_with_one_sample_leaves_out_the_score(name):
    """K = 1: the plain gradient is the doubly reparametrised one minus d log q(z) / dphi at fixed z, exactly."""
    plain = case(name, Objective(bound="iwae"))
    doubly = case(name, Objective(bound="iwae", doubly_reparametrised=True))
    model, params, batch, noise, _, _ = plain

    def score_term(params):
        features = model.encode(params, batch)
        latents = jax.lax.stop_gradient(unroll(model, params, features, noise[0])[1].latent)
        terms = model.score(params, features, replay(model, params, features, latents))
        return sequence_mean(terms.posterior_log_prob.sum(axis=1), batch)

    (loss, _), gradient = plain[5](params, batch, noise)
    (same, _), other = doubly[5](params, batch, noise)
    np.testing.assert_allclose(loss, same, **CLOSE)
    score = jax.jit(jax.grad(score_term))(params)
    assert largest(score) > 1e-2
    # The losses are negative bounds: plain = doubly + score.
    jax.tree.map(lambda p, d, s: np.testing.assert_allclose(p, d + s, rtol=1e-7, atol=1e-7), gradient, other, score)


@pytest.mark.slow
@pytest.mark.parametrize("kl_temperature", [1.0, 0.5])
def test_doubly_reparametrised_gradients_agree_with_plain_ones_on_average(kl_temperature):
    runs, num_samples = 3000, 3
    model = small("vrnn", "words")
    params, batch = random_params(model, spread=0.1), random_batch(WORDS, (3,), 3)
    noise = random_noise(model, batch, num_samples=runs * num_samples).reshape(runs, num_samples, 1, 3, -1)
    directions = random_params(model, seed=7)

    @functools.partial(jax.jit, static_argnums=0)
    def slopes(settings):
        """The gradient along a direction in each group of parameters, for every run."""

        def one(noise):
            def loss(params):
                return loss_and_metrics(model, params, batch, None, Weights(kl_temperature), settings, noise=noise)[0]

            gradient = jax.grad(loss)(params)
            along = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, directions)
            return {group: sum(jax.tree.leaves(values)) for group, values in along.items()}

        return jax.lax.map(one, noise, batch_size=500)

    plain = slopes(Objective(bound="iwae", num_samples=num_samples))
    doubly = slopes(Objective(bound="iwae", num_samples=num_samples, doubly_reparametrised=True))
    for group in plain:
        difference = np.asarray(plain[group] - doubly[group])
        error = difference.std(ddof=1) / runs**0.5
        assert abs(difference.mean()) < 4 * error + 1e-9, group
    assert np.std(plain["posterior"] - doubly["posterior"]) > 1e-3


@pytest.mark.slow
def test_doubly_reparametrised_gradient_vanishes_at_the_exact_posterior():
    """What the plain gradient lacks: no noise where there is nothing left to learn."""
    matrices = linear.separable("vrnn")
    params = linear.parameters("vrnn", matrices, linear.exact_posterior("vrnn", matrices))
    params = jax.tree.map(jnp.asarray, params)
    model = linear.build("vrnn")
    batch = random_batch(Observation("frames", linear.D), (3,), 3)
    noise = random_noise(model, batch, num_samples=4)

    @functools.partial(jax.jit, static_argnums=0)
    def slope(doubly):
        settings = Objective(bound="iwae", num_samples=4, doubly_reparametrised=doubly)
        return jax.grad(lambda p: loss_and_metrics(model, p, batch, None, Weights(), settings, noise=noise)[0])(params)

    # Of f_q's parameters, those in units of its output.
    doubly, plain = slope(True)["posterior"], slope(False)["posterior"]
    for part in ("mean", "log_std"):
        assert np.abs(doubly[part]["bias"]).max() < 1e-4
        assert np.abs(plain[part]["bias"]).max() > 1e-2


def test_wrong_settings_are_refused():
    for options, words in (
        ({"aux_gradient": "none"}, "aux_gradient"),
        ({"free_nats": -1.0}, "free_nats"),
        ({"kl_balance": 1.5}, "kl_balance"),
        ({"word_dropout": 1.5}, "word_dropout"),
        ({"word_dropout": 0.5}, "unknown_word"),
        ({"bound": "vimco"}, "bound"),
        ({"num_samples": 0}, "num_samples"),
        ({"num_samples": 2.5}, r"num_samples must be whole, not 2\.5"),
        ({"doubly_reparametrised": True}, "iwae"),
        ({"bound": "iwae", "free_nats": 1.0}, "free_nats"),
    ):
        with pytest.raises(ValueError, match=words):
            Objective(**options)
    model, params, batch, noise, _, _ = case("zforcing")
    with pytest.raises(ValueError, match="samples"):
        loss_and_metrics(model, params, batch, settings=Objective(num_samples=2), noise=noise)
    with pytest.raises(ValueError, match="key"):
        loss_and_metrics(model, params, batch)
    wrong: Any = (1.0, 0.0, 0.0)
    with pytest.raises(TypeError, match=r"weights must be a zf_jax\.Weights, not tuple"):
        loss_and_metrics(model, params, batch, noise=noise, weights=wrong)
