"""Gradients rematerialised in blocks of steps: the same numbers, from less memory."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from helpers.models_under_test import random_batch, random_params, small

import zf_jax
from benchmarks.ceilings import temporary_bytes
from zf_jax.nn.blocks import in_blocks, rematerialised
from zf_jax.objective.gradient import Gradient

WEIGHTS = zf_jax.Weights(kl_temperature=0.7, aux_weight=0.3, reverse_weight=0.2)


def gradient(model, remat, settings):
    batch = random_batch(model.observation, lengths=(7, 2, 0, 5), num_steps=7)

    def of(params):
        key = jax.random.key(0)
        return Gradient(model, batch, key, WEIGHTS, settings, remat=remat).value_and_gradient(params)

    return jax.jit(of), random_params(model)


CASES = [
    pytest.param("zforcing", {"aux_gradient": "backward", "free_nats": 0.1}, marks=pytest.mark.slow),
    ("srnn", {"free_nats": 0.1}),
    pytest.param("srnn", {"bound": "iwae", "num_samples": 2, "doubly_reparametrised": True}, marks=pytest.mark.slow),
    ("rnn", {}),
]


@pytest.mark.x64
@pytest.mark.parametrize("name, options", CASES)
def test_blocks_give_the_loss_the_metrics_and_the_gradient_of_the_whole(name, options):
    model, settings = small(name, "words"), zf_jax.Objective(**options)
    whole, params = gradient(model, 0, settings)
    for block in (3, 7) if name == "rnn" else (3,):  # 3 leaves a rest of one step
        blocks, _ = gradient(model, block, settings)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), blocks(params), whole(params)
        )


def test_a_gradient_in_blocks_needs_less_memory_as_sequences_grow():
    """What the compiler counts, of a cumulative product whose steps keep much."""

    def temporary(block):
        def steps(carry, xs):
            def one(carry, x):
                for _ in range(8):
                    carry = jax.numpy.sin(carry + x)
                return carry, None

            return jax.lax.scan(one, carry, jax.numpy.swapaxes(xs, 0, 1))

        def loss(x):
            with rematerialised(block):
                return in_blocks(steps, x[:, 0], x)[0].sum()

        return temporary_bytes(jax.jit(jax.grad(loss)).lower(np.zeros((2, 400, 8))).compile())

    assert temporary(20) < 0.5 * temporary(0)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("block", [1, 2, 3, 5, 9])
def test_blocks_of_any_size_pass_the_carry_on(block, reverse):
    values = np.arange(10.0).reshape(2, 5)
    order = slice(None, None, -1) if reverse else slice(None)
    expected = np.cumsum(values[:, order], axis=1)

    def steps(carry, xs):
        sums = carry[:, None] + jax.numpy.cumsum(xs[:, order], axis=1)
        return sums[:, -1], sums[:, order]

    with rematerialised(block):
        last, sums = in_blocks(steps, np.zeros(2), values, reverse=reverse)
    np.testing.assert_allclose(sums[:, order], expected)
    np.testing.assert_allclose(last, expected[:, -1])


def test_a_negative_block_is_refused():
    with pytest.raises(ValueError, match="remat must be"):
        gradient(small("rnn", "words"), -1, zf_jax.Objective())[0](random_params(small("rnn", "words")))
