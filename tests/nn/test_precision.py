"""Products in bfloat16: all of them, and nothing else, with the loss and the gradient of single precision nearly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.models_under_test import random_batch, random_params, small

import zf_jax
from zf_jax.nn import chunked_softmax
from zf_jax.nn.precision import computed_in, matmul
from zf_jax.objective.gradient import Gradient

WEIGHTS = zf_jax.Weights(kl_temperature=0.7, aux_weight=0.3, reverse_weight=0.2)


def gradient(name, kind, dtype):
    model = small(name, kind)
    batch = random_batch(model.observation, lengths=(4, 2, 4, 1, 3, 4, 4), num_steps=4)

    def of(params):
        key = jax.random.key(0)
        return Gradient(model, batch, key, WEIGHTS, zf_jax.Objective(), compute_dtype=dtype).value_and_gradient(params)

    return of, random_params(model)


def equations(jaxpr):
    """All equations, those of inner programs too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in jax.tree.leaves(eqn.params, is_leaf=lambda v: hasattr(v, "jaxpr") or hasattr(v, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


CASES = [("zforcing", "words"), ("srnn", "frames"), ("rnn", "binary"), ("vrnn", "frames")]


@pytest.mark.parametrize("name, kind", CASES)
def test_every_product_is_of_bfloat16_and_its_sum_of_float32(name, kind):
    of, params = gradient(name, kind, "bfloat16")
    found = list(equations(jax.make_jaxpr(of)(params).jaxpr))
    products = [eqn for eqn in found if eqn.primitive.name == "dot_general"]
    assert len(products) > 4
    # Of rows or of rows and steps, 7 or 28: W_z times the gates' kernel, of parameters alone, has a mixed gradient.
    of_data = [eqn for eqn in products if {7, 28} & {n for v in eqn.invars for n in v.aval.shape}]
    assert {v.aval.dtype.name for eqn in of_data for v in eqn.invars} == {"bfloat16"}
    scans = [eqn for eqn in found if eqn.primitive.name == "scan"]
    carries = {v.aval.dtype for eqn in scans for v in eqn.outvars[: eqn.params["num_carry"]]}
    assert jnp.bfloat16 not in carries, "states are carried in single precision"
    narrow = {eqn.primitive.name for eqn in found if any(v.aval.dtype == jnp.bfloat16 for v in eqn.outvars)}
    assert narrow <= {"convert_element_type", "transpose", "reshape", "broadcast_in_dim", "slice", "dot_general", "jit"}


def test_the_loss_and_the_gradient_are_nearly_those_of_single_precision():
    of, params = gradient("storn", "words", "bfloat16")
    (loss, metrics), narrow = jax.jit(of)(params)
    (expected, _), wide = jax.jit(gradient("storn", "words", "float32")[0])(params)
    assert loss != expected
    np.testing.assert_allclose(loss, expected, rtol=2e-2)
    assert {leaf.dtype.name for leaf in jax.tree.leaves((loss, metrics, narrow))} == {"float32"}
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (narrow, wide))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.999


def test_a_product_is_that_of_the_rounded_operands():
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((3, 40), (40, 2)))
    with computed_in("bfloat16"):
        found = matmul(x, y)
    rounded = [np.asarray(a.astype(jnp.bfloat16), np.float64) for a in (x, y)]
    np.testing.assert_allclose(found, rounded[0] @ rounded[1], rtol=1e-5, atol=1e-5)
    assert np.abs(found - x @ y).max() > 1e-3
    np.testing.assert_array_equal(matmul(x, y), x @ y)


def test_another_type_is_refused():
    with pytest.raises(ValueError, match="float32, bfloat16, not 'float16'"):
        zf_jax.FitSettings(compute_dtype="float16")
    with pytest.raises(ValueError, match="compute_dtype must be"), computed_in("half"):
        pass


def test_chunks_of_the_softmax_change_nothing_in_either_direction(monkeypatch):
    rng = np.random.default_rng(0)
    layer = {"kernel": jnp.asarray(rng.normal(size=(6, 5)), jnp.float32), "bias": jnp.zeros(5)}
    rows, words = jnp.asarray(rng.normal(size=(8, 6)), jnp.float32), jnp.arange(8) % 5

    def found():
        with computed_in("bfloat16"):
            total = lambda p: chunked_softmax.categorical_log_prob(p, rows, words).sum()  # noqa: E731
            return jax.jit(jax.value_and_grad(total))(layer)

    whole = found()
    monkeypatch.setattr(chunked_softmax, "KEPT", 1)
    monkeypatch.setattr(chunked_softmax, "CHUNK", 1)
    # Gradients of chunks are rounded as products of one row each, added in float32.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found(), whole)
