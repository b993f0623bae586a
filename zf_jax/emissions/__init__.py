"""Emission heads: the distribution of one element of a sequence, given a hidden state.

A head is a frozen dataclass that states which parameters the network must provide (``outputs``), how to score and draw
from them, and whether its log-probabilities are log-densities (``is_density``), which change with the unit of the data.
``init_emission`` and ``emission_values`` connect any head to any hidden state.  The same heads serve for the
prediction of y_t from h_t and for the reverse prediction of u_t from b_t, eq. (10).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from zf_jax.emissions.autoregressive import MADE, NADE
from zf_jax.emissions.mixtures import DiscretisedLogistics, GaussianMixture
from zf_jax.emissions.simple import Bernoulli, Categorical, DiagonalGaussian, Values
from zf_jax.nn import chunked_softmax
from zf_jax.nn.layers import clipped_leaky_relu, init_linear, linear
from zf_jax.typing import Array, Observation, Params

EMISSIONS = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "gaussian": DiagonalGaussian,
    "gmm": GaussianMixture,
    "dmol": DiscretisedLogistics,
    "nade": NADE,
    "made": MADE,
}


def build_emission(name: Any, observation: Observation, **options: Any):
    """Build the emission head called ``name``; options that the head does not have are ignored.

    ``"nade"`` and ``"made"`` are autoregressive over the dimensions of a binary frame; ``"nade:gmm"``, ``"nade:dmol"``,
    ``"made:gmm"`` and ``"made:dmol"`` over the dimensions of a real frame.

    If ``name`` is a head already, return it unchanged.  A model can so get a head with options:
    ``build_model("vrnn", observation, emission=build_emission("dmol", observation, step=1 / std, zero=-mean / std))``.

    Raises:
      ValueError: the name is unknown, or the head does not fit the observation.
    """
    if isinstance(name, tuple(EMISSIONS.values())):
        if name.observation != observation:
            raise ValueError(f"the emission is for {name.observation}, and the model for {observation}")
        return name
    kind, _, conditional = str(name).partition(":")
    head = EMISSIONS.get(kind)
    if head is None or (conditional and not issubclass(head, NADE)):
        raise ValueError(f"unknown emission {name!r}; choose one of {', '.join(sorted(EMISSIONS))}")
    if issubclass(head, NADE):
        conditional = conditional or "bernoulli"
        if conditional not in ("bernoulli", "gmm", "dmol"):
            raise ValueError(f"{kind} is over 'bernoulli', 'gmm' or 'dmol' dimensions, not {conditional!r}")
        options["conditional"] = build_emission(conditional, observation, **options | {"per_dimension": True})
    known = {field.name for field in dataclasses.fields(head)}
    return head(observation=observation, **{k: v for k, v in options.items() if k in known})


def init_emission(key: Array, emission: Any, inputs: int, hidden_layers: tuple[int, ...] = ()) -> Params:
    """Initialise a head over a hidden state of size ``inputs``: linear, or with hidden layers first."""
    params: Params = {}
    for index, size in enumerate(hidden_layers):
        params[f"hidden_{index}"] = init_linear(jax.random.fold_in(key, 100 + index), inputs, size)
        inputs = size
    for index, (name, size) in enumerate(emission.outputs.items()):
        params[name] = init_linear(jax.random.fold_in(key, index), inputs, size)
    if isinstance(emission, NADE):
        params["kernels"] = emission.init_kernels(jax.random.fold_in(key, 99))
    return params


def emission_values(params: Params, emission: Any, hidden: Array) -> Values:
    """Compute the parameters of the distribution at each ``hidden`` ``[..., H]``: a dict of ``[..., size]``.

    For an autoregressive head the dict also holds the kernels of the head, which are shared by all elements.
    """
    hidden = _through_hidden_layers(params, hidden)
    values = {name: linear(params[name], hidden) for name in emission.outputs}
    return values | ({"kernels": params["kernels"]} if "kernels" in params else {})


def emission_log_prob(params: Params, emission: Any, hidden: Array, x: Array) -> Array:
    """Return log p(x) at each ``hidden`` ``[..., H]``, nats: ``[...]``; a softmax is computed in chunks."""
    if isinstance(emission, Categorical):
        return chunked_softmax.categorical_log_prob(params["logits"], _through_hidden_layers(params, hidden), x)
    return emission.log_prob(emission_values(params, emission, hidden), x)


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
    "GaussianMixture",
    "build_emission",
    "emission_log_prob",
    "emission_values",
    "init_emission",
]
