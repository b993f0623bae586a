"""Emission heads: the distribution of one element of a sequence, given a hidden state.

A head states which parameters the network must provide (``outputs``), how to score and draw from them, and whether its
log-probabilities are log-densities (``is_density``), which change with the unit of the data: see
``zf_jax.protocols.Emission``.  ``init_emission``, ``emission_values`` and ``emission_log_prob`` connect any head to any
hidden state.  The same heads serve for the prediction of y_t from h_t and for the reverse prediction of u_t from b_t,
eq. (10).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from zf_jax.distributions import Bounds
from zf_jax.emissions.autoregressive import MADE, NADE
from zf_jax.emissions.defaults import EmissionDefaults, check_emission, member
from zf_jax.emissions.mixtures import DiscretisedLogistics, GaussianMixture
from zf_jax.emissions.simple import Bernoulli, Categorical, DiagonalGaussian
from zf_jax.nn.layers import clipped_leaky_relu, init_linear, linear
from zf_jax.protocols import Emission, Values
from zf_jax.typing import Array, Observation, Params, is_observed, without_missing

EMISSIONS: dict[str, Any] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "gaussian": DiagonalGaussian,
    "gmm": GaussianMixture,
    "dmol": DiscretisedLogistics,
    "nade": NADE,
    "made": MADE,
}


def build_emission(emission: Any, observation: Observation, **options: Any) -> Emission:
    """Build an emission head; options that the head does not have are ignored.

    Args:
      emission: a name of ``EMISSIONS``; or a head, which is checked and returned unchanged, so that a model can get a
        head of the user's own, or one with options: ``build_emission("dmol", observation, step=1 / std)``.  ``"nade"``
        and ``"made"`` are autoregressive over the dimensions of a binary frame; ``"nade:gmm"``, ``"nade:dmol"``,
        ``"made:gmm"`` and ``"made:dmol"`` over the dimensions of a real frame.

    Raises:
      ValueError: the name is unknown, the head does not fit the observation, or an object lacks a member of
        ``zf_jax.protocols.Emission``.
    """
    if isinstance(emission, str):
        emission = _by_name(emission, observation, options)
    elif isinstance(emission, type):
        raise ValueError(f"emission must be a name or a head, not a class: {emission.__name__}(observation) is a head")
    check_emission(emission)
    if emission.observation != observation:
        raise ValueError(f"the emission is for {emission.observation}, and the model for {observation}")
    return emission


def _by_name(name: str, observation: Observation, options: dict[str, Any]) -> Any:
    kind, _, conditional = name.partition(":")
    head = EMISSIONS.get(kind)
    known = {field.name for field in dataclasses.fields(head)} if head else set()
    if head is None or (conditional and "conditional" not in known):
        raise ValueError(f"unknown emission {name!r}; choose one of {', '.join(sorted(EMISSIONS))}, or give a head")
    if "conditional" in known:  # autoregressive over the dimensions of a frame
        conditional = conditional or "bernoulli"
        if conditional not in ("bernoulli", "gmm", "dmol"):
            raise ValueError(f"{kind} is over 'bernoulli', 'gmm' or 'dmol' dimensions, not {conditional!r}")
        options = options | {"conditional": _by_name(conditional, observation, options | {"per_dimension": True})}
    return head(observation=observation, **{k: v for k, v in options.items() if k in known})


def log_std_bounds_of(emission: Any) -> Bounds | None:
    """Return the bounds of a head's scales, or of its conditional's; None also if the head has no such field."""
    if hasattr(emission, "conditional"):
        return log_std_bounds_of(emission.conditional)
    return getattr(emission, "log_std_bounds", None)


def with_log_std_bounds(emission: Any, bounds: Bounds) -> Any:
    """Return a head with other bounds of its scales, or of its conditional's; the head itself if it has no such field.

    A head without such a field is not refused: a config has these bounds whatever its emission is.
    """
    if hasattr(emission, "conditional"):
        conditional = with_log_std_bounds(emission.conditional, bounds)
        same = conditional is emission.conditional
        return emission if same else dataclasses.replace(emission, conditional=conditional)
    if not hasattr(emission, "log_std_bounds") or emission.log_std_bounds == bounds:
        return emission
    return dataclasses.replace(emission, log_std_bounds=bounds)


def init_emission(key: Array, emission: Emission, inputs: int, hidden_layers: tuple[int, ...] = ()) -> Params:
    """Initialise a head over a hidden state of size ``inputs``, with hidden layers first if there are any."""
    params: Params = {}
    for index, size in enumerate(hidden_layers):
        params[f"hidden_{index}"] = init_linear(jax.random.fold_in(key, 100 + index), inputs, size)
        inputs = size
    return params | member(emission, "init_parameters")(key, inputs)


def emission_values(params: Params, emission: Emission, hidden: Array) -> dict[str, Any]:
    """Compute the parameters of the distribution at each ``hidden`` ``[..., H]``: a dict of ``[..., size]``.

    For an autoregressive head the dict also holds the kernels of the head, which are shared by all elements.
    """
    return member(emission, "values_from_hidden")(params, _through_hidden_layers(params, hidden))


def emission_log_prob(params: Params, emission: Emission, hidden: Array, x: Array) -> Array:
    """Return log p(x) at each ``hidden`` ``[..., H]``, nats: ``[...]``.

    If elements of ``x`` may be missing, the result is the log-probability of those that are not, 0 if all are.  A head
    that cannot leave out single dimensions gives NaN for a frame of which some are missing.
    """
    hidden = _through_hidden_layers(params, hidden)
    if not emission.observation.missing:
        return member(emission, "log_prob_from_hidden")(params, hidden, x)
    present, x = is_observed(x), without_missing(x)
    whole = member(emission, "log_prob_from_hidden")
    if emission.observation.kind == "tokens":
        return jnp.where(present, whole(params, hidden, x), 0.0)
    if member(emission, "scores_parts"):
        score: Any = emission.log_prob
        log_prob = score(member(emission, "values_from_hidden")(params, hidden), x, present)
    else:
        log_prob = jnp.where(jnp.all(present, axis=-1), whole(params, hidden, x), jnp.nan)
    return jnp.where(jnp.any(present, axis=-1), log_prob, 0.0)


def draw_missing(emission: Emission, values: Values, noise: Any, x: Array) -> Array:
    """Return ``x`` with its missing elements drawn, given the others of the same frame: ``[...]`` or ``[..., D]``."""
    present, x = is_observed(x), without_missing(x)
    drawn = emission.sample(member(emission, "given")(values, x, present), noise)
    return jnp.where(present, x.astype(drawn.dtype), drawn)


def _through_hidden_layers(params: Params, hidden: Array) -> Array:
    index = 0
    while f"hidden_{index}" in params:
        hidden = clipped_leaky_relu(linear(params[f"hidden_{index}"], hidden))
        index += 1
    return hidden


__all__ = [
    "EMISSIONS",
    "MADE",
    "NADE",
    "Bernoulli",
    "Categorical",
    "DiagonalGaussian",
    "DiscretisedLogistics",
    "EmissionDefaults",
    "GaussianMixture",
    "build_emission",
    "draw_missing",
    "emission_log_prob",
    "emission_values",
    "init_emission",
    "log_std_bounds_of",
    "member",
    "with_log_std_bounds",
]
