"""What is reported is the bound, whatever is trained (rule A9); and gradients stop where they should (rule A1)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import (
    KINDS,
    NAMES,
    random_batch,
    random_noise,
    random_params,
    random_targets,
    small,
    targets_batch,
)

from zf_jax import bounds
from zf_jax.objective.loss import loss_and_metrics, objective_terms, sequence_mean
from zf_jax.objective.settings import Objective, Weights

LENGTHS = (6, 3, 5, 0)
GROUPS = (
    *("embedding", "backward", "latent_embedding", "forward", "prior"),
    *("posterior", "auxiliary", "emission", "reverse"),
)
# Which groups of parameters each term of Z-Forcing moves; the others get exactly 0.
AUXILIARY = {"embedding", "latent_embedding", "forward", "posterior", "auxiliary"}
MOVED_BY = {
    ("aux_log_prob", "target"): AUXILIARY | {"backward"},
    ("aux_log_prob", "backward"): AUXILIARY,
    ("reverse_log_prob", "target"): {"embedding", "backward", "reverse"},
    ("reverse_log_prob", "backward"): {"embedding", "backward", "reverse"},
    ("emission_log_prob", "target"): {"embedding", "backward", "latent_embedding", "forward", "posterior", "emission"},
    ("kl", "target"): {"embedding", "backward", "latent_embedding", "forward", "posterior", "prior"},
    ("kl", "backward"): {"embedding", "backward", "latent_embedding", "forward", "posterior", "prior"},
}


@pytest.mark.parametrize("name", few(NAMES, "zforcing"))
def test_the_reported_elbo_is_the_bound_whatever_is_trained(name):
    model = small(name, "frames")
    params, batch = random_params(model), random_batch(KINDS["frames"][0], LENGTHS, 6)
    noise = random_noise(model, batch)
    measure = jax.jit(functools.partial(loss_and_metrics, model), static_argnames="settings")
    expected = sequence_mean(jax.jit(functools.partial(bounds.elbo, model))(params, batch, noise=noise), batch)
    losses = []
    for weights in (Weights(), Weights(0.2), Weights(1.0, 0.7), Weights(1.0, 0.0, 0.5), Weights(0.0, 3.0, 3.0)):
        loss, metrics = measure(params, batch, None, weights, noise=noise)
        np.testing.assert_allclose(metrics["elbo_nats_per_sequence"], expected, rtol=1e-5)
        losses.append(float(loss))
    np.testing.assert_allclose(losses[0], -expected, rtol=1e-5)
    if name == "zforcing":
        assert len(set(np.round(losses, 3))) == len(losses), "and yet the objectives differ"


@functools.cache
def routing(mode, **options):
    """The largest gradient of every term in each group of Z-Forcing's parameters."""
    model = small("zforcing", **options)
    params, batch = random_params(model), random_batch(KINDS["binary"][0], LENGTHS, 6)
    noise = random_noise(model, batch)

    def totals(params):
        terms = objective_terms(model, params, batch, noise, Objective(aux_gradient=mode))
        return {term: jnp.sum(value) for term, value in terms._asdict().items() if (term, mode) in MOVED_BY}

    def largest(gradients):
        return max(np.abs(x).max() for x in jax.tree.leaves(gradients))

    return {
        term: {group: largest(g) for group, g in gradients.items()}
        for term, gradients in jax.jit(jax.jacrev(totals))(params).items()
    }


@pytest.mark.parametrize("term, mode", MOVED_BY)
def test_each_term_moves_these_parameters_and_no_others(term, mode):
    gradients = routing(mode)[term]
    assert set(gradients) == set(GROUPS)
    assert {group for group, size in gradients.items() if size > 0.0} == MOVED_BY[term, mode]


def test_the_target_is_never_moved():
    """A head that reads no z leaves b_t one way into the auxiliary term, that of the target, and it is stopped."""
    model = small("zforcing")
    params, batch = random_params(model), random_batch(KINDS["binary"][0], LENGTHS, 6)
    for part in ("mean", "log_std"):
        params["auxiliary"][part]["kernel"] = jnp.zeros_like(params["auxiliary"][part]["kernel"])
    noise = random_noise(model, batch)
    total = jax.jit(jax.grad(lambda p: jnp.sum(objective_terms(model, p, batch, noise).aux_log_prob)))
    gradients = total(params)
    moved = {group for group, g in gradients.items() if any(np.any(x != 0.0) for x in jax.tree.leaves(g))}
    assert moved == {"auxiliary"}


@pytest.mark.parametrize("mode", few(["target", "backward"], "target"))
def test_more_readers_of_the_embedding(mode):
    """The options of rules A2 and A4 add ways to the auxiliary term, and none into the backward network."""
    gradients = routing(mode, prior_input=True, posterior_input=True, aux_input="hidden_and_latent")["aux_log_prob"]
    assert {group for group, size in gradients.items() if size > 0.0} == MOVED_BY["aux_log_prob", mode]


def test_the_auxiliary_gradient_and_the_embedding_of_the_targets():
    """Both networks share e(.): a word that only ever is a target shows what the backward network passes on to it."""
    model = small("zforcing", "words")
    targets = random_targets(KINDS["words"][0], 3, 6) % 4
    targets[:, -1] = 4  # the last element is no step's input
    params, batch = random_params(model), targets_batch(KINDS["words"][0], targets)
    noise = random_noise(model, batch)

    @functools.partial(jax.jit, static_argnums=1)
    def row(params, mode, weights):
        def total(params):
            settings = Objective(aux_gradient=mode)
            return loss_and_metrics(model, params, batch, None, weights, settings, noise=noise)[0]

        return jax.grad(total)(params)["embedding"]["embedding"][4]

    elbo, both = Weights(), Weights(aux_weight=1.0)
    assert np.abs(row(params, "target", both) - row(params, "target", elbo)).max() > 1e-3
    np.testing.assert_allclose(row(params, "backward", both), row(params, "backward", elbo), rtol=1e-6, atol=1e-7)


def test_the_modes_have_the_same_values():
    model = small("zforcing")
    params, batch = random_params(model), random_batch(KINDS["binary"][0], LENGTHS, 6)
    noise = random_noise(model, batch)
    terms = jax.jit(functools.partial(objective_terms, model), static_argnums=3)
    values = [terms(params, batch, noise, Objective(aux_gradient=mode)) for mode in ("target", "backward")]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6), *values)


def test_detaching_where_the_posterior_reads_is_not_enough_and_is_found():
    """h_{t-1} carries earlier z, and with it b: a stop at f_q's input of the same step alone leaves a way."""
    model = small("zforcing")
    params, batch = random_params(model), random_batch(KINDS["binary"][0], (3, 2), 3)
    noise = random_noise(model, batch)

    def total(params):
        features = model.encode(params, batch)
        stopped = model.detach_posterior(params, features)
        carry, total = model.initial_carry(params, batch.mask), 0.0
        for t in range(batch.mask.shape[1]):
            full, blind = (jax.tree.map(functools.partial(jnp.take, indices=t, axis=1), f) for f in (features, stopped))
            total += jnp.sum(model.score(params, blind, model.step(params, carry, blind, noise[:, t])[1]).aux_log_prob)
            carry = model.step(params, carry, full, noise[:, t])[0]
        return total

    gradient = jax.jit(jax.grad(total))(params)["backward"]
    assert max(np.abs(x).max() for x in jax.tree.leaves(gradient)) > 1e-3
