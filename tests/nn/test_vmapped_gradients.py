"""Gradients of and under ``vmap`` of the deferred scan, and of the chunked softmax, whatever is batched."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few

from zf_jax.nn import chunked_softmax, deferred_scan

T, B, D, K = 3, 2, 2, 3
CLOSE = {"rtol": 1e-12, "atol": 1e-12}
SHAPES = {"kernel": (D, D), "bias": (D,), "scale": (D,), "carry": (B, D), "added": (T, B, D), "read": (T, B, D)}


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def draw(shapes, batched=(), size=K):
    """Random arrays, a leading axis on those of ``batched``, and the ``in_axes`` of that."""
    rng = np.random.default_rng(0)
    values = {n: jnp.asarray(rng.normal(size=((size,) if n in batched else ()) + s)) for n, s in shapes.items()}
    return values, {n: 0 if n in batched else None for n in shapes}


def scanned(scan, v):
    """A step with every class of variable; of its outputs some depend on all inputs, some on one alone."""

    def step(carry, x):
        product = carry["state"] @ v["kernel"]
        state = jnp.tanh(product + x["added"] + v["bias"]) * v["scale"]
        own = carry["own"] * jnp.cos(x["read"])  # reads neither parameters nor the other carry
        outputs = state * x["read"], product, x["read"] ** 2, jnp.sin(x["read"] @ (v["kernel"] * 2.0)), own
        return {"state": state, "own": own}, outputs

    xs = {"added": v["added"], "read": v["read"]}
    return scan(step, {"state": v["carry"], "own": jnp.ones((B, D))}, xs)


def scan_value(scan, v):
    return sum(jnp.sum(jnp.sin((1.0 + i) * leaf)) for i, leaf in enumerate(jax.tree.leaves(scanned(scan, v))))


def assert_close(ours, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **CLOSE), ours, expected)


def grad_of_vmap(value, axes):
    return jax.grad(lambda v: jnp.sum(jnp.cos(jax.vmap(value, (axes,))(v))))


def vmap_of_grad(value, axes):
    return jax.vmap(jax.grad(value), (axes,))


def subsets(names):
    """All subsets but the empty one, under both transforms.

    Those between single names and all names are slow, and so are the gradients under ``vmap`` of single names.
    """
    found = [s for n in range(1, len(names) + 1) for s in itertools.combinations(names, n)]
    cases = [(s, transform) for s in found for transform in (grad_of_vmap, vmap_of_grad)]
    quick = [(s, t) for s, t in cases if len(s) == len(names) or (len(s) == 1 and t is grad_of_vmap)]
    return few(cases, *quick)


SCANS = [lambda v, s=s: scan_value(s, v) for s in (deferred_scan.scan, jax.lax.scan)]


@pytest.mark.parametrize("batched, transform", subsets(tuple(SHAPES)))
def test_any_subset_of_inputs_batched(batched, transform):
    v, axes = draw(SHAPES, batched)
    assert_close(*(jax.jit(transform(value, axes))(v) for value in SCANS))


@pytest.mark.slow
def test_nested_vmap_and_without_jit():
    v, outer = draw(SHAPES, ("added",))
    inner = {n: 0 if n == "read" else None for n in SHAPES}
    v["read"] = jnp.stack([v["read"], -v["read"]])

    def loss(value):
        return lambda v: jnp.sum(jnp.cos(jax.vmap(jax.vmap(value, (inner,)), (outer,))(v)))

    assert_close(*(jax.grad(loss(value))(v) for value in SCANS))


def test_a_batched_input_that_no_output_reads():
    v, axes = draw(SHAPES, ("bias", "kernel"))

    def value(scan, v):
        def step(carry, x):
            _ = carry @ v["kernel"] + v["bias"]
            return carry * x, x * v["scale"]

        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(scan(step, v["carry"], v["read"])))

    assert_close(
        *(
            jax.jit(jax.grad(lambda v, s=s: jnp.sum(jax.vmap(lambda v: value(s, v), (axes,))(v))))(v)
            for s in (deferred_scan.scan, jax.lax.scan)
        )
    )


def test_no_tracer_leaks_and_second_derivatives():
    v, _ = draw(SHAPES)

    def twice(value):
        return jax.grad(lambda v: sum(jnp.sum(jnp.sin(d)) for d in jax.tree.leaves(jax.grad(value)(v))))

    with jax.checking_leaks():
        jax.jit(jax.grad(SCANS[0])).trace(v)
    assert_close(*(jax.jit(twice(value))(v) for value in SCANS))


ROWS, WORDS = 4, 5
SOFTMAX = {"kernel": (D, WORDS), "bias": (WORDS,), "rows": (ROWS, D)}


def softmax_value(v):
    x = jnp.arange(ROWS) % WORDS
    return jnp.sum(
        jnp.sin(chunked_softmax.categorical_log_prob({"kernel": v["kernel"], "bias": v["bias"]}, v["rows"], x))
    )


def plain_softmax_value(v):
    logits = jax.nn.log_softmax(v["rows"] @ v["kernel"] + v["bias"])
    return jnp.sum(jnp.sin(logits[jnp.arange(ROWS), jnp.arange(ROWS) % WORDS]))


@pytest.mark.parametrize("kept", [2**24, 1])
@pytest.mark.parametrize("batched, transform", subsets(tuple(SOFTMAX)))
def test_softmax_with_any_subset_of_inputs_batched(batched, transform, kept, monkeypatch):
    monkeypatch.setattr(chunked_softmax, "KEPT", kept)
    v, axes = draw(SOFTMAX, batched)
    assert_close(*(jax.jit(transform(value, axes))(v) for value in (softmax_value, plain_softmax_value)))
