"""The training objective: settings, loss and metrics, word dropout, the bag-of-words auxiliary cost."""

from __future__ import annotations

from zf_jax.objective.loss import (
    Trajectory,
    kl_cost,
    loss_and_metrics,
    objective,
    objective_terms,
    sequence_mean,
    trainable,
    trajectory,
)
from zf_jax.objective.settings import Objective, Weights
from zf_jax.objective.word_dropout import drop_words

__all__ = [
    "Objective",
    "Trajectory",
    "Weights",
    "drop_words",
    "kl_cost",
    "loss_and_metrics",
    "objective",
    "objective_terms",
    "sequence_mean",
    "trainable",
    "trajectory",
]
