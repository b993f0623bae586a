"""The border between configs and the library: a ConfigDict in, checked, dataclasses and pure functions out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from experiments.lib.cli import UserError
from zf_jax import schedules
from zf_jax.bounds.noise import seed_key
from zf_jax.checks import BatchError, check_batch
from zf_jax.data import DataSet, eval_batches, load
from zf_jax.densities import of
from zf_jax.density import Density
from zf_jax.evaluation.units import Units, units_of
from zf_jax.fitting.settings import AT_LEAST_ONE, AT_LEAST_ZERO, FitSettings
from zf_jax.memory import physical_memory
from zf_jax.models import Model
from zf_jax.objective.loss import trainable
from zf_jax.objective.settings import Objective
from zf_jax.runs.build import ConfigError, UnknownName
from zf_jax.runs.build import build_config_model as build_model_of
from zf_jax.sharding import check_batch_size, data_mesh, divided, rows_for
from zf_jax.training import (
    Schedules,
    TrainState,
    init_state,
    make_init,
    make_optimizer,
    make_train_step,
    make_train_steps,
)
from zf_jax.typing import Array, Batch

_OBJECTIVE = (
    "aux_gradient",
    "free_nats",
    "kl_balance",
    "word_dropout",
    "bag_of_words_weight",
    "bound",
    "num_samples",
    "doubly_reparametrised",
)


class Experiment(NamedTuple):
    """Everything a config stands for."""

    config: Any
    data: DataSet
    model: Any  # a Model or a Density
    optimizer: Any
    learning_rate: Any
    schedules: Schedules
    objective: Objective
    mesh: Mesh

    def train_step(self) -> Callable[[TrainState, Batch, Array], tuple[TrainState, dict[str, Array]]]:
        """Compile one update, ``(state, batch, key) -> (state, metrics)``."""
        return make_train_step(*self._parts)

    def train_steps(self) -> Callable[[TrainState, Batch, Array], tuple[TrainState, dict[str, Array]]]:
        """Compile several updates into one call, ``(state, batches, key) -> (state, metrics)``."""
        return make_train_steps(*self._parts)

    @property
    def _parts(self) -> tuple[Any, ...]:
        train = self.config.train
        parts = self.model, self.optimizer, self.mesh, self.schedules, self.objective
        how = train.accumulate, train.remat, self.config.compute_dtype, self.config.parallel.shard_params
        return (*parts, *how)

    def fit_settings(self) -> FitSettings:
        """The numbers of the training loop."""
        return fit_settings(self.config)


def build(config: Any, *, any_batch_size: bool = False) -> Experiment:
    """Check the config and build what it names; ``any_batch_size`` where nothing will be trained.

    Raises:
      UserError: a value that makes no sense; nothing was written yet.
      DataError: the data are missing or damaged.
    """
    check(config)
    data_options = {k: v for k, v in config.data.items() if k not in ("name", "dir")}
    data = load(config.data.name, data_dir=config.data.dir or None, **data_options)
    mesh = data_mesh()
    if not any_batch_size:
        _need_valid(data)
    try:
        if not any_batch_size:
            check_batch_size(config.train.batch_size, mesh, config.train.accumulate)
        model = build_config_model(config, data)
        objective = build_objective(config, data)
        model = trainable(model, objective)
        kl_temperature = build_kl_temperature(config)
        rate = schedules.learning_rate(
            config.train.learning_rate, warmup_steps=config.train.warmup_steps, decay_steps=config.train.decay_steps
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    if config.data.name == "arrays" and config.model.emission not in ("", data.default_emission):
        _check_values(model, data)
    weights = Schedules(
        kl_temperature=kl_temperature,
        aux_weight=build_ramp(config, "aux_weight"),
        reverse_weight=build_ramp(config, "reverse_weight"),
    )
    optimizer = make_optimizer(rate, config.train.clip_norm, config.train.ema_decay)
    return Experiment(config, data, model, optimizer, rate, weights, objective, mesh)


def _check_values(model: Model | Density, data: DataSet) -> None:
    """Refuse numbers that another emission than the data's own cannot score, in any split, before the training."""
    for name, source in data.splits.items():
        for indices, batch in eval_batches(source, batch_size=256):
            try:
                check_batch(model, batch)
            except BatchError as error:
                raise UserError(f"sequence {indices[error.index[0]]} of the {name} split: {error}") from None


def _need_valid(data: DataSet) -> None:
    if "valid" not in data.splits:
        raise UserError(
            f"training needs a split 'valid' to validate on, and {data.name} has only "
            f"{', '.join(sorted(data.splits))}: mark some sequences valid in the split of the npz file, or write the "
            "file without split to have a share drawn; a loader of your own must return that split"
        )


def fit_settings(config: Any) -> FitSettings:
    """The numbers of the training loop, checked."""
    names = [field.name for field in dataclasses.fields(FitSettings) if field.name != "compute_dtype"]
    return FitSettings(compute_dtype=config.compute_dtype, **{name: config.train[name] for name in names})


def build_config_model(config: Any, data: DataSet) -> Model | Density:
    """The model or density a config names, for its data; what is wrong with it is a ``UserError``."""
    try:
        return build_model_of(config.model.to_dict(), data)
    except ValueError as error:
        raise in_flags(error) from error


def in_flags(error: ValueError) -> UserError:
    """What is wrong with a config, in the words of the command line."""
    if isinstance(error, UnknownName):
        own = f"or pass the config file that registers your own {error.kind}, with --config=FILE"
        return UserError(f"config.{error.field} {error.choices}; {own}")
    return UserError(f"config.{error}" if isinstance(error, ConfigError) else str(error))


def prepared(experiment: Experiment, params: Any) -> Any:
    """Return parameters as an evaluation takes them; what that draws, such as orderings, is of the config's seed."""
    return of(experiment.model).prepare(params, seed_key(experiment.config.seed, "evaluation"))


def build_objective(config: Any, data: DataSet) -> Objective:
    """The settings of the objective that do not change during training."""
    options = {name: config.objective[name] for name in _OBJECTIVE}
    unknown = data.vocabulary.index("<unk>") if data.vocabulary is not None else None
    return Objective(**options, unknown_word=unknown)


def build_kl_temperature(config: Any) -> Any:
    """The KL's weight as a function of the step."""
    settings = config.objective
    start, end, steps = settings.kl_temperature_start, settings.kl_temperature, settings.kl_temperature_steps
    if settings.kl_temperature_cycles == 1:
        return schedules.linear_ramp(start, end, steps)
    return schedules.cyclical_ramp(start, end, steps, settings.kl_temperature_cycles)


def build_ramp(config: Any, name: str) -> Any:
    """The weight called ``name``, alpha or beta, as a function of the step."""
    settings = config.objective
    return schedules.linear_ramp(settings[f"{name}_start"], settings[name], settings[f"{name}_steps"])


def check_memory(experiment: Experiment) -> None:
    """Refuse a model whose parameters and optimiser state are larger than a device's memory, before they are made."""
    shapes = jax.eval_shape(lambda: init_state(experiment.model, experiment.optimizer, jax.random.key(0)))
    if experiment.config.parallel.shard_params:
        where = divided(shapes, experiment.mesh)
        shapes = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(s.shard_shape(x.shape), x.dtype), shapes, where)
    needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    device = experiment.mesh.local_devices[0]
    found = (device.memory_stats() or {}).get("bytes_limit")
    there = found or physical_memory()
    if needed > there:
        raise UserError(
            f"parameters and optimiser state take {needed:,} bytes, and a device has {there:,}: choose smaller sizes"
        )


def initial_state(experiment: Experiment, *, whole: bool = False) -> TrainState:
    """Return the state before the first update, on every device; divided among them as the config says.

    Args:
      whole: do not divide it, whatever the config says.

    Raises:
      UserError: it is larger than the memory; nothing was allocated.
    """
    check_memory(experiment)
    shard_params = experiment.config.parallel.shard_params and not whole
    make = make_init(experiment.model, experiment.optimizer, experiment.mesh, shard_params)
    return make(seed_key(experiment.config.seed))


def units(experiment: Experiment) -> Units:
    """Return how this experiment's log-likelihoods are reported."""
    return units_of(experiment.data, experiment.model)


def eval_batch_size(experiment: Experiment) -> int:
    """The configured size, rounded up so that the devices can share it."""
    return rows_for(experiment.config.train.eval_batch_size, experiment.mesh)


def check(config: Any) -> None:
    """Refuse values that make no sense, each with a sentence of its own."""
    train = config.train
    for name in AT_LEAST_ONE:
        if train[name] < 1:
            raise UserError(f"config.train.{name} must be at least 1, not {train[name]}")
    for name in ("warmup_steps", "decay_steps", *AT_LEAST_ZERO):
        if train[name] < 0:
            raise UserError(f"config.train.{name} must not be negative, and is {train[name]}")
    for name in ("learning_rate", "clip_norm"):
        if not (math.isfinite(train[name]) and train[name] > 0):
            raise UserError(f"config.train.{name} must be a finite number above 0, not {train[name]}")
    if not 0 <= train.ema_decay < 1:
        raise UserError(f"config.train.ema_decay must be at least 0 and below 1, not {train.ema_decay}")
    try:
        fit_settings(config)
    except ValueError as error:
        field = str(error) if str(error).startswith("compute_dtype") else f"train.{error}"
        raise UserError(f"config.{field}") from error
    for name, value in config.objective.items():
        if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
            raise UserError(f"config.objective.{name} must be a finite number of at least 0, not {value}")
    for name in ("aux_weight_steps", "reverse_weight_steps"):
        if config.objective[name] < 0:
            raise UserError(f"config.objective.{name} must be at least 0, not {config.objective[name]}")
    if config.objective.kl_temperature_steps < 0 or config.objective.kl_temperature_cycles < 1:
        raise UserError("config.objective.kl_temperature_steps must be at least 0 and kl_temperature_cycles at least 1")
    if not 0 <= config.seed < 2**32:
        raise UserError(f"config.seed must be between 0 and 4294967295, not {config.seed}")
