"""Emission heads with several components: Gaussian mixtures, discretised logistic mixtures for integer audio."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp

from zf_jax import distributions
from zf_jax.checks import check_counts
from zf_jax.distributions import Bounds, Gaussian, bound_log_std
from zf_jax.emissions.defaults import EmissionDefaults
from zf_jax.emissions.simple import only
from zf_jax.plain import make_plain
from zf_jax.protocols import Values
from zf_jax.typing import Array, Observation


@dataclasses.dataclass(frozen=True)
class GaussianMixture(EmissionDefaults):
    """A mixture of diagonal Gaussians over a real frame (RNN-GMM, VRNN-GMM); a density.

    Attributes:
      num_components: C.
      per_dimension: whether each dimension chooses a component of its own; otherwise the whole frame chooses one, and
        the dimensions depend on each other through the choice.
      log_std_bounds: smooth bounds of every component's log standard deviation (rule A5).
    """

    observation: Observation
    num_components: int = 20
    per_dimension: bool = False
    log_std_bounds: Bounds = (-7.0, 5.0)
    is_density = True
    scores_parts = True

    def __post_init__(self):
        make_plain(self)
        if self.observation.kind != "frames":
            raise ValueError("a gmm emission needs frames, not tokens; use bernoulli or categorical")
        check_counts(num_components=self.num_components)

    @property
    def outputs(self) -> dict[str, int]:
        """Return the size of each parameter of the distribution."""
        size, count = self.observation.size, self.num_components
        return {"logits": size * count if self.per_dimension else count, "mean": size * count, "log_std": size * count}

    def _mixture(self, values: Values) -> tuple[Array, Gaussian]:
        """Return log-weights ``[..., C]``, or ``[..., D, C]`` per dimension, and components ``[..., D, C]``."""
        shape = (self.observation.size, self.num_components)
        logits, mean, log_std = (values[name] for name in ("logits", "mean", "log_std"))
        logits = logits.reshape(*logits.shape[:-1], *shape[0 if self.per_dimension else 1 :])
        mean, log_std = (x.reshape(*x.shape[:-1], *shape) for x in (mean, log_std))
        return jax.nn.log_softmax(logits, axis=-1), Gaussian(mean, bound_log_std(log_std, self.log_std_bounds))

    def log_prob(self, values: Values, x: Array, present: Array | None = None) -> Array:
        """Return log p(x), nats: ``[...]``, or of the dimensions that are ``present``, the others integrated out."""
        log_weights, components = self._mixture(values)
        # Components are diagonal, so that a dimension is integrated out by leaving the dimension out of each.
        log_probs = distributions.gaussian_log_prob(components, x[..., None])
        log_probs = only(None if present is None else present[..., None], log_probs)
        if self.per_dimension:
            return jnp.sum(jax.nn.logsumexp(log_weights + log_probs, axis=-1), axis=-1)
        return jax.nn.logsumexp(log_weights + jnp.sum(log_probs, axis=-2), axis=-1)

    def noise(self, key: Array, shape: tuple[int, ...]) -> dict[str, Array]:
        """Draw the noise of one sample for each element of ``shape``: Gumbels for components, normals for values."""
        key_choice, key_value = jax.random.split(key)
        size, dtype = self.observation.size, jnp.result_type(float)
        choices = (size, self.num_components) if self.per_dimension else (self.num_components,)
        return {
            "choice": jax.random.gumbel(key_choice, (*shape, *choices), dtype),
            "value": jax.random.normal(key_value, (*shape, size), dtype),
        }

    def sample(self, values: Values, noise: dict[str, Array]) -> Array:
        """Draw x ``[..., D]``."""
        log_weights, components = self._mixture(values)
        choice = jnp.argmax(log_weights + noise["choice"], axis=-1)[..., None]
        if not self.per_dimension:
            choice = jnp.broadcast_to(choice[..., None, :], (*components.mean.shape[:-1], 1))
        chosen = Gaussian(*(jnp.take_along_axis(x, choice, axis=-1)[..., 0] for x in components))
        return distributions.gaussian_sample(chosen, noise["value"])

    def given(self, values: Values, x: Array, present: Array) -> Values:
        """Return the parameters of the other dimensions' distribution given those of ``x`` that are ``present``."""
        if self.per_dimension:
            return values
        log_weights, components = self._mixture(values)
        log_probs = distributions.gaussian_log_prob(components, x[..., None])
        return dict(values) | {"logits": log_weights + jnp.sum(only(present[..., None], log_probs), axis=-2)}

    def tempered(self, values: Values, noise: Any, temperature: Array | float) -> tuple[Values, Any]:
        """Return parameters and noise at a temperature t: weights to the power 1 / t, standard deviations times t."""
        # argmax(log w + t g) is that of (log w) / t + g: both are done by the noise.
        return values, jax.tree.map(lambda n: n * temperature, noise)

    def mean(self, values: Values) -> Array:
        """Return E[x] ``[..., D]``."""
        log_weights, components = self._mixture(values)
        weights = jnp.exp(log_weights if self.per_dimension else log_weights[..., None, :])
        return jnp.sum(weights * components.mean, axis=-1)

    def small_scale_share(self, values: Values, threshold: float, x: Array) -> Array:
        """Return the weighted share of a frame's standard deviations that are below ``threshold``: ``[...]``."""
        log_weights, components = self._mixture(values)
        weights = jnp.exp(log_weights if self.per_dimension else log_weights[..., None, :])
        below = jnp.where(components.log_std < math.log(threshold), weights, 0.0)
        return jnp.mean(jnp.sum(below, axis=-1), axis=-1)


@dataclasses.dataclass(frozen=True)
class DiscretisedLogistics(EmissionDefaults):
    """A mixture of logistics integrated over the bins of an integer grid, for each sample of a frame; no density.

    A target x stands for the integer n = (x - zero) / step, from -levels/2 to levels/2 - 1, and gets the mass of the
    bin [n - 1/2, n + 1/2]; the end bins are open, so that all bins sum to 1.  Minus the log-probability in bits is
    the code length of the raw audio under an arithmetic coder.

    Attributes:
      num_components: C.
      levels: the number of integers: 65536 for 16 bits, 256 for 8.
      step: one integer step in the units of the targets: 1 / std if the targets are (n - mean) / std.
      zero: where n = 0 lies in the units of the targets: -mean / std.
      coding: the axis of the logistics: ``"linear"``, or ``"mu_law"``, which is fine for small samples and coarse for
        large ones.  Both assign probabilities to the same integers, so log-likelihoods can be compared.  Audio that is
        stored as mu-law codes needs the linear axis.
      log_scale_bounds: smooth bounds of the log-scale of a logistic, the scale measured in steps (rule A5).

    Source: Salimans, Karpathy, Chen and Kingma, "PixelCNN++", 2017, eq. (2).
    """

    observation: Observation
    num_components: int = 10
    levels: int = 65536
    step: float = 1.0
    zero: float = 0.0
    coding: Literal["linear", "mu_law"] = "linear"
    log_scale_bounds: Bounds = (-7.0, 12.0)
    is_density = False
    scores_parts = True

    def __post_init__(self):
        make_plain(self)
        if self.observation.kind != "frames":
            raise ValueError("a dmol emission needs frames, not tokens; use bernoulli or categorical")
        check_counts(num_components=self.num_components)
        check_counts(levels=self.levels)
        if self.levels % 2:
            raise ValueError(f"levels must be an even number, such as 256 or 65536, not {self.levels}")
        if not (math.isfinite(self.step) and self.step > 0 and math.isfinite(self.zero)):
            raise ValueError(f"step must be finite and above 0 and zero finite, not {self.step} and {self.zero}")
        if self.coding not in ("linear", "mu_law"):
            raise ValueError(f"coding must be 'linear' or 'mu_law', not {self.coding!r}")

    @property
    def outputs(self) -> dict[str, int]:
        """Return the size of each parameter of the distribution."""
        return dict.fromkeys(("logits", "mean", "log_scale"), self.observation.size * self.num_components)

    def integers(self, x: Array) -> Array:
        """Return the integers that targets stand for, as floats, clipped to the grid."""
        half = self.levels // 2
        return jnp.clip(jnp.round((x - self.zero) / self.step), -half, half - 1)

    def outside(self, x: Array) -> Array:
        """Return which targets are beyond the end bins of the grid, of numpy or jax arrays."""
        n, half = (x - self.zero) / self.step, self.levels // 2
        # Audio of up to 16 bits is rounded to fewer levels: its largest integer is half a 16-bit step below ``half``.
        return (n < -half - 0.5) | (n > half - min(0.5, self.levels / 2**17))

    def _bins(self, n: Array) -> tuple[Array, Array]:
        """Return the lower edges and the widths of the bins of integers ``n``, in steps on the logistics' axis."""
        if self.coding == "linear":
            return n - 0.5, jnp.ones_like(n)
        half, mu = self.levels / 2, self.levels - 1
        lower = half * distributions.mu_law((n - 0.5) / half, mu)
        # No difference of edges: near the ends of 16 bits an edge in single precision is off by a twentieth of a bin.
        grows = mu / half / (1.0 + mu * (jnp.abs(n) - 0.5) / half)
        return lower, jnp.where(n == 0, -2.0 * lower, half * jnp.log1p(grows) / math.log1p(mu))

    def _mixture(self, values: Values) -> tuple[Array, Array, Array]:
        """Return log-weights, locations and log-scales on the logistics' axis, each ``[..., D, C]``."""
        shape = (self.observation.size, self.num_components)
        logits, mean, log_scale = (values[k].reshape(*values[k].shape[:-1], *shape) for k in self.outputs)
        # The network speaks in the targets' units, in which data have a spread of about 1; on the mu-law axis in
        # halves of the whole range.
        unit, origin = (1.0 / self.step, -self.zero / self.step) if self.coding == "linear" else (self.levels / 2, 0.0)
        log_scale = bound_log_std(log_scale + math.log(unit), self.log_scale_bounds)
        return jax.nn.log_softmax(logits, axis=-1), mean * unit + origin, log_scale

    def log_prob(self, values: Values, x: Array, present: Array | None = None) -> Array:
        """Return log p(x), nats: ``[...]``, summed over the frame's dimensions, or those that are ``present``."""
        log_weights, location, log_scale = self._mixture(values)
        n, half = self.integers(x)[..., None], self.levels // 2
        log_probs = distributions.discretised_logistic_log_prob(
            location, log_scale, *self._bins(n), first=n == -half, last=n == half - 1
        )
        return jnp.sum(only(present, jax.nn.logsumexp(log_weights + log_probs, axis=-1)), axis=-1)

    def noise(self, key: Array, shape: tuple[int, ...]) -> dict[str, Array]:
        """Draw the noise of one sample for each element of ``shape``: Gumbels for components, logistics for values."""
        key_choice, key_value = jax.random.split(key)
        size, dtype = self.observation.size, jnp.result_type(float)
        return {
            "choice": jax.random.gumbel(key_choice, (*shape, size, self.num_components), dtype),
            "value": jax.random.logistic(key_value, (*shape, size), dtype),
        }

    def _from_axis(self, position: Array) -> Array:
        """Map positions on the logistics' axis to targets ``[..., D]``, without rounding to integers."""
        half = self.levels / 2
        if self.coding == "mu_law":
            position = half * distributions.inverse_mu_law(jnp.clip(position / half, -1.0, 1.0), self.levels - 1)
        return jnp.clip(position, -half, half - 1) * self.step + self.zero

    def sample(self, values: Values, noise: dict[str, Array]) -> Array:
        """Draw x ``[..., D]``, on the grid."""
        log_weights, location, log_scale = self._mixture(values)
        choice = jnp.argmax(log_weights + noise["choice"], axis=-1)[..., None]
        location, log_scale = (jnp.take_along_axis(p, choice, axis=-1)[..., 0] for p in (location, log_scale))
        drawn = self._from_axis(location + jnp.exp(log_scale) * noise["value"])
        return self.integers(drawn) * self.step + self.zero

    def tempered(self, values: Values, noise: Any, temperature: Array | float) -> tuple[Values, Any]:
        """Return parameters and noise at a temperature t: weights to the power 1 / t, the logistics' scales times t."""
        return values, jax.tree.map(lambda n: n * temperature, noise)

    def likeliest(self, values: Values) -> Array:
        """Return the value on the grid that is nearest to the mean, ``[..., D]``."""
        return self.integers(self.mean(values)) * self.step + self.zero

    def mean(self, values: Values) -> Array:
        """Return the mean on the logistics' axis as targets ``[..., D]``; if linear, E[x] but for the ends."""
        log_weights, location, _ = self._mixture(values)
        return self._from_axis(jnp.sum(jnp.exp(log_weights) * location, axis=-1))
