"""Sequences out of a model: samples, reconstructions, continuations, interpolations, what is missing."""

from zf_jax.generation.continuing import continue_prefix
from zf_jax.generation.imputation import impute
from zf_jax.generation.interpolation import interpolate
from zf_jax.generation.sampling import reconstruct, sample
from zf_jax.generation.steps import Carry, Generated

__all__ = ["Carry", "Generated", "continue_prefix", "impute", "interpolate", "reconstruct", "sample"]
