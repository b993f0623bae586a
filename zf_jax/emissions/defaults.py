"""The optional members of an emission head, and what stands in for those that a head does not have."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp

from zf_jax.nn.layers import init_linear, linear
from zf_jax.protocols import Emission, Values
from zf_jax.typing import Array, Params


class EmissionDefaults:
    """Defaults of the optional members of an ``Emission``; a head that inherits nothing has the same defaults.

    Attributes:
      levels: the number of integers of a distribution over an integer grid; None for other distributions.
      step: one integer step in the units of the targets; None for other distributions.
      scores_parts: whether ``log_prob`` takes a third argument ``present``, ``[..., D]``, and scores those dimensions
        alone; otherwise a frame is missing whole or not at all.
    """

    levels: Any = None
    step: Any = None
    scores_parts: Any = False

    def init_parameters(self: Any, key: Array, inputs: int) -> Params:
        """Draw the parameters that lead from a hidden state of size ``inputs`` to the outputs: a layer for each."""
        return {
            name: init_linear(jax.random.fold_in(key, index), inputs, size)
            for index, (name, size) in enumerate(self.outputs.items())
        }

    def values_from_hidden(self: Any, params: Params, hidden: Array) -> dict[str, Any]:
        """Compute the parameters of the distribution at each ``hidden`` ``[..., H]``: a dict of ``[..., size]``."""
        return {name: linear(params[name], hidden) for name in self.outputs}

    def log_prob_from_hidden(self: Any, params: Params, hidden: Array, x: Array) -> Array:
        """Return log p(x) at each ``hidden`` ``[..., H]``, nats: ``[...]``; where the values need not be stored."""
        return self.log_prob(member(self, "values_from_hidden")(params, hidden), x)

    def likeliest(self: Any, values: Values) -> Array:
        """Return the element that greedy decoding takes: the likeliest token, or the mean of a frame."""
        mean = self.mean(values)
        if self.observation.kind == "frames":
            return mean
        one_number = mean.ndim < values[next(iter(self.outputs))].ndim
        return (mean > 0.5 if one_number else jnp.argmax(mean, axis=-1)).astype(jnp.int32)

    def outside(self, x: Any) -> Any:
        """Return which elements of a frame are outside the support, of numpy or jax arrays: ``[..., D]``."""
        return x != x

    def given(self, values: Values, x: Array, present: Array) -> Values:
        """Return the parameters of the other dimensions' distribution, given those of ``x`` that are ``present``."""
        return values

    def tempered(self, values: Values, noise: Any, temperature: Array | float) -> tuple[Values, Any]:
        """Return parameters and noise at a temperature, for ``sample``; this default raises ``ValueError``."""
        raise ValueError(f"the {type(self).__name__} emission has no temperature: leave it out")

    def small_scale_share(self: Any, values: Values, threshold: float, x: Array) -> Array | None:
        """Return the share of a frame's scales that are below ``threshold``, ``[...]``; None if there are none."""
        return None


REQUIRED = ("observation", "is_density", "outputs", "log_prob", "noise", "sample", "mean")


def member(emission: Emission, name: str) -> Any:
    """Return an optional member of a head: the head's own, or the default."""
    own = getattr(emission, name, None)
    if own is not None:
        return own
    default = getattr(EmissionDefaults, name)
    return default.__get__(emission) if callable(default) else default


def check_emission(emission: Any) -> None:
    """Raise ``ValueError`` if an object lacks what an ``Emission`` must have."""
    head = type(emission).__name__
    for name in REQUIRED:
        is_method = callable(getattr(Emission, name))
        found = getattr(emission, name, None)
        if found is None or (is_method and not callable(found)):
            kind = "method" if is_method else "attribute"
            raise ValueError(f"the emission {head} has no {kind} {name!r}: zf_jax.protocols.Emission says what it is")
    sizes = emission.outputs
    whole = hasattr(sizes, "items") and all(isinstance(n, Integral) and int(n) > 0 for n in sizes.values())
    if not whole or not sizes:
        raise ValueError(f"the outputs of the emission {head} must be sizes by name, as {{'mean': 3}}, not {sizes!r}")
