"""What is given beside the elements is read by every model where the equations say, and changes nothing else."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.all_sequences import from_the_prior
from helpers.few import few
from helpers.models_under_test import NAMES, READ_THE_PAST, random_noise, random_params, wrap
from helpers.with_context import BITS, FRAMES, PLAIN, ROWS, C, T, model_of, some_batch

import zf_jax
from examples import new_model
from zf_jax import Observation, bounds
from zf_jax.checks import check_batch
from zf_jax.emissions import emission_values
from zf_jax.models.base import replay
from zf_jax.objective.loss import objective_terms

FIXED_PRIOR = ("rnn", "storn", "vrnn_i")
READS_THE_FUTURE = ("srnn", "zforcing", "dmm")


def distributions(model, params, batch, latents):
    features = model.encode(params, batch)
    sites = replay(model, params, features, latents)
    values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
    return {"prior": model.prior(params, features, sites), "emission": values, "posterior": sites.proposal}


# Where it is read -----------------------------------------------------------------------------------------------------


@functools.cache
def influence(name):
    """How far c_s, and y_s, moves each distribution of step t: two dicts of ``[T, T]``, at [s, t]."""
    model, rng = model_of(name), np.random.default_rng(1)
    rows = 1 + 2 * T
    targets, context = (np.tile(rng.normal(size=(1, T, size)), (rows, 1, 1)) for size in (2, C))
    for s in range(T):
        context[1 + s, s] += 1.0
        targets[1 + T + s, s] += 1.0
    observation = Observation("frames", 2, context=C)
    batch = zf_jax.batch_of(targets, observation=observation, context=context)
    latents = jnp.asarray(np.tile(rng.normal(size=(1, T, model.latent_dim)), (rows, 1, 1)), jnp.float32)
    found = jax.jit(functools.partial(distributions, model))(random_params(model), batch, latents)
    apart = {
        what: np.sum([np.abs(leaf[1:] - leaf[:1]).sum(axis=-1) for leaf in jax.tree.leaves(values)], axis=0)
        for what, values in found.items()
    }
    return {k: v[:T] for k, v in apart.items()}, {k: v[T:] for k, v in apart.items()}


SAME, DIFFERENT = 1e-5, 1e-4
BEFORE, LATER = np.tri(T, k=-1).T > 0, np.tri(T, k=-1) > 0  # [s, t]: s < t, s > t


@pytest.mark.parametrize("name", NAMES)
def test_a_step_reads_its_context_and_the_posterior_alone_a_later_one(name):
    by_context, by_targets = influence(name)
    read = {"emission"} | (set() if name in FIXED_PRIOR else {"prior"}) | (set() if name == "rnn" else {"posterior"})
    if name == "dmm":
        read.remove("emission")  # which reads z_t alone
    for what, moved in by_context.items():
        if what not in read:
            assert not moved.any(), what
            continue
        if name in READ_THE_PAST:
            assert moved[BEFORE].min() > DIFFERENT, what
        else:  # z_{t-1} holds what came before
            assert moved[BEFORE].max() < SAME, what
        assert np.diag(moved).min() > DIFFERENT, what
        if what == "posterior" and name in READS_THE_FUTURE:
            assert moved[LATER].min() > DIFFERENT, what
        else:
            assert moved[LATER].max() < SAME, what
    for what in ("prior", "emission"):  # and generation is blind to y_t and to what comes after it, as ever
        assert by_targets[what][~BEFORE].max() < SAME, what
    assert by_targets["emission"][BEFORE].min() > DIFFERENT or name not in READ_THE_PAST


# What it is -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", few(NAMES, "zforcing", "srnn", "vrnn"))
def test_a_constant_context_is_a_bias(name):
    """W_c c joins the embedding's bias, and c times its own rows the bias of the prior of Z-Forcing and the DMM."""
    model, plain, batch = model_of(name), model_of(name, PLAIN), some_batch()
    params, given = random_params(model), np.random.default_rng(2).normal(size=C).astype(np.float32)
    batch = batch._replace(context=np.broadcast_to(given, (ROWS, T, C)))
    kernel = {**params, "embedding": dict(params["embedding"])}
    kernel["embedding"]["bias"] += given @ kernel["embedding"].pop("context")
    if name in ("zforcing", "dmm"):
        hidden = params["prior"]["hidden"]
        rows, own = np.split(hidden["kernel"], [-C])
        kernel["prior"] = params["prior"] | {"hidden": {"kernel": rows, "bias": hidden["bias"] + given @ own}}
    without = batch._replace(context=None)
    if name.startswith("vrnn"):  # c_1 is data: the state is brought up to date at the start, too
        without = without._replace(input_mask=batch.mask)
    noise = random_noise(model, batch)
    found = bounds.step_terms(model, params, batch, noise=noise)
    expected = bounds.step_terms(plain, kernel, without, noise=noise)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)
    assert abs(found.emission_log_prob).max() > 0.1


@pytest.mark.parametrize("name", ["vrnn", "zforcing"])
def test_given_a_context_the_probabilities_of_all_sequences_sum_to_one(name):
    model = model_of(name, BITS, "bernoulli")
    values = np.array(list(itertools.product((0, 1), repeat=2)))
    context = np.broadcast_to([[0.3], [-1.2]], (4, 2, 1))
    batch = zf_jax.batch_of(values, observation=BITS, context=context, labels=[1] * 4)
    noise = jnp.broadcast_to(random_noise(model, batch, num_samples=2)[:, :1], (2, 4, 2, model.latent_dim))
    blind: Any = from_the_prior(model)
    params = random_params(model)
    weights = bounds.iwae_log_weights(blind, params, batch, noise=noise)
    np.testing.assert_allclose(np.exp(weights).sum(axis=1), 1.0, rtol=1e-5)
    other = bounds.iwae_log_weights(blind, params, batch._replace(context=-batch.context), noise=noise)
    assert abs(weights - other).max() > 1e-3


@pytest.mark.parametrize("name", few(NAMES, "zforcing", "srnn", "vrnn"))
def test_step_by_step_is_the_scan_and_padding_is_not_read(name):
    model, batch = model_of(name), some_batch()
    params, latents = random_params(model), random_noise(model, batch, 3)
    expected = jax.jit(functools.partial(distributions, model))(params, batch, latents)
    beyond = np.where(batch.mask[..., None] > 0, batch.context, np.nan)
    found = generate(wrap(model, observe=jax.jit(model.observe), step=jax.jit(model.step)), params, batch, latents)
    for what in ("prior", "emission"):
        pairs = zip(jax.tree.leaves(found[what]), jax.tree.leaves(expected[what]), strict=True)
        for ours, theirs in pairs:
            real = np.asarray(batch.mask)[..., None] > 0
            np.testing.assert_allclose(np.where(real, ours, 0), np.where(real, theirs, 0), rtol=1e-4, atol=1e-5)
    noise = random_noise(model, batch)
    assert_equal = functools.partial(jax.tree.map, np.testing.assert_array_equal)
    check_batch(model, batch._replace(context=beyond))
    assert_equal(
        bounds.step_terms(model, params, batch._replace(context=beyond), noise=noise),
        bounds.step_terms(model, params, batch, noise=noise),
    )


def generate(model, params, batch, latents):
    """What the generator sees when it is fed these inputs and draws these latents."""
    carry, memory = model.initial_carry(params, batch.mask), model.initial_memory(params, batch.mask)
    result = []
    for t in range(T):
        args = batch.inputs[:, t], batch.input_mask[:, t], batch.context[:, t]
        memory, features = model.observe(params, memory, *args)
        proposal = model.step(params, carry, features, jnp.zeros_like(latents[:, t]))[1].proposal
        noise = (latents[:, t] - proposal.mean) * jnp.exp(-proposal.log_std)
        carry, sites = model.step(params, carry, features, noise)
        values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
        result.append({"prior": model.prior(params, features, sites), "emission": values})
    return jax.tree.map(lambda *xs: jnp.stack(xs, axis=1), *result)


@pytest.mark.parametrize("name", NAMES)
def test_without_its_own_kernels_a_model_has_the_parameters_of_one_without_context(name):
    plain, more = (jax.eval_shape(model_of(name, o).init, jax.random.key(0)) for o in (PLAIN, FRAMES))
    assert more["embedding"].pop("context").shape == (C, 3)
    differ = [
        jax.tree_util.keystr(path)
        for (path, leaf), other in zip(
            jax.tree_util.tree_leaves_with_path(plain), jax.tree_util.tree_leaves(more), strict=True
        )
        if leaf.shape != other.shape
    ]
    assert differ == (["['prior']['hidden']['kernel']"] if name in ("zforcing", "dmm") else [])


def test_both_gradient_modes_of_zforcing_compute_the_same_with_a_context_and_all_its_options():
    model = model_of("zforcing", prior_input=True, posterior_input=True)
    params, batch = random_params(model), some_batch()
    noise = random_noise(model, batch)
    modes = [zf_jax.Objective(aux_gradient=mode) for mode in ("target", "backward")]
    both = jax.jit(lambda params: [objective_terms(model, params, batch, noise, mode) for mode in modes])(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *both)
    assert abs(both[0].aux_log_prob).min(where=batch.mask > 0, initial=1) > 0


# What is refused ------------------------------------------------------------------------------------------------------


def test_a_batch_whose_context_does_not_fit_the_model_is_refused():
    model, batch = model_of("rnn"), some_batch()
    check_batch(model, batch)
    with pytest.raises(ValueError, match="context is missing: the model reads 5 numbers beside each element"):
        check_batch(model, batch._replace(context=None))
    with pytest.raises(ValueError, match="context was given, and the model reads none"):
        check_batch(model_of("rnn", PLAIN), batch)
    with pytest.raises(ValueError, match=r"real numbers \[B, T, C\] = \[3, 4, 5\], not float32 \[3, 4, 2\]"):
        check_batch(model, batch._replace(context=batch.context[..., :2]))
    wrong = batch.context.copy()
    wrong[0, 1, 2] = np.nan
    for arrays in (np.asarray, jnp.asarray):
        with pytest.raises(ValueError, match=r"context\[0, 1, 2\] is nan: a context is of finite numbers"):
            check_batch(model, jax.tree.map(arrays, batch._replace(context=wrong)))


GIVEN = {"observation": Observation("frames", 2, context=1, labels=2), "context": np.zeros((1, 3, 1)), "labels": [1]}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (dict(context=None), "context must be given: the observation has context=1"),
        (dict(labels=None), "labels must be given: the observation has labels=2"),
        (dict(observation=PLAIN), "context must not be given"),
        (dict(observation=None), "context and labels need an Observation"),
        (dict(context=np.zeros((1, 2, 1))), r"context\[0\] is float64 \[2, 1\], and must be real numbers \[3, 1\]"),
        (dict(context=np.full((1, 3, 1), np.inf)), r"context\[0\]\[0, 0\] is inf"),
        (dict(context=[np.zeros((3, 1))] * 2), "context must hold one entry a sequence, 1, not 2"),
        (dict(labels=[2]), r"labels\[0\] is 2: a label lies in 0 .. 1"),
        (dict(labels=[-1]), r"labels\[0\] is -1: a label is at least 0"),
        (dict(labels=[0.5]), "labels must be integers, one a sequence, not float64"),
        (dict(labels=[0, 1]), "labels must hold one entry a sequence, 1, not 2"),
    ],
)
def test_a_context_or_label_that_does_not_fit_is_refused_by_name(changes, match):
    with pytest.raises(ValueError, match=match):
        zf_jax.batch_of(np.zeros((1, 3, 2)), **GIVEN | changes)


def test_a_batch_holds_the_context_of_its_targets_and_the_label_at_every_step():
    rows, given = [np.ones((3, 2)), np.ones((2, 2))], [np.arange(3.0)[:, None], np.arange(5.0, 7.0)[:, None]]
    arguments = {"observation": GIVEN["observation"], "context": given, "labels": [1, 0]}
    full = zf_jax.batch_of(rows, **arguments)
    np.testing.assert_array_equal(full.context[0], [[0, 0, 1], [1, 0, 1], [2, 0, 1]])
    np.testing.assert_array_equal(full.context[1], [[5, 1, 0], [6, 1, 0], [0, 0, 0]])
    given_first = zf_jax.batch_of(rows, protocol="srnn", **arguments)
    np.testing.assert_array_equal(given_first.context, full.context[:, 1:])
    alone = zf_jax.context_of(Observation("frames", 2, labels=2), labels=[1], num_steps=2)
    np.testing.assert_array_equal(alone, [[[0, 1], [0, 1]]])


def test_a_model_that_knows_no_context_is_refused_as_it_is_built():
    with pytest.raises(ValueError, match="Markov reads no context: give its methods inputs and observe an argument"):
        new_model.Markov(Observation("frames", 2, context=1), emission="gaussian")
