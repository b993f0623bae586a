"""The train state and the jit-compiled, data-parallel train and evaluation steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from zf_jax import bounds
from zf_jax.bounds.particle import particle_bound
from zf_jax.emissions import emission_values
from zf_jax.models.base import Model, unroll
from zf_jax.objective.loss import loss_and_metrics
from zf_jax.objective.settings import Objective, Weights
from zf_jax.sharding import by_row, replicated, stacked_by_row
from zf_jax.typing import Array, Batch, Params

BOUNDS = ("elbo", "iwae", "particle")


class TrainState(NamedTuple):
    """All that an update changes, and all that a checkpoint needs: the position in the data is the step itself.

    Attributes:
      step: updates tried so far, int32.
      params: the model's parameters.
      opt_state: the optimiser's.
      skipped_updates: updates left out because their loss or gradient was not finite.
      skipped_in_a_row: how many of the latest were.
    """

    step: Array
    params: Params
    opt_state: Any
    skipped_updates: Array
    skipped_in_a_row: Array


class Schedules(NamedTuple):
    """The objective's weights as functions of the step."""

    kl_temperature: Callable[[Array], Any] = optax.constant_schedule(1.0)
    aux_weight: Callable[[Array], Any] = optax.constant_schedule(0.0)
    reverse_weight: Callable[[Array], Any] = optax.constant_schedule(0.0)

    def __call__(self, step: Array) -> Weights:
        return Weights(*(jnp.asarray(schedule(step), jnp.result_type(float)) for schedule in self))


def make_optimizer(
    learning_rate: optax.ScalarOrSchedule, clip_norm: float | None = None
) -> optax.GradientTransformation:
    """Adam on gradients clipped by their global norm."""
    clip = optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm)
    return optax.chain(clip, optax.adam(learning_rate))


def init_state(model: Model, optimizer: optax.GradientTransformation, key: Array) -> TrainState:
    """The state before the first update."""
    params = model.init(key)
    # A buffer each: the train step gives the old state's buffers away, and none may be given away twice.
    step, skipped, in_a_row = (jnp.zeros((), jnp.int32) for _ in range(3))
    return TrainState(step, params, optimizer.init(params), skipped, in_a_row)


def update(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
    key: Array,
    weights: Weights = Weights(),
    settings: Objective = Objective(),
) -> tuple[TrainState, dict[str, Array]]:
    """One update, as a pure function: the next state, and the metrics of the batch, scalars.

    An update whose loss or gradient is not finite is left out and counted: parameters and optimiser stay as they were.

    Args:
      key: of the run; the update's own is folded from the step, so that a resumed run draws the same noise.
    """
    key = jax.random.fold_in(key, state.step)
    gradient_of = jax.value_and_grad(lambda p: loss_and_metrics(model, p, batch, key, weights, settings), has_aux=True)
    (loss, metrics), gradients = gradient_of(state.params)
    grad_norm = optax.global_norm(gradients)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)

    def taken():
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        return optax.apply_updates(state.params, updates), opt_state

    # A branch: a select between old and new would make XLA copy the parameters and the moments at every update.
    params, opt_state = jax.lax.cond(finite, taken, lambda: (state.params, state.opt_state))
    skipped = 1 - finite.astype(jnp.int32)
    state = TrainState(
        step=state.step + 1,
        params=params,
        opt_state=opt_state,
        skipped_updates=state.skipped_updates + skipped,
        skipped_in_a_row=(state.skipped_in_a_row + skipped) * skipped,
    )
    metrics |= {
        "grad_norm": grad_norm,
        "param_norm": optax.global_norm(params),
        **weights._asdict(),
        "skipped_updates": state.skipped_updates,
        "skipped_in_a_row": state.skipped_in_a_row,
    }
    return state, metrics


def make_train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    schedules: Schedules = Schedules(),
    settings: Objective = Objective(),
) -> Callable[[TrainState, Batch, Array], tuple[TrainState, dict[str, Array]]]:
    """Compile ``update``: ``(state, batch, key) -> (state, metrics)``; the old state's buffers are reused.

    The state lies whole on every device, the batch ``[B, T, ...]`` is cut by rows; the noise is drawn in the global
    view, so that neither it nor the result depends on the number of devices.
    """
    everywhere = replicated(mesh)

    def train_step(state, batch, key):
        return update(model, optimizer, state, batch, key, schedules(state.step), settings)

    return jax.jit(
        train_step,
        in_shardings=(everywhere, by_row(mesh), everywhere),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
    )


def make_train_steps(
    model: Model,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    schedules: Schedules = Schedules(),
    settings: Objective = Objective(),
) -> Callable[[TrainState, Batch, Array], tuple[TrainState, dict[str, Array]]]:
    """Compile several updates into one call, ``(state, batches, key) -> (state, metrics)``; see ``global_batches``.

    The N updates on batches ``[N, B, T, ...]`` are those of ``make_train_step``, run in one ``lax.scan``, so that the
    device does not wait for the host between small updates.  The metrics are the last update's; the state counts the
    updates that were skipped.
    """
    everywhere = replicated(mesh)

    def train_steps(state, batches, key):
        def one(state, batch):
            return update(model, optimizer, state, batch, key, schedules(state.step), settings)

        state, metrics = jax.lax.scan(one, state, batches)
        return state, jax.tree.map(lambda metric: metric[-1], metrics)

    return jax.jit(
        train_steps,
        in_shardings=(everywhere, stacked_by_row(mesh), everywhere),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
    )


def make_eval_step(
    model: Model,
    mesh: Mesh,
    bound: str = "elbo",
    num_samples: int = 1,
    chunk_size: int | None = None,
    quantisation_step: float | None = None,
) -> Callable[[Params, Batch, Array, Array], dict[str, Array]]:
    """Compile a bound: ``(params, batch, key, indices [B]) -> {name: [B]}``, nats a sequence, not averaged.

    Args:
      bound: ``"elbo"`` (one sample), ``"iwae"`` or ``"particle"``.
      num_samples: K, samples of the IWAE bound or particles.
      chunk_size: samples of every sequence held in memory at once.
      quantisation_step: of integer data under a density: adds ``small_scales``, the share of the emission's scales
        below one step, which says how much of the density is spikes on the grid (rule A11).

    Beside ``bound`` stands ``kl``, always that of one posterior sample a step, as in the one-sample ELBO: more samples
    and particles have no KL of their own.  The particle bound adds ``num_resampled``, the steps at which it resampled.

    A sequence's noise comes from its index in the data set alone: the figures depend neither on the batch size, nor
    on the order of the sequences, nor on their padding (rule A8).
    """
    if bound not in BOUNDS:
        raise ValueError(f"unknown bound {bound!r}; choose one of {', '.join(BOUNDS)}")
    everywhere, rows = replicated(mesh), by_row(mesh)

    def eval_step(params, batch, key, indices):
        keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(indices)
        features = model.encode(params, batch)
        sites = unroll(model, params, features, bounds.draw_noise(keys, batch, model.latent_dim))[1]
        terms = model.score(params, features, sites)
        kl = jnp.sum(terms.kl, axis=1)
        result = {"bound": jnp.sum(terms.emission_log_prob, axis=1) - kl, "kl": kl}
        if bound == "particle":
            # All particles of a sequence meet, so that it is sequences that go one after another.
            at_once = max(1, (chunk_size or num_samples) * indices.shape[0] // num_samples)
            found = particle_bound(model, params, batch, keys, num_particles=num_samples, chunk_size=at_once)
            result |= found._asdict()
        elif bound == "iwae":
            result["bound"] = bounds.iwae(model, params, batch, keys, num_samples=num_samples, chunk_size=chunk_size)
        if quantisation_step is not None:
            values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
            share = model.emission.share_of_scales_below(values, quantisation_step, features.observed.targets)
            steps = jnp.maximum(jnp.sum(features.observed.mask, axis=1), 1)
            result["small_scales"] = jnp.sum(jnp.where(features.observed.mask > 0, share, 0), axis=1) / steps
        return result

    return jax.jit(eval_step, in_shardings=(everywhere, rows, everywhere, rows), out_shardings=rows)
