"""The library against ``reference/numpy_zforcing.py``, an implementation in plain numpy that shares no code with it."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.few import few
from reference import brute_force
from reference import numpy_zforcing as reference
from scipy import integrate, stats

from zf_jax import bounds
from zf_jax.models import ZForcing
from zf_jax.nn.layers import linear
from zf_jax.nn.recurrence import lstm_backward_states, zero_lstm_state
from zf_jax.objective import Objective, Weights, loss_and_metrics, objective_terms
from zf_jax.typing import Batch, Observation, StepTerms

pytestmark = pytest.mark.x64

HIDDEN, LATENT, MLP, EMBED = 5, 2, 4, 3
SIZES = dict(rnn_dim=HIDDEN, latent_dim=LATENT, mlp_dim=MLP, embed_dim=EMBED)
LENGTHS = (5, 2, 0, 4, 1)
NUM_STEPS = 6  # one more than the longest sequence
NUM_SAMPLES = 3
CLOSE = dict(rtol=1e-9, atol=1e-11)
WEIGHTS = dict(aux_weight=0.7, reverse_weight=0.3, kl_temperature=0.6)

ALL_OPTIONS = dict(prior_input=True, posterior_input=True, aux_input="hidden_and_latent")
TIGHT = dict(latent_log_std_bounds=(-1.0, 0.5), emission_log_std_bounds=(-0.5, 0.25), aux_log_std_bounds=(-0.75, 0.0))
OPEN = dict.fromkeys(TIGHT, (None, None))
FLOOR = dict(latent_log_std_bounds=(-1.0, None), emission_log_std_bounds=(-0.5, None), aux_log_std_bounds=(0.0, None))
CEILING = dict(latent_log_std_bounds=(None, 0.5), emission_log_std_bounds=(None, 0.0), aux_log_std_bounds=(None, 1.0))

KINDS = {
    "bernoulli tokens": ("tokens", 2, "bernoulli"),
    "categorical tokens": ("tokens", 4, "categorical"),
    "bernoulli frames": ("frames", 3, "bernoulli"),
    "gaussian frames": ("frames", 3, "gaussian"),
}
CASES = {
    **{kind: (kind, {}) for kind in KINDS},
    **{f"{kind}, all options": (kind, ALL_OPTIONS) for kind in KINDS},
    "bernoulli tokens, prior input": ("bernoulli tokens", dict(prior_input=True)),
    "gaussian frames, posterior input": ("gaussian frames", dict(posterior_input=True)),
    "categorical tokens, aux input": ("categorical tokens", dict(aux_input="hidden_and_latent")),
    "gaussian frames, tight bounds": ("gaussian frames", TIGHT),
    "gaussian frames, no bounds": ("gaussian frames", OPEN),
    "gaussian frames, floors only": ("gaussian frames", FLOOR),
    "gaussian frames, ceilings only": ("gaussian frames", CEILING),
}
QUICK = (
    "bernoulli tokens, all options",
    "categorical tokens",
    "gaussian frames, all options",
    "gaussian frames, tight bounds",
)
GRADIENT_CASES = ("bernoulli tokens, all options", "categorical tokens", "gaussian frames, tight bounds")


class Problem(NamedTuple):
    config: reference.Options
    model: object
    params: dict
    batch: Batch
    noise: np.ndarray  # [K, B, T, Z]


def random_batch(kind, size, emission, rng):
    """Ragged rows, one of them empty, with garbage behind the mask; a start that is not data in all rows but one."""
    shape = (len(LENGTHS), NUM_STEPS)
    real = np.arange(NUM_STEPS) < np.array(LENGTHS)[:, None]
    input_mask = real.copy()
    input_mask[[0, 2, 3, 4], 0] = False
    input_mask[3, 2] = False  # and one that was withheld
    if kind == "tokens":
        targets = rng.integers(0, size, shape)
        inputs = np.where(input_mask, np.roll(targets, 1, axis=1), size)
        inputs[1, 0] = rng.integers(0, size)
        garbage = rng.choice([-7, 10**6], (2, *shape))
        targets, inputs = (
            np.where(real, *pair).astype(np.int32) for pair in zip((targets, inputs), garbage, strict=True)
        )
    else:
        shape = (*shape, size)
        targets = rng.normal(size=shape) if emission == "gaussian" else rng.integers(0, 2, shape) * 1.0
        inputs = np.where(input_mask[..., None], np.roll(targets, 1, axis=1), 0.0)
        targets, inputs = (
            np.where(real[..., None], x, rng.choice([np.nan, np.inf, 1e30], x.shape)) for x in (targets, inputs)
        )
    # The input mask has garbage behind the mask as well.
    return Batch(inputs, targets, real * 1.0, np.where(real, input_mask, 1.0), np.array(LENGTHS, np.int32))


@functools.cache
def problem(name):
    """A case with parameters far from their initial values, so that no bias is zero and every nonlinearity is bent."""
    kind, options = CASES[name]
    kind, size, emission = KINDS[kind]
    observation = Observation(kind, size)
    config = reference.Options(observation, emission, **options)
    model = ZForcing(observation, emission, **SIZES, **options)
    rng = np.random.default_rng(list(CASES).index(name))
    batch = random_batch(kind, size, emission, rng)
    noise = rng.normal(size=(NUM_SAMPLES, *batch.mask.shape, LATENT))

    def drawn(path, leaf):
        # Hidden layers are wide, so that their activation is bent at every corner; scales are tamer, so that no single
        # term or sample drowns the others.
        name = jax.tree_util.keystr(path)
        return rng.normal(scale=2.0 if "hidden" in name else 0.3 if "log_std" in name else 0.6, size=leaf.shape)

    params = jax.tree_util.tree_map_with_path(drawn, jax.eval_shape(model.init, jax.random.key(0)))
    return Problem(config, model, params, batch, noise)


def on_device(tree):
    return jax.tree.map(jnp.asarray, tree)


# Each of these functions runs once, so that time spent on optimising it is lost.
jit_quickly = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)


@functools.cache
def library_values(name, jitted=True, aux_gradient=None):
    """StepTerms of the first sample (as the objective has them, where told), its ELBO, and the IWAE of all samples."""
    p = problem(name)

    def values(params, batch, noise):
        terms = bounds.step_terms(p.model, params, batch, noise=noise[0])
        if aux_gradient is not None:
            terms = objective_terms(p.model, params, batch, noise[0], Objective(aux_gradient))
        elbo = bounds.elbo(p.model, params, batch, noise=noise[0])
        return terms, elbo, bounds.iwae(p.model, params, batch, noise=noise)

    values = jit_quickly(values) if jitted else values
    return jax.tree.map(np.asarray, values(*on_device((p.params, p.batch, p.noise))))


def reference_terms(name):
    p = problem(name)
    return reference.step_terms(p.params, p.config, p.batch, p.noise[0])


# Parameters -----------------------------------------------------------------------------------------------------------


def expected_shapes(config):
    kind, size = config.observation.kind, config.observation.size

    def layer(inputs, outputs):
        return {"kernel": (inputs, outputs), "bias": (outputs,)}

    def gaussian_net(inputs, outputs):
        return {"hidden": layer(inputs, MLP), "mean": layer(MLP, outputs), "log_std": layer(MLP, outputs)}

    def lstm(inputs):
        return {"input": layer(inputs, 4 * HIDDEN), "recurrent": {"kernel": (HIDDEN, 4 * HIDDEN)}}

    def head():
        if config.emission == "gaussian":
            return {"mean": layer(HIDDEN, size), "log_std": layer(HIDDEN, size)}
        return {"logits": layer(HIDDEN, 1 if (kind, config.emission) == ("tokens", "bernoulli") else size)}

    return {
        "embedding": {"embedding": (size + 1, EMBED)} if kind == "tokens" else layer(size, EMBED),
        "backward": lstm(EMBED),
        "latent_embedding": layer(LATENT, MLP),
        "forward": lstm(EMBED + MLP),
        "prior": gaussian_net(HIDDEN + EMBED * config.prior_input, LATENT),
        "posterior": gaussian_net(2 * HIDDEN + EMBED * config.posterior_input, LATENT),
        "auxiliary": gaussian_net(LATENT + HIDDEN * (config.aux_input == "hidden_and_latent"), HIDDEN),
        "emission": head(),
        "reverse": head(),
    }


@pytest.mark.parametrize("name", CASES)
def test_parameter_tree(name):
    p = problem(name)
    assert jax.tree.map(lambda x: x.shape, p.params) == expected_shapes(p.config)


# Values ---------------------------------------------------------------------------------------------------------------


def assert_same_terms(ours, theirs):
    for field in StepTerms._fields:
        a, b = getattr(ours, field), getattr(theirs, field)
        assert a.shape == b.shape == (len(LENGTHS), NUM_STEPS), field
        np.testing.assert_allclose(a, b, **CLOSE, err_msg=f"{field} per step")
        np.testing.assert_allclose(a.sum(axis=1), b.sum(axis=1), **CLOSE, err_msg=f"{field} per sequence")


@pytest.mark.parametrize("name", few([*CASES], *QUICK))
def test_every_term_of_every_step(name):
    assert_same_terms(library_values(name)[0], reference_terms(name))


@pytest.mark.parametrize("name", ["bernoulli tokens, all options", "gaussian frames"])
def test_every_term_of_every_step_without_jit(name):
    assert_same_terms(library_values(name, jitted=False)[0], reference_terms(name))


@pytest.mark.parametrize("aux_gradient", ["target", "backward"])
def test_terms_do_not_depend_on_where_the_auxiliary_gradient_stops(aux_gradient):
    name = "categorical tokens, all options"
    assert_same_terms(library_values(name, aux_gradient=aux_gradient)[0], reference_terms(name))


@pytest.mark.parametrize("name", few([*CASES], *QUICK))
def test_elbo(name):
    p = problem(name)
    expected = reference.elbo(p.params, p.config, p.batch, p.noise[0])
    assert expected[LENGTHS.index(0)] == 0
    np.testing.assert_allclose(library_values(name)[1], expected, **CLOSE)


@pytest.mark.parametrize("name", few([*CASES], *QUICK))
def test_iwae(name):
    p = problem(name)
    np.testing.assert_allclose(library_values(name)[2], reference.iwae(p.params, p.config, p.batch, p.noise), **CLOSE)


def test_the_random_problems_bend_every_nonlinearity(monkeypatch):
    seen = []
    activation = reference.leaky_relu_clipped
    monkeypatch.setattr(reference, "leaky_relu_clipped", lambda x: seen.append(x) or activation(x))
    for name in GRADIENT_CASES:
        reference_terms(name)
    seen = np.concatenate(seen)
    for region in (seen < -9, (seen > -9) & (seen < 0), (seen > 0) & (seen < 3), seen > 3):
        assert region.mean() > 0.001


# Each takes the place of a function of the reference, which then describes a model that is a little wrong.
def _over_padding(params, config, targets):
    zeros = [np.zeros(np.shape(targets[0])).astype(np.asarray(targets).dtype)] if len(targets) else []
    return RIGHT["backward_states"](params, config, list(targets) + zeros)[: len(targets)]


RIGHT = {name: value for name, value in vars(reference).items() if callable(value)}
MUTATIONS = {
    "backward recurrence starts in the padding": ("backward_states", _over_padding),
    "backward recurrence runs forward": (
        "backward_states",
        lambda params, config, targets: RIGHT["backward_states"](params, config, targets[::-1])[::-1],
    ),
    "b_{t+1} in place of b_t": (
        "backward_states",
        lambda params, config, targets: (
            RIGHT["backward_states"](params, config, targets)[1:] + [np.zeros(HIDDEN)] * bool(len(targets))
        ),
    ),
    "KL the other way round": ("gaussian_kl", lambda mq, lq, mp, lp: RIGHT["gaussian_kl"](mp, lp, mq, lq)),
    "z scaled by the variance": ("draw", lambda mean, log_std, noise: mean + np.exp(2 * log_std) * noise),
    "z scaled by exp(log_std / 2)": ("draw", lambda mean, log_std, noise: mean + np.exp(log_std / 2) * noise),
    "z does not reach the forward network": (
        "forward_state",
        lambda params, config, u, z, h, c: RIGHT["forward_state"](params, config, u, 0 * z, h, c),
    ),
    "slope of 0.01": ("leaky_relu_clipped", lambda x: np.clip(np.where(x > 0, x, 0.01 * x), -3, 3)),
    "no clipping": ("leaky_relu_clipped", lambda x: np.where(x > 0, x, x / 3)),
    "no ceiling": ("bounded_log_std", lambda raw, ends: RIGHT["bounded_log_std"](raw, ends and (ends[0], None))),
    "no floor": ("bounded_log_std", lambda raw, ends: RIGHT["bounded_log_std"](raw, ends and (None, ends[1]))),
    "hard bounds": ("bounded_log_std", lambda raw, ends: np.clip(raw, *ends)),
    "auxiliary mean not through tanh": (
        "auxiliary",
        lambda params, config, h, z: reference.mlp_gaussian(params["auxiliary"], z, config.aux_log_std_bounds),
    ),
    "the wrong gates": ("lstm_cell", lambda layer, x, h, c: _swapped_gates(layer, x, h, c)),
}


def _swapped_gates(layer, x, h, c):
    def swap(leaf):
        i, f, g, o = np.split(leaf, 4, axis=-1)
        return np.concatenate([f, i, g, o], axis=-1)

    return RIGHT["lstm_cell"](jax.tree.map(swap, layer), x, h, c)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_comparison_notices_a_wrong_model(mutation, monkeypatch):
    name = "gaussian frames, tight bounds"
    monkeypatch.setattr(reference, *MUTATIONS[mutation])
    with pytest.raises(AssertionError):
        assert_same_terms(library_values(name)[0], reference_terms(name))


# Gradients ------------------------------------------------------------------------------------------------------------


@functools.cache
def library_gradient(name, aux_gradient):
    """The gradient of the objective, which is minus the loss, and the metrics."""
    p = problem(name)
    batch, noise = on_device((p.batch, p.noise[0]))
    settings = dict(weights=Weights(**WEIGHTS), settings=Objective(aux_gradient))

    def loss(params):
        return loss_and_metrics(p.model, params, batch, noise=noise, **settings)

    gradient, metrics = jit_quickly(jax.grad(loss, has_aux=True))(on_device(p.params))
    return jax.tree.map(lambda x: -np.asarray(x), gradient), metrics


def frozen_objective(p, aux_gradient):
    """The reference objective as a function of the parameters, with what A1 stops held at its present value."""
    b = reference.all_backward_states(p.params, p.config, p.batch)
    stopped = dict(aux_targets=b, aux_seen_backward=b if aux_gradient == "backward" else None)
    return lambda params: reference.objective(params, p.config, p.batch, p.noise[0], **WEIGHTS, **stopped)


def central_difference(objective, params, path, direction, step=2e-6):
    """The derivative of the objective as one leaf moves along a direction."""

    def moved(sign):
        return objective(
            jax.tree_util.tree_map_with_path(lambda q, x: x + sign * step * direction if q == path else x, params)
        )

    return (moved(1) - moved(-1)) / (2 * step)


@pytest.mark.parametrize("aux_gradient", ["target", "backward"])
@pytest.mark.parametrize("name", few(GRADIENT_CASES, GRADIENT_CASES[0]))
def test_gradient_is_that_of_finite_differences(name, aux_gradient):
    p = problem(name)
    objective = frozen_objective(p, aux_gradient)
    gradient, metrics = library_gradient(name, aux_gradient)
    np.testing.assert_allclose(-metrics["loss"], objective(p.params), **CLOSE)
    rng = np.random.default_rng(0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        # One direction that moves the whole leaf, the entry of largest gradient, and one entry at random.
        along = [rng.normal(size=leaf.shape) / np.sqrt(leaf.size)]
        for place in (np.argmax(np.abs(leaf)), rng.integers(leaf.size)):
            along.append(np.reshape(np.arange(leaf.size) == place, leaf.shape) * 1.0)
        for direction in along:
            expected = central_difference(objective, p.params, path, direction)
            np.testing.assert_allclose(
                np.sum(leaf * direction), expected, rtol=1e-6, atol=1e-6, err_msg=jax.tree_util.keystr(path)
            )


@pytest.mark.parametrize("name", few(GRADIENT_CASES, GRADIENT_CASES[0]))
def test_metrics_are_means_over_real_sequences(name):
    p = problem(name)
    _, metrics = library_gradient(name, "target")
    real = np.array(LENGTHS) > 0
    elbo = reference.elbo(p.params, p.config, p.batch, p.noise[0])
    np.testing.assert_allclose(metrics["elbo_nats_per_sequence"], elbo[real].mean(), **CLOSE)
    for field, values in zip(StepTerms._fields, reference_terms(name), strict=True):
        metric = f"{field.removesuffix('_log_prob')}_nats_per_sequence"
        if metric in metrics:
            np.testing.assert_allclose(metrics[metric], values.sum(axis=1)[real].mean(), **CLOSE, err_msg=metric)


@pytest.mark.parametrize("name", few(GRADIENT_CASES, GRADIENT_CASES[0]))
def test_finite_differences_tell_the_modes_apart(name):
    p = problem(name)
    target, _ = library_gradient(name, "target")
    backward, _ = library_gradient(name, "backward")
    live = functools.partial(reference.objective, config=p.config, batch=p.batch, noise=p.noise[0], **WEIGHTS)
    path = tuple(jax.tree_util.DictKey(k) for k in ("backward", "recurrent", "kernel"))
    direction = np.random.default_rng(0).normal(size=p.params["backward"]["recurrent"]["kernel"].shape)
    slopes = [
        np.sum(target["backward"]["recurrent"]["kernel"] * direction),
        np.sum(backward["backward"]["recurrent"]["kernel"] * direction),
        central_difference(live, p.params, path, direction),  # nothing stopped
    ]
    for a, b in itertools.combinations(slopes, 2):
        assert abs(a - b) > 1e-3


# The backward recurrence against Flax ---------------------------------------------------------------------------------


CELLS = list(itertools.product(("LSTMCell", "OptimizedLSTMCell"), (True, False)))


@pytest.mark.parametrize("cell, jitted", few(CELLS, ("LSTMCell", True)))
def test_backward_recurrence_is_that_of_flax(cell, jitted):
    from flax import linen

    rng = np.random.default_rng(0)
    params = {
        "input": {"kernel": rng.normal(size=(EMBED, 4 * HIDDEN)), "bias": rng.normal(size=4 * HIDDEN)},
        "recurrent": {"kernel": rng.normal(size=(HIDDEN, 4 * HIDDEN))},
    }
    embedded = rng.normal(size=(len(LENGTHS), NUM_STEPS, EMBED))
    real = np.arange(NUM_STEPS) < np.array(LENGTHS)[:, None]
    flax_params = {}
    for gate, *leaves in zip(
        "ifgo",
        np.split(params["input"]["kernel"], 4, axis=-1),
        np.split(params["recurrent"]["kernel"], 4, axis=-1),
        np.split(params["input"]["bias"], 4),
        strict=True,
    ):
        flax_params[f"i{gate}"] = {"kernel": leaves[0]}
        flax_params[f"h{gate}"] = {"kernel": leaves[1], "bias": leaves[2]}

    def theirs(params, x):
        rnn = linen.RNN(getattr(linen, cell)(HIDDEN, param_dtype=float), reverse=True, keep_order=True)
        return rnn.apply({"params": {"cell": params}}, x, seq_lengths=jnp.array(LENGTHS))

    maybe_jit = jax.jit if jitted else lambda f: f
    expected = maybe_jit(theirs)(*on_device((flax_params, embedded)))

    def ours(params, x, mask):
        return lstm_backward_states(params, linear(params["input"], x), mask, zero_lstm_state(x[:, 0], HIDDEN))[1]

    states = maybe_jit(ours)(*on_device((params, embedded, real * 1.0)))
    assert states.dtype == expected.dtype == jnp.float64
    np.testing.assert_allclose(np.where(real[..., None], states, 0), np.where(real[..., None], expected, 0), **CLOSE)
    # ... and of the reference, with frames that are their own embedding.
    config = reference.Options(reference.Kind("frames", EMBED), "gaussian")
    params = {"backward": params, "embedding": {"kernel": np.eye(EMBED), "bias": np.zeros(EMBED)}}
    for row, length in enumerate(LENGTHS):
        by_hand = reference.backward_states(params, config, embedded[row, :length])
        np.testing.assert_allclose(states[row, :length], np.reshape(by_hand, (length, HIDDEN)), **CLOSE)


# The oracles themselves -----------------------------------------------------------------------------------------------


def test_reference_kl_is_that_of_quadrature():
    mean_q, log_std_q, mean_p, log_std_p = np.random.default_rng(0).normal(size=(4, 3))
    total = 0.0
    for mq, lq, mp, lp in zip(mean_q, log_std_q, mean_p, log_std_p, strict=True):
        q, p = stats.norm(mq, np.exp(lq)), stats.norm(mp, np.exp(lp))
        ends = mq - 12 * q.std(), mq + 12 * q.std()
        total += integrate.quad(lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), *ends)[0]
    np.testing.assert_allclose(reference.gaussian_kl(mean_q, log_std_q, mean_p, log_std_p), total, rtol=1e-8)


def random_linear_gaussian(rng, latents=2, dims=3):
    def cov(size):
        root = rng.normal(size=(size, size))
        return root @ root.T + 0.3 * np.eye(size)

    return brute_force.LinearGaussian(
        transition=0.6 * rng.normal(size=(latents, latents)),
        feedback=0.5 * rng.normal(size=(latents, dims)),
        latent_bias=rng.normal(size=latents),
        latent_cov=cov(latents),
        emission=rng.normal(size=(dims, latents)),
        autoregression=0.4 * rng.normal(size=(dims, dims)),
        emission_bias=rng.normal(size=dims),
        emission_cov=cov(dims),
    )


def kalman_log_prob(model, y):
    """log p(y) by filtering: the check on the dense joint Gaussian."""
    mean, cov = np.zeros(len(model.latent_bias)), np.zeros_like(model.latent_cov)
    before, total = np.zeros(y.shape[1]), 0.0
    for frame in y:
        mean = model.transition @ mean + model.feedback @ before + model.latent_bias
        cov = model.transition @ cov @ model.transition.T + model.latent_cov
        expected = model.emission @ mean + model.autoregression @ before + model.emission_bias
        spread = model.emission @ cov @ model.emission.T + model.emission_cov
        total += stats.multivariate_normal(expected, spread).logpdf(frame)
        gain = np.linalg.solve(spread, model.emission @ cov).T
        mean, cov = mean + gain @ (frame - expected), cov - gain @ model.emission @ cov
        before = frame
    return total


def test_dense_joint_gaussian_is_the_kalman_filter():
    rng = np.random.default_rng(1)
    model, y = random_linear_gaussian(rng), rng.normal(size=(5, 3))
    np.testing.assert_allclose(brute_force.linear_gaussian_log_prob(model, y), kalman_log_prob(model, y), rtol=1e-10)


def test_exact_step_posteriors_have_weights_of_zero_variance():
    rng = np.random.default_rng(2)
    model, y = random_linear_gaussian(rng), rng.normal(size=(4, 3))
    exact = brute_force.linear_gaussian_log_prob(model, y)
    for _ in range(3):
        z, log_weight, before, frame_before = [], 0.0, np.zeros(2), np.zeros(3)
        for frame in y:
            mean, cov = brute_force.linear_gaussian_step_posterior(model, y, np.reshape(z, (-1, 2)))
            draw = rng.multivariate_normal(mean, cov)
            prior = model.transition @ before + model.feedback @ frame_before + model.latent_bias
            emission = model.emission @ draw + model.autoregression @ frame_before + model.emission_bias
            log_weight += stats.multivariate_normal(prior, model.latent_cov).logpdf(draw)
            log_weight += stats.multivariate_normal(emission, model.emission_cov).logpdf(frame)
            log_weight -= stats.multivariate_normal(mean, cov).logpdf(draw)
            z.append(draw)
            before, frame_before = draw, frame
        np.testing.assert_allclose(log_weight, exact, rtol=1e-9)
    smoothed, _ = brute_force.linear_gaussian_posterior(model, y)
    first, _ = brute_force.linear_gaussian_step_posterior(model, y, np.zeros((0, 2)))
    np.testing.assert_allclose(smoothed[0], first, rtol=1e-9)


def test_forward_algorithm_is_the_sum_over_paths_and_sums_to_one():
    rng = np.random.default_rng(3)
    initial, transition = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3)
    emission = rng.dirichlet(np.ones(2), 3)
    sequences = brute_force.all_binary_sequences(4)
    assert len({tuple(x) for x in sequences}) == 16
    exact = [brute_force.hmm_log_prob(initial, transition, emission, x) for x in sequences]
    by_paths = [brute_force.hmm_log_prob_by_paths(initial, transition, emission, x) for x in sequences]
    np.testing.assert_allclose(exact, by_paths, rtol=1e-12)
    total, error = brute_force.sum_to_one(np.array(exact)[:, None])
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)
    assert error == 0


def test_sum_to_one_reports_its_error():
    rng = np.random.default_rng(4)
    log_weights = np.log(rng.gamma(2.0, 1 / 2.0, size=(16, 400)) / 16)
    total, error = brute_force.sum_to_one(log_weights)
    assert 0 < abs(total - 1) < 4 * error < 0.1
    inputs = brute_force.with_start(brute_force.all_binary_sequences(3), 2)
    assert inputs[5].tolist() == [2, 1, 0]
