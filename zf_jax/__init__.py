"""Stochastic recurrent networks in JAX: Z-Forcing and its siblings, their bounds, and how they are trained."""

from zf_jax.bounds.importance import elbo, iwae, step_terms
from zf_jax.emissions import build_emission
from zf_jax.generation import continue_prefix, reconstruct, sample
from zf_jax.models import build_model
from zf_jax.objective.loss import loss_and_metrics
from zf_jax.objective.settings import Objective, Weights
from zf_jax.training import TrainState, init_state, make_optimizer, update
from zf_jax.typing import Batch, Observation, StepTerms

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Objective",
    "Observation",
    "StepTerms",
    "TrainState",
    "Weights",
    "build_emission",
    "build_model",
    "continue_prefix",
    "elbo",
    "init_state",
    "iwae",
    "loss_and_metrics",
    "make_optimizer",
    "reconstruct",
    "sample",
    "step_terms",
    "update",
]
