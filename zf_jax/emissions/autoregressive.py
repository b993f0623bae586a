"""Emission heads that are autoregressive within a frame: p(y_t | s_t) = prod_d p(y_td | y_t,<d, s_t).

a_1 = c + U s_t,   a_{d+1} = a_d + W_d y_td,   p(y_td | y_t,<d, s_t) = conditional(b_d + R_d s_t + V_d f(a_d))

All dimensions share the running sum a (NADE, Larochelle and Murray 2011), so that a frame costs O(D H); f is the
logistic function for binary frames and a rectifier for real ones (RNADE, Uria, Murray and Larochelle 2013).  MADE
(Germain et al. 2015) masks the kernels: the units that dimension d reads depend on the dimensions before d alone, so
that one product over the frame scores all dimensions.  The state s_t sets the biases (RNN-NADE, Boulanger-Lewandowski,
Bengio and Vincent 2012); the kernels W and V are the same at every step.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen import initializers

from zf_jax.checks import check_counts
from zf_jax.emissions.defaults import EmissionDefaults, member
from zf_jax.emissions.running_sum import read_dimensions
from zf_jax.nn.precision import matmul
from zf_jax.nn.varying import vary_like
from zf_jax.plain import make_plain
from zf_jax.protocols import Values
from zf_jax.typing import Array, Observation, Params, without_missing


@dataclasses.dataclass(frozen=True)
class NADE(EmissionDefaults):
    """A distribution of frames in which each dimension depends on the dimensions before.

    Attributes:
      conditional: the head of one dimension given those before, built for the whole frame: a Bernoulli, a
        discretised mixture of logistics, or a mixture of Gaussians whose dimensions choose components of their own.
      head_dim: hidden units of the head.
    """

    observation: Observation
    conditional: Any
    head_dim: int = 128

    def __post_init__(self):
        make_plain(self)
        if self.observation.kind != "frames":
            raise ValueError("a token has no dimensions to be autoregressive over: use bernoulli or categorical")
        check_counts(head_dim=self.head_dim)
        own, size = self.conditional.observation, self.observation.size
        if (own.kind, own.size) != ("frames", size):
            raise ValueError(f"the conditional must be for frames of {size} numbers, as the head, not for {own}")
        # Weights that all dimensions share, C of them, may be as many as divide by D: the sizes alone do not tell.
        shared = size > 1 and getattr(self.conditional, "per_dimension", True) is False
        if shared or any(total % size for total in self.conditional.outputs.values()):
            raise ValueError("the conditional must have parameters for each dimension: a gmm needs per_dimension=True")

    @property
    def is_density(self) -> bool:
        """Return whether log-probabilities are log-densities."""
        return self.conditional.is_density

    @property
    def levels(self) -> int | None:
        """Return the number of integers of the conditional; None if the conditional is not over integers."""
        return member(self.conditional, "levels")

    @property
    def step(self) -> float | None:
        """Return one integer step in the units of the targets; None if the conditional is not over integers."""
        return member(self.conditional, "step")

    @property
    def outputs(self) -> dict[str, int]:
        """Return the size of each network output: the units' biases, and the conditional's parameters."""
        return {"hidden_bias": self.head_dim, **self.conditional.outputs}

    def init_parameters(self, key: Array, inputs: int) -> Params:
        """Draw a layer for each output, and the kernels that all elements share."""
        return super().init_parameters(key, inputs) | {"kernels": self.init_kernels(jax.random.fold_in(key, 99))}

    def values_from_hidden(self, params: Params, hidden: Array) -> dict[str, Any]:
        """Compute the outputs at each ``hidden`` ``[..., H]``, and add the kernels."""
        return super().values_from_hidden(params, hidden) | {"kernels": params["kernels"]}

    def outside(self, x: Array) -> Array:
        """Return which elements are outside the support of the conditional, of numpy or jax arrays."""
        return member(self.conditional, "outside")(x)

    def init_kernels(self, key: Array) -> Params:
        """Draw W ``[D - 1, H]`` and, for each parameter of the conditional, V ``[D, H, P]``."""
        size, hidden, dtype = self.observation.size, self.head_dim, jnp.result_type(float)
        keys = jax.random.split(key, 1 + len(self.conditional.outputs))
        wide = initializers.normal(max(1, size - 1) ** -0.5)
        kernels = {"frame": wide(keys[0], (size - 1, hidden), dtype)}
        for key, (name, total) in zip(keys[1:], self.conditional.outputs.items(), strict=True):
            kernels[name] = initializers.normal(hidden**-0.5)(key, (size, hidden, total // size), dtype)
        return kernels

    def _parts(self, values: Values) -> tuple[Array, Array, Params, Params]:
        """Return a_1 ``[..., H]``, W ``[D, H]``, its last row zeros, V ``[D, H, P]``, biases ``[..., D, P]``."""
        kernels = dict(values["kernels"])
        frame = jnp.pad(kernels.pop("frame"), ((0, 1), (0, 0)))
        biases = {name: values[name].reshape(*values[name].shape[:-1], self.observation.size, -1) for name in kernels}
        return values["hidden_bias"], frame, kernels, biases

    @property
    def _units(self) -> Callable[[Array], Array]:
        return jax.nn.relu if self._is_real else jax.nn.sigmoid

    @property
    def _is_real(self) -> bool:
        return self.conditional.is_density or self.levels is not None

    def conditionals(self, values: Values, x: Array) -> Values:
        """Return the conditionals' parameters, given the dimensions of ``x`` before each: ``[..., D * P]``.

        The hidden units of one dimension are in memory at a time, ``[..., H]``, for the gradient too.
        """
        sums, frame, kernels, biases = self._parts(values)
        batch = jnp.broadcast_shapes(sums.shape[:-1], x.shape[:-1])
        wide = jnp.promote_types(sums.dtype, jnp.float32)  # bfloat16 would round each of D sums

        def rows(p):
            return jnp.broadcast_to(p, (*batch, p.shape[-1])).reshape(-1, p.shape[-1]).astype(wide)

        # The units are read once for all of the conditional's parameters.
        joined = jnp.concatenate(list(kernels.values()), axis=-1)
        parts = (rows(sums), rows(x).T, frame.astype(wide), joined.astype(wide))
        found = read_dimensions(self._units, *jax.tree.map(lambda p: vary_like(p, parts), parts))
        found = jnp.moveaxis(found, 0, 1).reshape(*batch, *joined.shape[::2])
        ends = list(itertools.accumulate(kernel.shape[-1] for kernel in kernels.values()))
        found = dict(zip(kernels, jnp.split(found, ends[:-1], axis=-1), strict=True))
        return {name: _flat(biases[name] + found[name].astype(biases[name].dtype)) for name in kernels}

    def log_prob(self, values: Values, x: Array) -> Array:
        """Return log p(x), nats: ``[...]``, summed over the frame's dimensions."""
        x = x.astype(values["hidden_bias"].dtype)
        return self.conditional.log_prob(self.conditionals(values, x), x)

    def noise(self, key: Array, shape: tuple[int, ...]) -> Any:
        """Draw the noise of one sample for each element of ``shape``: the conditional's."""
        return self.conditional.noise(key, shape)

    def sample(self, values: Values, noise: Any) -> Array:
        """Draw x ``[..., D]``, one dimension after another."""
        axis = values["hidden_bias"].ndim - 1
        one = self._one
        return self._walk(
            values, one.sample, jax.tree.map(lambda p: jnp.expand_dims(jnp.moveaxis(p, axis, 0), axis + 1), noise)
        )

    def tempered(self, values: Values, noise: Any, temperature: Array | float) -> tuple[Values, Any]:
        """Return parameters and noise at a temperature: each dimension's conditional is tempered."""
        conditional, kernels = self.conditional, values["kernels"]
        tempered, noise = conditional.tempered({name: values[name] for name in conditional.outputs}, noise, temperature)
        # The conditional's parameters are linear in biases and kernels, which are scaled alike.
        own, _ = conditional.tempered({name: kernels[name] for name in conditional.outputs}, None, temperature)
        return dict(values) | tempered | {"kernels": kernels | own}, noise

    def likeliest(self, values: Values) -> Array:
        """Return the likeliest value of each dimension, given those chosen of the dimensions before, ``[..., D]``."""
        return self._walk(values, lambda values, _: self._one.likeliest(values), None)

    def mean(self, values: Values) -> Array:
        """Return conditional means, each given the means of the dimensions before, ``[..., D]``.

        The result is not E[x], which would need a sum over all frames.
        """
        return self._walk(values, lambda values, _: self._one.mean(values), None)

    def small_scale_share(self, values: Values, threshold: float, x: Array) -> Array | None:
        """Return the share of the scales, given ``x``, that are below ``threshold``: ``[...]``; None without scales."""
        x = without_missing(x)
        return member(self.conditional, "small_scale_share")(self.conditionals(values, x), threshold, x)

    @property
    def _one(self) -> Any:
        """Return the conditional of a single dimension."""
        return dataclasses.replace(self.conditional, observation=Observation("frames", 1))

    def _walk(self, values: Values, read: Any, noise: Any) -> Array:
        """Choose one dimension after another by applying ``read`` to the dimension's conditional: ``[..., D]``."""
        sums, frame, kernels, biases = self._parts(values)

        def step(sums, parts):
            row, kernels, biases, noise = parts
            units = self._units(sums)
            x = read({name: biases[name] + matmul(units, kernel) for name, kernel in kernels.items()}, noise)
            return sums + x * row, x[..., 0]

        parts = (frame, kernels, {name: jnp.moveaxis(bias, -2, 0) for name, bias in biases.items()}, noise)
        return jnp.moveaxis(jax.lax.scan(step, sums, parts)[1], 0, -1)


@dataclasses.dataclass(frozen=True)
class MADE(NADE):
    """NADE with masked kernels: unit k sees the first m_k dimensions, and dimension d reads units of m_k < d.

    The limits m_k cycle through 0 .. D - 1, so that ``head_dim`` should be several times D.  One product scores all
    dimensions.  Drawing is as in NADE, since the sum of a unit is complete before any dimension reads the unit.
    """

    def _parts(self, values: Values) -> tuple[Array, Array, Params, Params]:
        sums, frame, kernels, biases = super()._parts(values)
        dimension, limit = jnp.arange(self.observation.size), jnp.arange(self.head_dim) % self.observation.size
        frame = jnp.where(dimension[:, None] < limit, frame, 0)
        reads = (limit <= dimension[:, None])[..., None]
        return sums, frame, {name: jnp.where(reads, kernel, 0) for name, kernel in kernels.items()}, biases

    def conditionals(self, values: Values, x: Array) -> Values:
        """Return the conditionals' parameters, given the dimensions of ``x`` before each: ``[..., D * P]``."""
        sums, frame, kernels, biases = self._parts(values)
        units = self._units(sums + matmul(x, frame))
        return {name: _flat(biases[name] + jnp.einsum("...h,dhp->...dp", units, k)) for name, k in kernels.items()}


def _flat(parameters: Array) -> Array:
    """Reshape ``[..., D, P]`` to ``[..., D * P]``, the form that the conditional takes."""
    return parameters.reshape(*parameters.shape[:-2], -1)
