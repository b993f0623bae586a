"""Stochastic recurrent networks in JAX: Z-Forcing and its siblings, their bounds, and how they are trained."""

from zf_jax.averaging import with_average
from zf_jax.batch import batch_of
from zf_jax.bounds import elbo, iwae, particle_bound, step_terms
from zf_jax.context import context_of
from zf_jax.densities import DENSITIES, build_density
from zf_jax.density import Density
from zf_jax.emissions import EMISSIONS, build_emission
from zf_jax.evaluation import Totals, Units, evaluate, evaluate_split, make_eval_step, summarise, units_of
from zf_jax.evaluation.latents import inspect
from zf_jax.fitting.fit import fit
from zf_jax.fitting.hooks import Report
from zf_jax.fitting.result import Fitted
from zf_jax.fitting.settings import FitSettings
from zf_jax.generation import continue_prefix, reconstruct, sample
from zf_jax.generation.imputation import impute
from zf_jax.models import MODELS, Model, build_model
from zf_jax.objective import Objective, Weights, loss_and_metrics
from zf_jax.runs.open import open_run
from zf_jax.runs.run import Run
from zf_jax.training import (
    Schedules,
    TrainState,
    evaluated_params,
    init_state,
    make_optimizer,
    make_train_step,
    make_train_steps,
    update,
)
from zf_jax.typing import Batch, Observation, StepTerms

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022, grouped as one reads them
    # data
    "Batch",
    "Observation",
    "batch_of",
    "context_of",
    # models, densities and emissions
    "DENSITIES",
    "EMISSIONS",
    "MODELS",
    "Density",
    "Model",
    "build_density",
    "build_emission",
    "build_model",
    # bounds
    "StepTerms",
    "elbo",
    "iwae",
    "particle_bound",
    "step_terms",
    # training
    "FitSettings",
    "Fitted",
    "Objective",
    "Report",
    "Schedules",
    "TrainState",
    "Weights",
    "evaluated_params",
    "fit",
    "init_state",
    "loss_and_metrics",
    "make_optimizer",
    "make_train_step",
    "make_train_steps",
    "update",
    "with_average",
    # evaluation
    "Totals",
    "Units",
    "evaluate",
    "evaluate_split",
    "inspect",
    "make_eval_step",
    "summarise",
    "units_of",
    # runs
    "Run",
    "open_run",
    # generation
    "continue_prefix",
    "impute",
    "reconstruct",
    "sample",
]
