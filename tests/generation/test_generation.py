"""Generation: prefixes are kept, first inputs are honoured, noise decides everything, in either precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from helpers.models_under_test import KINDS, random_batch, random_params, small, targets_batch, x64

from zf_jax import generation
from zf_jax.models import MODELS


def prefix_of(observation, steps=3):
    rng = np.random.default_rng(0)
    if observation.kind == "tokens":
        return targets_batch(observation, rng.integers(0, observation.size, size=(2, steps)))
    return targets_batch(observation, rng.normal(size=(2, steps, observation.size)).astype(np.float32))


@pytest.mark.parametrize("name", few(sorted(MODELS), "zforcing", "rnn"))
def test_a_float32_prefix_goes_on_in_double_precision(name):
    observation = KINDS["frames"][0]
    prefix = prefix_of(observation)
    with x64():
        model = small(name, "frames")
        params = random_params(model)
        frames = np.asarray(prefix.targets, np.float32)
        found = generation.continue_prefix(
            model, params, prefix._replace(targets=jnp.asarray(frames)), jax.random.key(1), length=2
        )
        assert found.values.shape == (2, 5, observation.size)
        np.testing.assert_array_equal(found.values[:, :3], frames)


@pytest.mark.parametrize("name", ["vrnn", "zforcing"])
def test_a_given_first_input_is_read_and_a_start_frame_is_not_data(name):
    model = small(name, "frames")
    params = random_params(model)  # with biases, so that even a frame of zeros moves a state that reads it
    key = jax.random.key(1)
    size = model.observation.size

    def drawn(first):
        return np.asarray(generation.sample(model, params, key, num_samples=2, length=3, first=first).values)

    assert not np.allclose(drawn(None), drawn(jnp.ones((2, size))))
    if name == "vrnn":  # its state skips a start frame, and does not skip a frame of zeros that is data
        assert not np.allclose(drawn(None), drawn(jnp.zeros((2, size))))


def test_the_same_noise_draws_the_same_sequence_whatever_the_key():
    model = small("storn", "words")
    params = random_params(model)
    latents = jax.random.normal(jax.random.key(1), (2, 4, model.latent_dim))
    noise = (latents, model.emission.noise(jax.random.key(2), (2, 4)))
    first, second = (
        generation.sample(model, params, key, num_samples=2, length=4, noise=noise) for key in (None, jax.random.key(9))
    )
    np.testing.assert_array_equal(first.values, second.values)
    with pytest.raises(ValueError, match="at least one sequence"):
        generation.sample(model, params, jax.random.key(0), num_samples=0, length=4)


@pytest.mark.parametrize("name", few(sorted(set(MODELS) - {"rnn"}), "zforcing", "vrnn"))
def test_the_ends_of_a_line_have_the_latents_of_their_sequences_and_the_middle_their_mean(name):
    model = small(name, "frames")
    params = random_params(model)
    ends = random_batch(model.observation, lengths=(6, 4))
    found = generation.interpolate(model, params, ends, [0.0, 0.5, 1.0])
    latents = generation.reconstruct(model, params, ends, noise=jnp.zeros((2, 6, model.latent_dim))).latents
    np.testing.assert_allclose(found.latents[0], latents[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.latents[2, :4], latents[1, :4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.latents[1, :4], (latents[0] + latents[1])[:4] / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.values, found.mean)  # greedy: of reals, the mean
    assert np.abs(found.latents[2, 4:] - latents[1, 4:]).max() > 1e-3  # behind its end: the prior's mean


def test_a_line_is_decoded_greedily_or_by_sampling():
    model = small("zforcing", "words")
    params, ends = random_params(model), random_batch(model.observation, lengths=(6, 5))
    greedy = generation.interpolate(model, params, ends, [0.0, 1.0])
    np.testing.assert_array_equal(greedy.values, np.argmax(greedy.mean, axis=-1))
    drawn = generation.interpolate(model, params, ends, [0.0] * 40, jax.random.key(0))
    assert len({row.tobytes() for row in np.asarray(drawn.values)}) > 1
    with pytest.raises(ValueError, match="typed PRNG key"):
        generation.interpolate(model, params, ends, [0.0], jax.random.PRNGKey(0))
