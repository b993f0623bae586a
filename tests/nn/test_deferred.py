"""The deferred scan, and the chunked softmax, against plain autodiff of the same function."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from jax.sharding import AxisType, Mesh, PartitionSpec

from zf_jax.models import build_model
from zf_jax.nn import chunked_softmax, deferred_scan
from zf_jax.objective.loss import loss_and_metrics
from zf_jax.typing import Batch, Observation

T, B, D, H = 5, 3, 2, 4
CLOSE = {"rtol": 1e-11, "atol": 1e-12}


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"kernel": (H, 2 * H), "input": (D, 2 * H), "bias": (2 * H,), "back": (2 * H, H), "scale": (H,)}
    return {name: jnp.asarray(rng.normal(size=shape)) * 0.4 for name, shape in shapes.items()}


def data(seed=1):
    rng = np.random.default_rng(seed)
    return {"seen": jnp.asarray(rng.normal(size=(T, B, D))), "added": jnp.asarray(rng.normal(size=(T, B, 2 * H)))}


# Each step is one thing that the room must tell apart.
def plain(p, carry, x):
    new = jnp.tanh((x["added"] + carry @ p["kernel"] + x["seen"] @ p["input"] + p["bias"]) @ p["back"])
    return new, {"new": new, "old": carry, "input": x["seen"]}


def kernel_computed_from_kernels(p, carry, x):
    new = jnp.tanh(carry @ (p["kernel"] @ p["back"]) + p["scale"] * (x["seen"] @ p["input"][:, :H]))
    return new, new


def kernel_used_twice_and_elementwise(p, carry, x):
    hidden = jnp.sin(carry @ p["kernel"]) @ p["back"]
    return jnp.cos(hidden @ p["kernel"][:, :H] + jnp.sum(p["back"])) * p["scale"], x["added"] @ p["back"]


def product_that_is_an_output(p, carry, x):
    product = carry @ p["kernel"]
    return jnp.tanh(product + x["added"]) @ p["back"], (product, product + 1.0)


def state_added_to_a_product(p, carry, x):
    return jnp.tanh(x["seen"] @ p["input"][:, :H] + carry + p["scale"]), jnp.zeros(())


def input_both_added_and_read(p, carry, x):
    return jnp.tanh((carry @ p["kernel"] + x["added"]) * x["added"]) @ p["back"], None


def nothing_to_defer(p, carry, x):
    return carry * p["scale"] + jnp.mean(x["seen"]), carry


STEPS = [
    plain,
    kernel_computed_from_kernels,
    kernel_used_twice_and_elementwise,
    product_that_is_an_output,
    state_added_to_a_product,
    input_both_added_and_read,
    nothing_to_defer,
]


def value(scan, step, reverse=False):
    def function(p, carry, xs):
        last, ys = scan(lambda c, x: step(p, c, x), carry, xs, reverse=reverse)
        return sum(jnp.sum(jnp.sin((1.0 + n) * leaf)) for n, leaf in enumerate(jax.tree.leaves((last, ys))))

    return function


def of_both(function, *arguments):
    """What ``function(scan)`` finds with the deferred scan, and with the plain one, in one compiled program."""
    scans = deferred_scan.scan, jax.lax.scan
    return jax.jit(lambda *arguments: [function(scan)(*arguments) for scan in scans])(*arguments)


def assert_close(ours, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **CLOSE), ours, expected)


BOTH_WAYS = [(step, reverse) for step in STEPS for reverse in (False, True)]
FORWARD = [(step, False) for step in STEPS]


@pytest.mark.parametrize("step, reverse", few(BOTH_WAYS, *FORWARD, (plain, True), (product_that_is_an_output, True)))
def test_values_and_gradients_are_those_of_the_plain_scan(step, reverse):
    arguments = parameters(), jnp.ones((B, H)) * 0.3, data()
    assert_close(*of_both(lambda scan: jax.value_and_grad(value(scan, step, reverse), argnums=(0, 1, 2)), *arguments))


def test_outputs_have_the_structure_of_the_plain_scan():
    def scanned(scan):
        return lambda p, carry, xs: scan(lambda c, x: plain(p, c, x), carry, xs)

    ours, expected = of_both(scanned, parameters(), jnp.ones((B, H)), data())
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    assert_close(ours, expected)


def test_integers_and_keys_ride_along():
    def step(p, carry, x):
        hidden, count = carry
        noise = jax.random.normal(x["key"], hidden.shape)
        return (jnp.tanh(hidden @ p["kernel"][:, :H] + noise * x["token"][:, None]), count + 1), count

    def loss(scan, p):
        carry = (jnp.ones((B, H)), jnp.zeros((), jnp.int32))
        xs = {"key": jax.random.split(jax.random.key(0), T), "token": jnp.ones((T, B), jnp.int32)}
        (hidden, count), counts = scan(lambda c, x: step(p, c, x), carry, xs)
        return jnp.sum(hidden**2) * count + jnp.sum(counts)

    assert_close(*of_both(lambda scan: jax.grad(partial(loss, scan)), parameters()))


def test_under_vmap():
    p, xs = parameters(), data()
    carries = jnp.stack([jnp.ones((B, H)), -jnp.ones((B, H))])
    assert_close(
        *of_both(
            lambda scan: jax.vmap(jax.grad(value(scan, plain), argnums=(0, 1)), in_axes=(None, 0, None)), p, carries, xs
        )
    )


def on_one_device(function, specs):
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",), axis_types=(AxisType.Auto,))
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec())


@pytest.mark.slow
def test_under_shard_map():
    p, carry, xs = parameters(), jnp.ones((B, H)), data()
    specs = (PartitionSpec(), PartitionSpec("data"), PartitionSpec(None, "data"))

    def loss(p, carry, xs):
        return jax.lax.psum(value(deferred_scan.scan, plain)(p, carry, xs), "data")

    assert_close(jax.grad(on_one_device(loss, specs))(p, carry, xs), jax.grad(value(jax.lax.scan, plain))(p, carry, xs))


def test_a_model_keeps_less_than_with_the_plain_scan(monkeypatch):
    model = build_model("zforcing", Observation("tokens", 2), rnn_dim=32, latent_dim=8, mlp_dim=32, embed_dim=32)
    mask = jnp.ones((16, 40))
    batch = Batch(*(jnp.zeros((16, 40), jnp.int32),) * 2, mask, mask, jnp.full(16, 40))
    noise, params = jnp.zeros((16, 40, 8)), jax.eval_shape(model.init, jax.random.key(0))

    def temporary_bytes():
        update = jax.jit(jax.grad(lambda p: loss_and_metrics(model, p, batch, noise=noise)[0]))
        return update.lower(params).compile().memory_analysis().temp_size_in_bytes

    ours = temporary_bytes()
    monkeypatch.setattr(deferred_scan, "scan", jax.lax.scan)
    assert ours < 0.85 * temporary_bytes()


def test_forward_mode_is_refused():
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(
            lambda p: value(deferred_scan.scan, plain)(p, jnp.ones((B, H)), data()), (parameters(),), (parameters(2),)
        )


# The chunked softmax ------------------------------------------------------------------------------------------------

ROWS, CLASSES = 7, 11


def softmax_problem():
    rng = np.random.default_rng(5)
    layer = {"kernel": jnp.asarray(rng.normal(size=(H, CLASSES))), "bias": jnp.asarray(rng.normal(size=CLASSES))}
    return layer, jnp.asarray(rng.normal(size=(ROWS, 1, H))), jnp.asarray(rng.integers(0, CLASSES, (ROWS, 1)))


def plain_log_prob(layer, hidden, x):
    logits = jax.nn.log_softmax(hidden @ layer["kernel"] + layer["bias"])
    return jnp.take_along_axis(logits, x[..., None], axis=-1)[..., 0]


@pytest.mark.parametrize("kept, chunk", [(2**24, 2**20), (3 * CLASSES, 2 * CLASSES), (1, 1)])
def test_softmax_in_chunks_is_the_softmax(kept, chunk, monkeypatch):
    monkeypatch.setattr(chunked_softmax, "KEPT", kept)
    monkeypatch.setattr(chunked_softmax, "CHUNK", chunk)
    layer, hidden, x = softmax_problem()

    def total(f, layer, hidden):
        return jnp.sum(jnp.sin(f(layer, hidden, x)))

    @jax.jit
    def found(layer, hidden):
        both = chunked_softmax.categorical_log_prob, plain_log_prob
        return [(f(layer, hidden, x), jax.grad(partial(total, f), (0, 1))(layer, hidden)) for f in both]

    assert_close(*found(layer, hidden))


def test_evaluation_never_holds_all_logits():
    samples, rows, words = 4, 2048, 4096
    hidden, x = jnp.zeros((samples, rows, H)), jnp.zeros((rows,), jnp.int32)
    layer = {"kernel": jnp.zeros((H, words)), "bias": jnp.zeros(words)}
    evaluate = jax.jit(
        lambda layer, hidden: jax.vmap(lambda h: chunked_softmax.categorical_log_prob(layer, h, x))(hidden)
    )
    temporary = evaluate.lower(layer, hidden).compile().memory_analysis().temp_size_in_bytes
    assert temporary < 0.6 * samples * rows * words * hidden.dtype.itemsize


@pytest.mark.slow
def test_softmax_under_shard_map():
    layer, hidden, x = softmax_problem()

    def loss(layer, hidden, x):
        return jax.lax.psum(jnp.sum(chunked_softmax.categorical_log_prob(layer, hidden, x)), "data")

    specs = (PartitionSpec(), PartitionSpec("data"), PartitionSpec("data"))
    ours = jax.grad(on_one_device(loss, specs))(layer, hidden, x)
    assert_close(ours, jax.grad(lambda layer: jnp.sum(plain_log_prob(layer, hidden, x)))(layer))
