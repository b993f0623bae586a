"""Evaluation: bounds over a split, units, standard errors, baselines, and diagnostics of the latents."""

from __future__ import annotations

from zf_jax.evaluation.scoring import evaluate, evaluate_split, make_eval_step
from zf_jax.evaluation.statistics import Totals
from zf_jax.evaluation.units import Units, summarise, units_of

__all__ = ["Totals", "Units", "evaluate", "evaluate_split", "make_eval_step", "summarise", "units_of"]
