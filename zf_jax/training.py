"""The train state and the jit-compiled, data-parallel train step."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from zf_jax.averaging import averaged_params, with_average
from zf_jax.bounds.noise import required_key
from zf_jax.checks import CheckedStep, check_host_batch, checked
from zf_jax.compiled import compiled_once, made_once
from zf_jax.density import Density
from zf_jax.models.base import Model
from zf_jax.objective.gradient import Gradient
from zf_jax.objective.settings import Objective, Weights
from zf_jax.sharding import by_row, divided, replicated, stacked_by_row
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
        for name, schedule in self._asdict().items():
            if not callable(schedule):
                made = f"a function of the step, such as optax.constant_schedule({schedule!r})"
                raise TypeError(f"{name} of Schedules must be {made}, not {type(schedule).__name__}")
        return Weights(*(jnp.asarray(schedule(step), jnp.result_type(float)) for schedule in self))


@made_once
def make_optimizer(
    learning_rate: optax.ScalarOrSchedule, clip_norm: float | None = None, ema_decay: float = 0.0
) -> optax.GradientTransformation:
    """Adam on gradients clipped by their global norm, which averages the parameters too if ``ema_decay`` is not 0."""
    clip = optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm)
    optimizer = optax.chain(clip, optax.adam(learning_rate))
    return with_average(optimizer, ema_decay) if ema_decay else optimizer


def init_state(model: Model | Density, optimizer: optax.GradientTransformation, key: Array) -> TrainState:
    """The state before the first update."""
    params = model.init(key)
    # A buffer each: the train step gives the old state's buffers away, and none may be given away twice.
    step, skipped, in_a_row = (jnp.zeros((), jnp.int32) for _ in range(3))
    return TrainState(step, params, optimizer.init(params), skipped, in_a_row)


@made_once
def make_init(
    model: Model | Density, optimizer: optax.GradientTransformation, mesh: Mesh, shard_params: bool = False
) -> Callable[[Array], TrainState]:
    """Compile ``init_state``: ``key -> state``, laid out as ``state_sharding`` says."""
    where = state_sharding(model, optimizer, mesh, shard_params)
    return jax.jit(lambda key: init_state(model, optimizer, key), out_shardings=where)


def state_sharding(
    model: Model | Density, optimizer: optax.GradientTransformation, mesh: Mesh, shard_params: bool
) -> Any:
    """Return where a state lies: whole on every device, or its large arrays divided among them if ``shard_params``."""
    if not shard_params:
        return replicated(mesh)
    return divided(jax.eval_shape(lambda: init_state(model, optimizer, jax.random.key(0))), mesh)


def evaluated_params(state: TrainState) -> Params:
    """Return the parameters to evaluate and to sample with: their average where the optimiser keeps one."""
    return averaged_params(state.params, state.opt_state)


@checked()
@compiled_once("model", "optimizer", "settings", "accumulate", "remat", "compute_dtype", "axis_name")
def update(
    model: Model | Density,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
    key: Array,
    weights: Weights = Weights(),
    settings: Objective = Objective(),
    *,
    accumulate: int = 1,
    remat: int = 0,
    compute_dtype: str = "float32",
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """Return the state after one update, and the metrics of the batch, scalars.

    An update whose loss or gradient is not finite is left out and counted: parameters and optimiser stay as they were.
    One whose optimiser makes a step that is not finite, as at an infinite learning rate, is taken: the metric
    ``param_norm`` shows that.

    Args:
      optimizer: any of optax; one that asks for the loss, the gradient or the function is given ``value``, ``grad`` and
        ``value_fn``.
      key: of the run; the update's own is folded from the step, so that a resumed run draws the same noise.
      accumulate: how many pieces of equal size the batch is cut into, to need less memory: the gradient is that of the
        whole batch, except that word dropout and resampling draw for each piece apart.
      remat: steps of a block of the recurrences and of the terms that follow; the gradient keeps the carry between
        blocks and computes the rest again; 0 keeps all.
      compute_dtype: of matrix products, ``"float32"`` or ``"bfloat16"``; parameters, states, likelihoods and sums keep
        the parameters' type.
      axis_name: of a ``jax.pmap`` or ``jax.shard_map`` over which the batch is cut by rows, the state being whole on
        every device.  Gradients and metrics are then means over the real rows of all devices, and every device draws
        its rows of the noise that one device would draw; word dropout, resampling and a ``Density`` draw for each
        device apart.
    """
    key = jax.random.fold_in(required_key(key), state.step)
    options: Any = {"accumulate": accumulate, "remat": remat, "compute_dtype": compute_dtype, "axis_name": axis_name}
    of = Gradient(model, batch, key, weights, settings, **options)
    (loss, metrics), gradients = of.value_and_gradient(state.params)
    grad_norm = _norm(gradients)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)

    def taken():
        given = {"value": loss, "grad": gradients, "value_fn": of.value}
        # Optax adds numbers of several types, also where the caller's strict promotion forbids that.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = _updates(optimizer, gradients, state, given)
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
        "param_norm": _norm(params),
        **weights._asdict(),
        "skipped_updates": state.skipped_updates,
        "skipped_in_a_row": state.skipped_in_a_row,
    }
    return state, metrics


def _norm(tree: Any) -> Array:
    """Return the norm over all leaves, in float32 at least: the squares of float16 overflow soon."""
    return optax.global_norm(jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)), tree))


def _updates(optimizer: Any, gradients: Params, state: TrainState, given: dict[str, Any]) -> tuple[Any, Any]:
    """Ask an optimiser of any kind, and say what one wants that an update does not have."""
    try:
        return optax.with_extra_args_support(optimizer).update(gradients, state.opt_state, state.params, **given)
    except TypeError as error:
        wanted = re.search(r"missing \d+ required keyword-only arguments?: (.*)", str(error))
        if wanted is None:
            raise
        raise ValueError(
            f"the optimiser wants {wanted[1]} at every update, which is given {', '.join(given)} alone: choose another"
        ) from error


@made_once
def make_train_step(
    model: Model | Density,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    schedules: Schedules = Schedules(),
    settings: Objective = Objective(),
    accumulate: int = 1,
    remat: int = 0,
    compute_dtype: str = "float32",
    shard_params: bool = False,
) -> Callable[[TrainState, Batch, Array], tuple[TrainState, dict[str, Array]]]:
    """Compile ``update``: ``(state, batch, key) -> (state, metrics)``; the old state's buffers are reused.

    The state lies whole on every device, the batch ``[B, T, ...]`` is cut by rows; the noise is drawn in the global
    view, so that neither it nor the result depends on the number of devices.  With ``shard_params`` large parameters
    and their moments are divided among the devices between updates; an update gathers the parameters once.
    """
    everywhere, where = replicated(mesh), state_sharding(model, optimizer, mesh, shard_params)
    options: Any = {"accumulate": accumulate, "remat": remat, "compute_dtype": compute_dtype}

    def train_step(state, batch, key):
        weights, state = schedules(state.step), _gathered(state, mesh, shard_params)
        return update(model, optimizer, state, batch, key, weights, settings, **options)

    compiled = jax.jit(
        train_step,
        in_shardings=(where, by_row(mesh), everywhere),
        out_shardings=(where, everywhere),
        donate_argnums=0,
    )
    return CheckedStep(compiled, functools.partial(check_host_batch, model))


@made_once
def make_train_steps(
    model: Model | Density,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    schedules: Schedules = Schedules(),
    settings: Objective = Objective(),
    accumulate: int = 1,
    remat: int = 0,
    compute_dtype: str = "float32",
    shard_params: bool = False,
) -> Callable[[TrainState, Batch, Array], tuple[TrainState, dict[str, Array]]]:
    """Compile several updates into one call, ``(state, batches, key) -> (state, metrics)``; see ``global_batches``.

    The N updates on batches ``[N, B, T, ...]`` are those of ``make_train_step``, run in one ``lax.scan``, so that the
    device does not wait for the host between small updates.  The metrics are the last update's; the state counts the
    updates that were skipped.
    """
    everywhere, where = replicated(mesh), state_sharding(model, optimizer, mesh, shard_params)
    options: Any = {"accumulate": accumulate, "remat": remat, "compute_dtype": compute_dtype}

    def train_steps(state, batches, key):
        def one(state, batch):
            weights, state = schedules(state.step), _gathered(state, mesh, shard_params)
            state, metrics = update(model, optimizer, state, batch, key, weights, settings, **options)
            return jax.lax.with_sharding_constraint(state, where), metrics

        state, metrics = jax.lax.scan(one, state, batches)
        return state, jax.tree.map(lambda metric: metric[-1], metrics)

    compiled = jax.jit(
        train_steps,
        in_shardings=(where, stacked_by_row(mesh), everywhere),
        out_shardings=(where, everywhere),
        donate_argnums=0,
    )
    return CheckedStep(compiled, functools.partial(check_host_batch, model, stacked=True))


def _gathered(state: TrainState, mesh: Mesh, shard_params: bool) -> TrainState:
    """Return the state with whole parameters, so that no step of a recurrence waits for a piece of a kernel."""
    if not shard_params:
        return state
    return state._replace(params=jax.lax.with_sharding_constraint(state.params, replicated(mesh)))
