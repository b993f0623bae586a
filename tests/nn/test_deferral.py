"""What the scan defers, what it leaves as it is, and what it refuses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.models_under_test import CASES, KINDS, random_batch, random_noise, random_params, small

from zf_jax.models.base import Features
from zf_jax.nn import deferred_scan

pytestmark = pytest.mark.x64

T, B, H = 3, 2, 3


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_kernel_that_a_model_reads_in_its_step_is_deferred(name, kind):
    model = small(name, kind)
    params, batch = random_params(model), random_batch(KINDS[kind][0])
    features = jax.device_get(jax.jit(model.encode)(params, batch))
    sequential = Features(None, features.inputs, features.posterior, None)
    x = jax.tree.map(lambda a: a[:, 0], jax.device_get((sequential, random_noise(model, batch))))

    def step(carry, x):
        return model.step(params, carry, *x)

    found = deferred_scan.explain(step, model.initial_carry(params, batch.mask), x)
    assert found.kernels
    assert all(len(shape) < 2 or min(shape) == 1 for shape in found.direct)  # vectors that were broadcast to rows


KERNEL, BIAS, SCALE = (np.random.default_rng(i).normal(size=s) for i, s in enumerate([(H, H), (H,), (H,)]))
STEPS = {
    "recognised": lambda w, b, h, x: jnp.tanh(x + h @ w + b),
    "transposed": lambda w, b, h, x: jnp.tanh(x + jnp.einsum("bj,ij->bi", h, w) + b),
    "in a jitted helper": lambda w, b, h, x: jnp.tanh(x + jax.jit(lambda h: h @ w)(h) + b),
    "in a cond": lambda w, b, h, x: jnp.tanh(x + jax.lax.cond(h[0, 0] > 0, lambda: h @ w, lambda: h) + b),
    "bias subtracted": lambda w, b, h, x: jnp.tanh(x + h @ w - b),
    "matrix on the left": lambda w, b, h, x: jnp.tanh(x + jax.vmap(lambda r: w @ r)(h) + b),
}


@pytest.mark.parametrize("form", STEPS)
def test_a_product_written_otherwise_has_the_gradient_of_the_plain_scan(form):
    x = np.random.default_rng(3).normal(size=(T, B, H))

    def value(scan, w, b):
        last, states = scan(lambda h, x: (STEPS[form](w, b, h, x),) * 2, jnp.ones((B, H)), x)
        return jnp.sum(jnp.sin(states)) + jnp.sum(last**2)

    ours, expected = (
        jax.jit(jax.grad(lambda w, b, scan=scan: value(scan, w, b), (0, 1)))(jnp.asarray(KERNEL), jnp.asarray(BIAS))
        for scan in (deferred_scan.scan, jax.lax.scan)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), ours, expected)


def test_explain_lists_each_class_once():
    kernel, bias, scale = (jnp.asarray(a) for a in (KERNEL, BIAS, SCALE))
    state = jnp.zeros((B, H))
    found = deferred_scan.explain(lambda h, x: (jnp.tanh(x + h @ kernel + bias) * scale, None), state, state)
    assert found == deferred_scan.Deferral(kernels=((H, H),), biases=((1, H),), inputs=((B, H),), direct=((1, H),))
    transposed = deferred_scan.explain(lambda h, x: (jnp.einsum("bj,ij->bi", h, kernel) + x, None), state, state)
    assert not transposed.kernels


@pytest.mark.parametrize(
    ("step", "match"),
    [
        (lambda c, x: ((c + x, c), None), "structure"),
        (lambda c, x: (c.astype(jnp.float32), None), "float32"),
        (lambda c, x: (c[:1], None), r"\[1\]"),
    ],
)
def test_a_carry_that_changes_is_refused_as_the_plain_scan_refuses_it(step, match):
    carry, xs = jnp.zeros(2), jnp.zeros((T, 2))
    with pytest.raises(TypeError):
        jax.lax.scan(step, carry, xs)
    with pytest.raises(TypeError, match=match):
        deferred_scan.scan(step, carry, xs)
