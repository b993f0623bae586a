"""The train state and the jit-compiled, data-parallel train step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from zf_jax.checks import CheckedStep, check_host_batch, checked
from zf_jax.compiled import compiled_once
from zf_jax.models.base import Model
from zf_jax.nn.deferred_scan import vary_like
from zf_jax.objective.loss import draw_samples, loss_and_metrics
from zf_jax.objective.settings import Objective, Weights
from zf_jax.sharding import by_row, replicated, stacked_by_row
from zf_jax.typing import Array, Batch, Params


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


@checked()
@compiled_once("model", "optimizer", "settings", "axis_name")
def update(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
    key: Array,
    weights: Weights = Weights(),
    settings: Objective = Objective(),
    *,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """Return the state after one update, and the metrics of the batch, scalars.

    An update whose loss or gradient is not finite is left out and counted: parameters and optimiser stay as they were.

    Args:
      key: of the run; the update's own is folded from the step, so that a resumed run draws the same noise.
      axis_name: of a ``jax.pmap`` or ``jax.shard_map`` over which the batch is cut by rows, the state being whole on
        every device.  Gradients and metrics are then means over the real rows of all devices, and every device draws
        its rows of the noise that one device would draw; word dropout and resampling draw for each device apart.
    """
    key = jax.random.fold_in(key, state.step)
    params, noise, mean = state.params, None, lambda tree: tree
    if axis_name is not None:
        noise = _own_noise(key, batch, model.latent_dim, settings.num_samples, axis_name)
        key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        mean = _mean_over(axis_name, batch)
        # A gradient of parameters that are the same on all devices would come summed out of a shard_map.
        params = jax.tree.map(lambda x: vary_like(x, batch), params)
    gradient_of = jax.value_and_grad(
        lambda p: loss_and_metrics(model, p, batch, key, weights, settings, noise=noise), has_aux=True
    )
    (loss, metrics), gradients = mean(gradient_of(params))
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


def _own_noise(key: Array, batch: Batch, latent_dim: int, num_samples: int, axis_name: str) -> Array:
    """Return this device's rows of the noise of the whole batch: ``[K, B, T, Z]``."""
    rows, steps = batch.mask.shape
    whole = batch._replace(mask=jax.ShapeDtypeStruct((rows * jax.lax.axis_size(axis_name), steps), jnp.float32))
    noise = draw_samples(key, whole, latent_dim, num_samples)
    return jax.lax.dynamic_slice_in_dim(noise, jax.lax.axis_index(axis_name) * rows, rows, axis=1)


def _mean_over(axis_name: str, batch: Batch) -> Callable[[Any], Any]:
    """Return the mean of a tree over the devices of an axis, each weighed by its number of real sequences."""
    real = jnp.sum(batch.lengths > 0)
    share = real / jnp.maximum(jax.lax.psum(real, axis_name), 1)
    return lambda tree: jax.tree.map(lambda x: jax.lax.psum(x * share.astype(x.dtype), axis_name), tree)


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

    compiled = jax.jit(
        train_step,
        in_shardings=(everywhere, by_row(mesh), everywhere),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
    )
    return CheckedStep(compiled, functools.partial(check_host_batch, model))


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

    compiled = jax.jit(
        train_steps,
        in_shardings=(everywhere, stacked_by_row(mesh), everywhere),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
    )
    return CheckedStep(compiled, functools.partial(check_host_batch, model, stacked=True))
