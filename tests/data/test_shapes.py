"""Wrong shapes are refused where they enter, in a sentence that names the argument, under ``jit`` and outside."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import pytest
from helpers.models_under_test import KINDS, random_batch, random_params, small

import zf_jax
from zf_jax import generation

FRAMES, WORDS = KINDS["frames"][0], KINDS["words"][0]
KEY = jax.random.key(0)


@functools.cache
def case(kind="frames"):
    model = small("storn", kind)
    return model, random_params(model), random_batch(KINDS[kind][0], (4, 2), 4)


def without(tree, *path):
    """``tree`` without the leaf at ``path``."""
    name, *rest = path
    return {k: without(v, *rest) if k == name and rest else v for k, v in tree.items() if rest or k != name}


class ArgumentsTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_parameters_of_another_model(self):
        model, params, batch = case()
        other, sample = random_params(small("storn", "frames", rnn_dim=7)), functools.partial(zf_jax.sample, model)
        missing = without(params, "forward", "recurrent", "kernel")
        shape = r"params\['\w+'\].* must have the shape .*: params must come from init of the same model"
        for wrong, words in (
            (other, shape),
            (missing, r"params have no params\['forward'\]\['recurrent'\]\['kernel'\]"),
        ):
            with pytest.raises(ValueError, match=words):
                self.variant(functools.partial(zf_jax.elbo, model))(wrong, batch, KEY)
            with pytest.raises(ValueError, match=words):
                self.variant(functools.partial(sample, num_samples=2, length=3))(wrong, KEY)

    @chex.variants(with_jit=True, without_jit=True)
    def test_noise_and_keys(self):
        model, params, batch = case()
        keys = jax.random.split(KEY, 3)
        with pytest.raises(ValueError, match=r"one PRNG key or one a sequence, \[B\] = \[2\], not \[3\]"):
            self.variant(functools.partial(zf_jax.elbo, model))(params, batch, keys)
        with pytest.raises(ValueError, match=r"noise must have the shape \[K, B, T, Z\] = \[any, 2, 4, 3\]"):
            self.variant(functools.partial(zf_jax.iwae, model))(params, batch, noise=jnp.zeros((2, 4, 3)))
        noise = jnp.zeros((5, 2, 4, 3)), jnp.zeros((4, 2))
        with pytest.raises(ValueError, match=r"noise\[1\] must have the shape \[B, T\] = \[2, 4\], not \[4, 2\]"):
            self.variant(functools.partial(zf_jax.particle_bound, model))(params, batch, noise=noise)
        draw = functools.partial(zf_jax.sample, model, num_samples=2, length=3)
        noise = jnp.zeros((2, 3, 3)), jnp.zeros((3, 2, 2))
        with pytest.raises(ValueError, match=r"noise\[1\] must have the shape \[B, T, ...\]"):
            self.variant(draw)(params, noise=noise)
        with pytest.raises(ValueError, match=r"first must have the shape \[B, D\] = \[2, 2\], not \[2\]"):
            self.variant(draw)(params, KEY, first=jnp.zeros(2))
        with pytest.raises(ValueError, match=r"ends.mask must have the shape \[2, T\]"):
            self.variant(functools.partial(generation.interpolate, model))(
                params, random_batch(FRAMES, (4, 4, 4), 4), jnp.zeros(2)
            )
