"""The gradient of one update: of a whole batch, of a batch cut into pieces, of one device's rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from zf_jax.bounds.noise import fold
from zf_jax.density import Density
from zf_jax.models.base import Model
from zf_jax.nn.blocks import rematerialised
from zf_jax.nn.precision import computed_in
from zf_jax.nn.varying import vary_like
from zf_jax.objective.loss import draw_samples, loss_and_metrics
from zf_jax.objective.settings import Objective, Weights
from zf_jax.typing import Array, Batch, Params


class Gradient:
    """The loss of a batch and its gradient, as functions of the parameters, with the same noise at every call.

    Means are over the batch's real rows, also where the batch is cut: every piece counts by its number of real rows.
    """

    def __init__(
        self,
        model: Model | Density,
        batch: Batch,
        key: Array,
        weights: Weights,
        settings: Objective,
        *,
        accumulate: int = 1,
        remat: int = 0,
        compute_dtype: str = "float32",
        axis_name: str | None = None,
    ):
        """Draw the noise.

        Args:
          key: of the update.
          accumulate: how many pieces the batch is cut into, one in memory after another; latents draw the noise of
            the whole batch; word dropout, resampling and a ``Density`` draw for each piece apart.
          remat: steps of a block of the recurrences and of the terms that follow; the gradient keeps the carry between
            blocks and computes the rest again; 0 keeps all.
          compute_dtype: of matrix products, ``"float32"`` or ``"bfloat16"``; all else keeps the parameters' type.
          axis_name: of a ``jax.pmap`` or ``jax.shard_map`` over which a larger batch is cut by rows; likewise.
        """
        self.model, self.batch, self.weights, self.settings = model, batch, weights, settings
        self.accumulate, self.remat, self.compute_dtype, self.axis_name = accumulate, remat, compute_dtype, axis_name
        rows = batch.mask.shape[0]
        if remat < 0:
            raise ValueError(f"remat must be a number of steps, or 0, not {remat}")
        if accumulate < 1 or rows % accumulate:
            raise ValueError(f"a batch of {rows} rows cannot be cut into accumulate={accumulate} equal pieces")
        self.noise, whole = None, isinstance(model, Density)
        if axis_name is not None:
            if not whole:
                self.noise = _own_noise(key, batch, model.latent_dim, settings.num_samples, axis_name)
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        elif accumulate > 1 and not whole:
            self.noise = draw_samples(key, batch, model.latent_dim, settings.num_samples)
        self.key = key

    def value_and_gradient(self, params: Params) -> tuple[tuple[Array, dict[str, Array]], Params]:
        """Return ``((loss, metrics), gradients)``."""
        params = self._varying(params)
        gradient_of = jax.value_and_grad(lambda p, *piece: self._loss(p, *piece), has_aux=True)
        with computed_in(self.compute_dtype):  # the reverse pass is traced here too
            if self.accumulate == 1:
                return self._mean(gradient_of(params, self.batch, self.key, self.noise))
            return self._mean(self._over_pieces(lambda *piece: gradient_of(params, *piece)))

    def value(self, params: Params) -> Array:
        """Return the loss, which may be differentiated: line searches ask for that."""
        params = self._varying(params)
        if self.accumulate == 1:
            return self._mean(self._loss(params, self.batch, self.key, self.noise)[0])
        again = jax.checkpoint(lambda p, *piece: self._loss(p, *piece)[0])
        return self._mean(self._over_pieces(lambda *piece: again(params, *piece)))

    def _loss(self, params: Params, batch: Batch, key: Array, noise: Array | None) -> Any:
        with rematerialised(self.remat), computed_in(self.compute_dtype):
            return loss_and_metrics(self.model, params, batch, key, self.weights, self.settings, noise=noise)

    def _varying(self, params: Params) -> Params:
        # A gradient of parameters that are the same on all devices would come summed out of a shard_map.
        return params if self.axis_name is None else jax.tree.map(lambda x: vary_like(x, self.batch), params)

    def _mean(self, tree: Any) -> Any:
        """The mean over the devices of the axis, each weighed by its number of real rows."""
        if self.axis_name is None:
            return tree
        real = jnp.sum(self.batch.lengths > 0)
        share = real / jnp.maximum(jax.lax.psum(real, self.axis_name), 1)
        return jax.tree.map(lambda x: jax.lax.psum(x * share.astype(x.dtype), self.axis_name), tree)

    def _over_pieces(self, function: Callable[..., Any]) -> Any:
        """The mean of ``function(batch, key, noise)`` over the pieces, each weighed by its number of real rows."""
        count = self.accumulate

        def cut(x):
            # Piece i has the rows i, i + count, ...: where devices share the rows, each has some of every piece.
            return jnp.moveaxis(jnp.reshape(x, (x.shape[0] // count, count, *x.shape[1:])), 1, 0)

        batch = jax.tree.map(cut, self.batch)
        noise = None if self.noise is None else jax.vmap(cut, out_axes=1)(self.noise)  # K stays before the rows
        keys = jax.vmap(lambda i: fold(self.key, i))(jnp.arange(count))
        real = jnp.sum(batch.lengths > 0, axis=1)
        shares = real / jnp.maximum(jnp.sum(real), 1)

        def add(total, piece):
            share, *rest = piece
            found = function(*rest)
            return jax.tree.map(lambda t, x: t + (share * x).astype(t.dtype), total, found), None

        shapes = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], (batch, keys, noise)))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32)), shapes)
        if self.axis_name is not None:
            zeros = jax.tree.map(lambda x: vary_like(x, self.batch), zeros)
        total, _ = jax.lax.scan(add, zeros, (shares, batch, keys, noise))
        return jax.tree.map(lambda t, x: t.astype(x.dtype), total, shapes)


def _own_noise(key: Array, batch: Batch, latent_dim: int, num_samples: int, axis_name: str) -> Array:
    """Return this device's rows of the noise of the whole batch: ``[K, B, T, Z]``."""
    rows, steps = batch.mask.shape
    whole = batch._replace(mask=jax.ShapeDtypeStruct((rows * jax.lax.axis_size(axis_name), steps), jnp.float32))
    noise = draw_samples(key, whole, latent_dim, num_samples)
    return jax.lax.dynamic_slice_in_dim(noise, jax.lax.axis_index(axis_name) * rows, rows, axis=1)
