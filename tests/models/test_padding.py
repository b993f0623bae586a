"""Padding, order and company: what lies behind the mask, and which rows share a batch, changes nothing."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import CASES, KINDS, NAMES, random_batch, random_noise, random_params, small, take, wrap

import zf_jax
from zf_jax import bounds
from zf_jax.models.base import observed
from zf_jax.objective.loss import loss_and_metrics, trainable
from zf_jax.objective.settings import Objective, Weights
from zf_jax.typing import Batch, clean

pytestmark = pytest.mark.x64

LENGTHS = (5, 2, 0, 6, 1)
NUM_STEPS = 6
WEIGHTS = Weights(kl_temperature=0.6, aux_weight=0.7, reverse_weight=0.3)
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def spoiled(batch):
    """The same batch with garbage behind the mask: NaN in frames, tokens that do not exist, and a mask to match."""
    real = np.asarray(batch.mask) > 0

    def spoil(x, garbage):
        x = np.asarray(x)
        return jnp.asarray(np.where(real.reshape(real.shape + (1,) * (x.ndim - 2)), x, np.asarray(garbage, x.dtype)))

    garbage = 2_000_000 if np.issubdtype(batch.inputs.dtype, np.integer) else np.nan
    return batch._replace(
        inputs=spoil(batch.inputs, garbage),
        targets=spoil(batch.targets, garbage),
        input_mask=spoil(batch.input_mask, 1.0),
    )


def widened(batch, extra):
    """The same sequences in a longer bucket."""
    return Batch(*(np.pad(x, [(0, 0), (0, extra)] + [(0, 0)] * (x.ndim - 2)) for x in batch[:4]), lengths=batch.lengths)


@functools.cache
def problem(name, kind):
    """A model, parameters, a ragged batch, noise for a wider one, and what every sequence is judged by."""
    model = small(name, kind)

    def loss(params, batch, noise, mode):
        return loss_and_metrics(model, params, batch, None, WEIGHTS, Objective(aux_gradient=mode), noise=noise[0])

    @jax.jit
    def measures(params, batch, noise):
        """The bound of each row, and the loss, its metrics and its gradient: means over the real rows."""
        # Where the auxiliary gradient stops makes a difference in Z-Forcing alone: one kind of data will do.
        modes = ("target", "backward") if (name, kind) == ("zforcing", "binary") else ("target",)
        means = {mode: jax.value_and_grad(loss, has_aux=True)(params, batch, noise, mode) for mode in modes}
        return bounds.iwae(model, params, batch, noise=noise), means

    batch = jax.device_get(random_batch(KINDS[kind][0], LENGTHS, NUM_STEPS))  # cut by numpy, which compiles nothing
    noise = random_noise(model, widened(batch, 3), num_samples=2)
    return random_params(model), batch, jax.device_get(noise), measures


def assert_close(actual, desired):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **CLOSE), actual, desired)


@pytest.mark.parametrize("name, kind", few(CASES, ("zforcing", "binary"), ("zforcing", "frames"), ("srnn", "frames")))
def test_garbage_behind_the_mask_reaches_nothing(name, kind):
    params, batch, noise, measures = problem(name, kind)
    bad = spoiled(batch)
    assert not np.array_equal(batch.inputs, bad.inputs, equal_nan=True)
    result = measures(params, batch, noise[:, :, :NUM_STEPS])
    jax.tree.map(np.testing.assert_array_equal, measures(params, bad, noise[:, :, :NUM_STEPS]), result)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result))


SETTINGS = {
    "free bits and balance": ("frames", Objective(free_nats=1.0, kl_balance=0.8)),
    "doubly reparametrised": ("frames", Objective(bound="iwae", num_samples=2, doubly_reparametrised=True)),
    "words": ("words", Objective(word_dropout=0.4, unknown_word=1, bag_of_words_weight=0.5)),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", few(["zforcing", "srnn"], "zforcing"))
def test_garbage_behind_the_mask_reaches_no_setting_of_the_objective(name, setting):
    kind, settings = SETTINGS[setting]
    model = trainable(small(name, kind), settings)

    @jax.jit
    def measures(params, batch, noise):
        def loss(params):
            return loss_and_metrics(model, params, batch, jax.random.key(0), WEIGHTS, settings, noise=noise)

        return jax.value_and_grad(loss, has_aux=True)(params)

    params, batch = random_params(model), random_batch(KINDS[kind][0], LENGTHS, NUM_STEPS)
    noise = random_noise(model, batch, num_samples=settings.num_samples)
    result = measures(params, batch, noise)
    bad_noise = jnp.where(batch.mask[..., None] > 0, noise, jnp.nan)
    jax.tree.map(np.testing.assert_array_equal, measures(params, spoiled(batch), bad_noise), result)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result))


@pytest.mark.parametrize("name, kind", few(CASES, ("zforcing", "frames"), ("srnn", "frames")))
def test_order_company_and_bucket_do_not_matter(name, kind):
    params, batch, noise, measures = problem(name, kind)
    values, means = jax.device_get(measures(params, batch, noise[:, :, :NUM_STEPS]))
    assert np.all(values[np.array(LENGTHS) == 0] == 0.0), "an empty row adds nothing"

    order = np.array([3, 0, 4, 2, 1])
    shuffled_values, shuffled_means = measures(params, take(batch, order), noise[:, order, :NUM_STEPS])
    assert_close(shuffled_values, values[order])
    assert_close(shuffled_means, means)

    # Each sequence alone, in a longer bucket than the one it shared.
    alone = [
        jax.device_get(measures(params, widened(take(batch, slice(row, row + 1)), 3), noise[:, row : row + 1]))
        for row in range(len(LENGTHS))
    ]
    assert_close(np.concatenate([one[0] for one in alone]), values)
    real = [one[1] for one, length in zip(alone, LENGTHS, strict=True) if length > 0]
    assert_close(jax.tree.map(lambda *xs: sum(xs) / len(xs), *real), means)


def moved_by_a_wider_bucket(name, kind, encode):
    """How far three steps of padding move the ELBO of each row under a broken ``encode(model, params, batch)``."""
    model = small(name, kind)
    mutant = wrap(model, encode=functools.partial(encode, model))
    batch, params = random_batch(KINDS[kind][0], LENGTHS, NUM_STEPS), random_params(model)
    elbo = jax.jit(functools.partial(bounds.elbo, mutant))
    wide = widened(batch, 3)
    noise = random_noise(model, wide)
    return np.abs(elbo(params, wide, noise=noise) - elbo(params, batch, noise=noise[:, :NUM_STEPS]))


@pytest.mark.parametrize("name", few(["zforcing", "srnn"], "srnn"))
def test_a_backward_recurrence_over_the_padding_is_found(name):
    def careless(model, params, batch):
        batch = clean(batch)
        return model.encode(params, batch._replace(mask=jnp.ones_like(batch.mask)))._replace(observed=observed(batch))

    assert moved_by_a_wider_bucket(name, "frames", careless)[np.array(LENGTHS) > 0].max() > 1e-4


@pytest.mark.parametrize("name", few(NAMES, "zforcing"))
def test_scoring_the_padding_is_found(name):
    def careless(model, params, batch):
        return model.encode(params, clean(batch)._replace(mask=jnp.ones_like(batch.mask)))

    assert moved_by_a_wider_bucket(name, "frames", careless).min() > 1e-2


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"targets": np.zeros((2, 1, 3)), "protocol": "srnn"}, "use 'full'"),
        ({"targets": [np.zeros((1, 3)), np.zeros((0, 3))], "protocol": "srnn"}, "use 'full'"),
        ({"targets": np.zeros((2, 4, 3)), "lengths": [1, 1], "protocol": "srnn"}, "use 'full'"),
        ({"targets": [np.zeros((0, 3))] * 2}, "leave empty sequences out"),
        ({"targets": [[], []]}, "leave empty sequences out"),
    ],
)
def test_sequences_without_a_step_to_score_make_no_batch(arguments, remedy):
    with pytest.raises(ValueError, match=remedy):
        zf_jax.batch_of(**arguments)
    some = zf_jax.batch_of([np.zeros((2, 3)), np.zeros((1, 3))], protocol="srnn")
    assert some.lengths.tolist() == [1, 0], "beside others, a sequence may have none"
