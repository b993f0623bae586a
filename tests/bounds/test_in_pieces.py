"""Long sequences in pieces: the values of the whole, for every model, from memory that does not grow with them."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import (
    LATENT_NAMES,
    NAMES,
    SIZES,
    random_batch,
    random_noise,
    random_params,
    small,
    wrap,
)

import zf_jax
from benchmarks.ceilings import temporary_bytes
from zf_jax import bounds
from zf_jax.bounds.noise import draw_noise, draw_noise_of
from zf_jax.densities.stepwise import of
from zf_jax.models import pieces
from zf_jax.models.pieces import Steps
from zf_jax.models.vrnn import VRNN
from zf_jax.typing import Observation

LENGTHS, T, PIECE = (11, 6, 4, 0), 11, 4  # rows end within a piece, at its end, and before it
KEYS = jax.random.split(jax.random.key(1), len(LENGTHS))


def both(monkeypatch, function, *arguments):
    """What a function of jax arrays returns of whole sequences, and of sequences in pieces."""
    found = [jax.jit(function)(*arguments)]
    monkeypatch.setattr(pieces, "LONGEST", PIECE)
    monkeypatch.setattr(pieces, "PIECE", PIECE)
    found.append(jax.jit(lambda *args: function(*args))(*arguments))
    return found


def assert_same(found):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), *found)


def missing_frames(observation):
    """A batch of which whole frames and single dimensions are missing."""
    batch = random_batch(observation, LENGTHS, T)
    gone = np.random.default_rng(3).random(batch.targets.shape) < 0.3
    gone[:, 5] = True
    targets = jnp.where(gone, jnp.nan, batch.targets)
    return batch._replace(targets=targets, inputs=batch.inputs.at[:, 1:].set(targets[:, :-1]))


@pytest.mark.x64
@pytest.mark.parametrize("name", few(NAMES, "zforcing", "vrnn", "srnn"))
def test_the_terms_of_every_model_are_those_of_the_whole(name, monkeypatch):
    model = small(name, "frames")
    batch = random_batch(model.observation, LENGTHS, T)
    found = both(
        monkeypatch,
        lambda params, noise: bounds.step_terms(model, params, batch, noise=noise),
        random_params(model),
        random_noise(model, batch),
    )
    assert len(pieces.starts_of(T, model)) == 3
    assert_same(found)


@pytest.mark.x64
@pytest.mark.parametrize("name", few(LATENT_NAMES, "zforcing"))
def test_bounds_of_drawn_samples_are_those_of_the_whole_where_frames_are_missing(name, monkeypatch):
    model = zf_jax.build_model(name, Observation("frames", 2, missing=True), emission="gaussian", **SIZES)
    batch = missing_frames(model.observation)

    def figures(params):
        weights = bounds.iwae_log_weights(model, params, batch, KEYS, num_samples=3, chunk_size=2)
        return of(model, quantisation_step=0.5).elbo(params, batch, KEYS), weights

    assert_same(both(monkeypatch, figures, random_params(model, spread=0.2)))


@pytest.mark.parametrize("steps", [PIECE, T - 1, T + 3])
def test_noise_of_another_length_is_refused_in_pieces_too(steps, monkeypatch):
    """A piece cuts its steps out of noise of any length, and repeats noise of the length of a piece."""
    model = small("storn", "frames")
    params, batch = random_params(model), random_batch(model.observation, LENGTHS, T)
    noise = jnp.zeros((len(LENGTHS), steps, model.latent_dim))
    monkeypatch.setattr(pieces, "LONGEST", PIECE)
    monkeypatch.setattr(pieces, "PIECE", PIECE)
    for function in (bounds.elbo, bounds.step_terms):
        with pytest.raises(ValueError, match=rf"noise must have the shape \[B, T, Z\] = \[4, {T}, 3\]"):
            jax.jit(lambda noise, of=function: of(model, params, batch, noise=noise))(noise)


@pytest.mark.x64
@pytest.mark.slow
@pytest.mark.parametrize("name", ["srnn", "zforcing"])
def test_gradients_are_those_of_the_whole(name, monkeypatch):
    model = small(name, "frames")
    batch = random_batch(model.observation, LENGTHS, T)
    noise = random_noise(model, batch, num_samples=2)

    def gradient(params):
        return jax.grad(lambda p: jnp.sum(bounds.iwae(model, p, batch, noise=noise, chunk_size=1)))(params)

    found = both(monkeypatch, gradient, random_params(model))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10), *found)


@pytest.mark.parametrize("key", [KEYS, KEYS[0], jax.random.key(0, impl="rbg")], ids=["rows", "one", "rbg"])
def test_noise_of_a_piece_is_that_of_its_steps(key):
    batch, starts = random_batch(Observation("frames", 2), LENGTHS, T), np.arange(0, T, PIECE)
    whole = draw_noise(key, batch, 3)
    for piece, start in enumerate(starts):
        steps = Steps(starts, piece, min(PIECE, T - int(start)))
        np.testing.assert_array_equal(draw_noise_of(key, batch, 3, steps), whole[:, start : start + steps.length])


def test_noise_far_from_the_start_is_counted_in_two_words():
    """Of one key, 2**31 steps of four numbers come before the second row's: more than a word of 32 bits counts."""
    length, key = 2**31, jax.random.key(4)
    batch = random_batch(Observation("frames", 2), LENGTHS, T)
    batch = batch._replace(mask=np.broadcast_to(np.float32(1), (2, length)))
    starts = np.array([0, length // 2 - 1, length // 2])

    def numbers(piece, count):
        return np.asarray(draw_noise_of(key, batch, 4, Steps(starts, piece, count)))

    # Two steps over the border of the words are the one before and the one behind it.
    np.testing.assert_array_equal(numbers(1, 2)[:, 1], numbers(2, 1)[:, 0])
    drawn = np.concatenate([numbers(0, 1), numbers(1, 2)], axis=1)
    assert len(np.unique(drawn)) == drawn.size


class Reads(VRNN):
    """Reads the whole sequence where VRNN reads one step."""

    def posterior(self, params, batch):
        return jnp.cumsum(super().posterior(params, batch), axis=1)


def test_a_model_that_may_read_other_steps_stays_whole(monkeypatch):
    monkeypatch.setattr(pieces, "LONGEST", 4)
    plain = small("vrnn", "frames")
    fields = {field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)}
    for model in (Reads(**fields), wrap(plain, encode=lambda params, batch: None)):
        assert not pieces.can_be_cut(model) and len(pieces.starts_of(T, model)) == 1
    for model in (plain, small("vrnn_i", "frames"), wrap(plain, init=lambda key: None)):
        assert pieces.can_be_cut(model)


@pytest.mark.parametrize("name", few(LATENT_NAMES, "zforcing"))
def test_memory_does_not_grow_with_the_steps(name, monkeypatch):
    monkeypatch.setattr(pieces, "LONGEST", 8)
    monkeypatch.setattr(pieces, "PIECE", 8)
    model = small(name, "frames")

    def needed(num_steps):
        batch = jax.eval_shape(lambda: random_batch(model.observation, (num_steps,), num_steps))
        run = jax.jit(lambda *args: of(model).elbo(*args))
        return temporary_bytes(run.lower(jax.eval_shape(model.init, KEYS[0]), batch, KEYS[:1]).compile())

    few_steps, many = needed(80), needed(800)
    assert many - few_steps < 720 * 8 * 4  # eight numbers a step: a state alone is of five, and encode has twenty
