"""Count a model's parameters, and choose sizes so that models have equal counts."""

from __future__ import annotations

import copy
import math
from typing import Any

import jax

from experiments.lib.cli import UserError
from experiments.lib.experiment import build_config_model, build_objective
from zf_jax.data import DataSet
from zf_jax.objective.loss import trainable


def parameter_count(model: Any) -> int:
    """Return the number of trained scalars of a model."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def match(config: Any, data: DataSet, target: int) -> Any:
    """Return a copy of the config with the rnn_dim whose parameter count is nearest to ``target``.

    Raises:
      UserError: the model has no rnn_dim.
    """

    def count(size: int) -> int:
        trial = copy.deepcopy(config)
        trial.model.rnn_dim = size
        return parameter_count(trainable(build_config_model(trial, data), build_objective(trial, data)))

    low, high = 1, 2
    if count(low) == count(high):
        raise UserError(f"the model {config.model.name!r} has no rnn_dim, so parameter counts cannot be matched")
    while count(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target else (low, middle)
    matched = copy.deepcopy(config)
    matched.model.rnn_dim = min((low, high), key=lambda size: abs(count(size) - target))
    return matched
