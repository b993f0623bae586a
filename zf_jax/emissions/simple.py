"""Emission heads with one component: Bernoulli, categorical and diagonal Gaussian."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from zf_jax import distributions
from zf_jax.distributions import Bounds, Gaussian, bound_log_std
from zf_jax.emissions.defaults import EmissionDefaults
from zf_jax.nn import chunked_softmax
from zf_jax.plain import make_plain
from zf_jax.protocols import Values
from zf_jax.typing import Array, Observation, Params


def only(present: Array | None, log_probs: Array) -> Array:
    """Return log-probabilities of elements, ``[..., D]``, with 0 for those that are not ``present``."""
    return log_probs if present is None else jnp.where(present, log_probs, 0.0)


@dataclasses.dataclass(frozen=True)
class Bernoulli(EmissionDefaults):
    """Independent Bernoulli elements: tokens of two classes (one logit) or binary frames (D logits)."""

    observation: Observation
    is_density = False
    scores_parts = True

    def __post_init__(self):
        if self.observation.kind == "tokens" and self.observation.size != 2:
            raise ValueError(
                f"a bernoulli emission needs tokens of 2 classes or frames, not {self.observation.size} classes; "
                "use the categorical emission"
            )

    @property
    def outputs(self) -> dict[str, int]:
        """Return the size of each parameter of the distribution."""
        return {"logits": 1 if self.observation.kind == "tokens" else self.observation.size}

    def outside(self, x: Array) -> Array:
        """Return which elements are neither 0 nor 1, of numpy or jax arrays."""
        return (x != 0) & (x != 1)

    def log_prob(self, values: Values, x: Array, present: Array | None = None) -> Array:
        """Return log p(x), nats: ``[...]``, summed over a frame's dimensions, or those that are ``present``."""
        x = x[..., None] if self.observation.kind == "tokens" else x
        return jnp.sum(only(present, distributions.bernoulli_log_prob(values["logits"], x)), axis=-1)

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Draw the noise of one sample for each element of ``shape``: uniform on [0, 1)."""
        return jax.random.uniform(key, (*shape, *self.outputs.values()), jnp.result_type(float))

    def sample(self, values: Values, noise: Array) -> Array:
        """Draw x: int32 tokens ``[...]`` or 0/1 frames ``[..., D]``."""
        ones = noise < jax.nn.sigmoid(values["logits"])
        return ones[..., 0].astype(jnp.int32) if self.observation.kind == "tokens" else ones.astype(noise.dtype)

    def tempered(self, values: Values, noise: Any, temperature: Array | float) -> tuple[Values, Any]:
        """Return parameters and noise at a temperature: the logits divided by it."""
        return {"logits": values["logits"] / temperature}, noise

    def mean(self, values: Values) -> Array:
        """Return E[x], the probability of a one: ``[...]`` or ``[..., D]``."""
        probability = jax.nn.sigmoid(values["logits"])
        return probability[..., 0] if self.observation.kind == "tokens" else probability

    def likeliest(self, values: Values) -> Array:
        """Return the likelier values: int32 tokens ``[...]`` or 0/1 frames ``[..., D]``."""
        mean = self.mean(values)
        return (mean > 0.5).astype(jnp.int32 if self.observation.kind == "tokens" else mean.dtype)


@dataclasses.dataclass(frozen=True)
class Categorical(EmissionDefaults):
    """One of C classes: words, or pixels of many levels."""

    observation: Observation
    is_density = False

    def __post_init__(self):
        if self.observation.kind != "tokens":
            raise ValueError("a categorical emission needs tokens, not frames; use bernoulli or gaussian")

    @property
    def outputs(self) -> dict[str, int]:
        """Return the size of each parameter of the distribution."""
        return {"logits": self.observation.size}

    def log_prob(self, values: Values, x: Array) -> Array:
        """Return log p(x), nats: ``[...]``."""
        return distributions.categorical_log_prob(values["logits"], x)

    def log_prob_from_hidden(self, params: Params, hidden: Array, x: Array) -> Array:
        """Return log p(x) at each ``hidden`` ``[..., H]``, nats: ``[...]``, computing the softmax in chunks."""
        return chunked_softmax.categorical_log_prob(params["logits"], hidden, x)

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Draw the noise of one sample for each element of ``shape``: uniform on [0, 1)."""
        return jax.random.uniform(key, shape, jnp.result_type(float))

    def sample(self, values: Values, noise: Array) -> Array:
        """Draw x, int32 ``[...]``, by inverting the cumulative distribution at the noise."""
        # One random number a draw: over many words, a Gumbel for each costs more than the network.
        logits = values["logits"]
        ends = jnp.cumsum(jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True)), axis=-1)
        passed = jnp.sum(ends <= noise[..., None] * ends[..., -1:], axis=-1)
        return jnp.minimum(passed, logits.shape[-1] - 1).astype(jnp.int32)  # rounding may pass the last end

    def tempered(self, values: Values, noise: Any, temperature: Array | float) -> tuple[Values, Any]:
        """Return parameters and noise at a temperature: the logits divided by it."""
        return {"logits": values["logits"] / temperature}, noise

    def mean(self, values: Values) -> Array:
        """Return the probabilities of the classes, ``[..., C]``."""
        return jax.nn.softmax(values["logits"], axis=-1)


@dataclasses.dataclass(frozen=True)
class DiagonalGaussian(EmissionDefaults):
    """Independent Gaussian elements of a real frame; a density, so its log-probabilities may be positive."""

    observation: Observation
    log_std_bounds: Bounds = (-7.0, 5.0)
    is_density = True
    scores_parts = True

    def __post_init__(self):
        make_plain(self)
        if self.observation.kind != "frames":
            raise ValueError("a gaussian emission needs frames, not tokens; use bernoulli or categorical")

    @property
    def outputs(self) -> dict[str, int]:
        """Return the size of each parameter of the distribution."""
        return {"mean": self.observation.size, "log_std": self.observation.size}

    def _gaussian(self, values: Values) -> Gaussian:
        return Gaussian(values["mean"], bound_log_std(values["log_std"], self.log_std_bounds))

    def log_prob(self, values: Values, x: Array, present: Array | None = None) -> Array:
        """Return log p(x), nats: ``[...]``, summed over the frame's dimensions, or those that are ``present``."""
        return jnp.sum(only(present, distributions.gaussian_log_prob(self._gaussian(values), x)), axis=-1)

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Draw the noise of one sample for each element of ``shape``: standard normal."""
        return jax.random.normal(key, (*shape, self.observation.size), jnp.result_type(float))

    def sample(self, values: Values, noise: Array) -> Array:
        """Draw x ``[..., D]``."""
        return distributions.gaussian_sample(self._gaussian(values), noise)

    def tempered(self, values: Values, noise: Any, temperature: Array | float) -> tuple[Values, Any]:
        """Return parameters and noise at a temperature: the standard deviation times it."""
        return values, noise * temperature

    def mean(self, values: Values) -> Array:
        """Return E[x] ``[..., D]``."""
        return values["mean"]

    def small_scale_share(self, values: Values, threshold: float, x: Array) -> Array:
        """Return the share of a frame's standard deviations that are below ``threshold``: ``[...]``."""
        return jnp.mean(self._gaussian(values).log_std < math.log(threshold), axis=-1)
