"""Emission heads: the distribution of one element of a sequence, read linearly off a hidden state.

A head is a small frozen record that knows the parameters it needs from the network (``outputs``), what they mean, and
whether its log-probabilities are those of a density (``is_density``), which change with the unit of the data, or of
something discrete.  ``init_emission`` and ``emission_values`` connect any head to any hidden state; the same heads
serve for the prediction of y_t from h_t and for the reverse prediction of u_t from b_t, eq. (10).
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
    """The emission head called ``name``; options it has no use for are left aside.

    ``"nade"`` and ``"made"`` are autoregressive over the dimensions of a binary frame; ``"nade:gmm"`` and
    ``"nade:dmol"``, and so ``"made:gmm"`` and ``"made:dmol"``, over those of a real one.

    A head that is built already is given back as it is: that is how a model gets one with options of its own,
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
    """Parameters of a head over a hidden state of size ``inputs``: linear, or with hidden layers first."""
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
    """The distribution's parameters at each ``hidden`` ``[..., H]``: a dict of ``[..., size]``.

    An autoregressive head's have its kernels beside them, which are the same everywhere.
    """
    hidden = _through_hidden_layers(params, hidden)
    values = {name: linear(params[name], hidden) for name in emission.outputs}
    return values | ({"kernels": params["kernels"]} if "kernels" in params else {})


def emission_log_prob(params: Params, emission: Any, hidden: Array, x: Array) -> Array:
    """log p(x) at each ``hidden`` ``[..., H]``, nats: ``[...]``; the logits of a softmax never exist all at once."""
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
