"""EoNADE and EoNADE-k: one network for all orderings of the pixels, and the mixture of an ensemble of orderings.

With m the set of known pixels, each of k iterations predicts the others from x on m and its last prediction elsewhere:

v^0 = x on m, sigma(a) elsewhere
h = tanh(W v^{t-1} + U m + c),  one more tanh layer each beyond the first,  v^t = x on m, sigma(V h + b) elsewhere
p(x_i = 1 | x_m) = sigma(V h + b)_i of the last iteration,  i not in m

The loss is unbiased for the mean of -log p(x | ordering) over all D! orderings, averaged over the iterations:

E_m [ D / (D - |m|) sum_{i not in m} -log p^t(x_i | x_m) ],    |m| uniform on 0 .. D - 1, and m uniform of that size

An ordering o makes an exact likelihood, p(x | o) = prod_d p(x_{o_d} | x_{o_1 .. o_{d-1}}), and an ensemble of M a
mixture: p(x) = 1/M sum_o p(x | o).  k = 1 is EoNADE (Uria, Murray and Larochelle 2014), k > 1 with this loss NADE-k
(Raiko, Yao, Cho and Bengio 2014), who set v^0 to the mean of the data; here a is trained.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from zf_jax.bounds.importance import log_mean_exp
from zf_jax.densities.images import BinaryImages, metrics_of
from zf_jax.distributions import bernoulli_log_prob
from zf_jax.generation import Generated
from zf_jax.nn.layers import init_linear, linear, split_keys
from zf_jax.objective.loss import sequence_mean
from zf_jax.objective.settings import Weights
from zf_jax.typing import Array, Batch, Params


@dataclasses.dataclass(frozen=True)
class EoNADE(BinaryImages):
    """EoNADE-k: exact for the mixture of the orderings that ``prepare`` draws, the same for every image.

    Attributes:
      mlp_dim: H, of each hidden layer.
      num_layers: hidden layers.
      num_iterations: k.
      num_orderings: M.
    """

    mlp_dim: int = 500
    num_layers: int = 2
    num_iterations: int = 5
    num_orderings: int = 128

    completes = True

    def init(self, key: Array) -> Params:
        """Draw the parameters; a starts at 0, a probability of one half."""
        keys = split_keys(key, "values", "known", "output", "hidden")
        params = {
            "start": jnp.zeros(self.num_pixels, jnp.result_type(float)),
            "values": init_linear(keys["values"], self.num_pixels, self.mlp_dim),
            "known": init_linear(keys["known"], self.num_pixels, self.mlp_dim),
            "output": init_linear(keys["output"], self.mlp_dim, self.num_pixels),
        }
        del params["known"]["bias"]
        for layer in range(1, self.num_layers):
            params[f"hidden_{layer}"] = init_linear(
                jax.random.fold_in(keys["hidden"], layer), self.mlp_dim, self.mlp_dim
            )
        return params

    def conditionals(self, params: Params, values: Array, known: Array) -> Array:
        """Return the logits of p(x_i = 1 | the known pixels) for every pixel and iteration: ``[k, B, D]``.

        Args:
          values: pixels in raster order, ``[B, D]``, read where they are known.
          known: 1 where a pixel is known, ``[B, D]`` or ``[D]``.
        """
        hidden = self._hidden(params, values, known)
        return jnp.stack([linear(params["output"], layer) for layer in hidden])

    def _hidden(self, params: Params, values: Array, known: Array) -> list[Array]:
        """Return the last hidden layer of each iteration, ``[B, H]``."""
        from_known = known @ params["known"]["kernel"]
        guess, found = jax.nn.sigmoid(params["start"]), []
        for iteration in range(self.num_iterations):
            if iteration:
                guess = jax.nn.sigmoid(linear(params["output"], found[-1]))
            hidden = jnp.tanh(linear(params["values"], jnp.where(known > 0, values, guess)) + from_known)
            for layer in range(1, self.num_layers):
                hidden = jnp.tanh(linear(params[f"hidden_{layer}"], hidden))
            found.append(hidden)
        return found

    def _logit_of(self, params: Params, values: Array, known: Array, pixel: Array) -> Array:
        """Return the logit of one pixel, or of one a row, given the known ones: ``[B]``."""
        hidden, output = self._hidden(params, values, known)[-1], params["output"]
        return jnp.sum(hidden * output["kernel"].T[pixel], axis=-1) + output["bias"][pixel]

    def log_prob_of_ordering(self, params: Params, values: Array, ordering: Array) -> Array:
        """Return log p(x | ordering) of pixels ``[B, D]`` in the ordering ``[D]``: ``[B]``, nats."""
        rank = jnp.argsort(ordering)

        def one(place):
            pixel = ordering[place]
            logit = self._logit_of(params, values, (rank < place).astype(values.dtype), pixel)
            return bernoulli_log_prob(logit, values[:, pixel])

        return jnp.sum(jax.lax.map(one, jnp.arange(self.num_pixels)), axis=0)

    def prepare(self, params: Params, key: Array) -> Params:
        """Add ``orderings`` ``[M, D]``, drawn from the key."""
        keys = jax.random.split(key, self.num_orderings)
        return params | {"orderings": jax.vmap(lambda k: jax.random.permutation(k, self.num_pixels))(keys)}

    def log_weights(
        self, params: Params, batch: Batch, keys: Array, num_samples: int, chunk_size: int | None = None
    ) -> Array:
        """Return log p(x) of the mixture, whatever the keys and K: ``[1, B]``, nats.

        Raises:
          ValueError: the parameters have no orderings yet.
        """
        values = self.images(batch).reshape(-1, self.num_pixels)
        each = jax.lax.map(lambda o: self.log_prob_of_ordering(params, values, o), _orderings(params))
        return jnp.where(batch.lengths > 0, log_mean_exp(each), 0.0)[None]

    def loss(
        self, params: Params, batch: Batch, key: Array, weights: Weights = Weights()
    ) -> tuple[Array, dict[str, Array]]:
        """Return the loss for a random set of known pixels a row; the metrics' ELBO is of the last iteration."""
        values = self.images(batch).reshape(-1, self.num_pixels)
        costs = self.costs(params, values, random_sets(key, *values.shape))
        loss, last = sequence_mean(costs.mean(axis=0), batch), sequence_mean(costs[-1], batch)
        return loss, metrics_of(loss, -last, jnp.zeros_like(loss))

    def costs(self, params: Params, values: Array, known: Array) -> Array:
        """Return the estimate of -log p(x | ordering) by each iteration for given sets: ``[k, B]``, nats."""
        log_prob = bernoulli_log_prob(self.conditionals(params, values, known), values)
        missing = self.num_pixels - jnp.sum(known, axis=-1)
        return -self.num_pixels / missing * jnp.sum(jnp.where(known > 0, 0.0, log_prob), axis=-1)

    def sample(self, params: Params, key: Array, num_samples: int, prefix: Array | None = None) -> Generated:
        """Draw images, each in one of the orderings, or go on from the first pixels of each by ``fill``."""
        size, dtype = self.num_pixels, jnp.result_type(float)
        key_ordering, key_pixels = jax.random.split(key)
        if prefix is not None:
            known = jnp.broadcast_to(jnp.arange(size) < prefix.shape[1], (num_samples, size))
            values = jnp.pad(prefix.astype(dtype), ((0, 0), (0, size - prefix.shape[1])))
            return self.fill(params, key_pixels, values, known)
        orderings = _orderings(params)
        chosen = orderings[jax.random.randint(key_ordering, (num_samples,), 0, orderings.shape[0])]
        nothing = jnp.zeros((num_samples, size), dtype)
        return self._fill(params, key_pixels, nothing, nothing, chosen)

    def fill(self, params: Params, key: Array, values: Array, known: Array) -> Generated:
        """Draw the missing pixels of each row given the known ones, one after another in an ordering of the row's own.

        Args:
          values: ``[N, D]``, read where they are known.
          known: 1 where a pixel is known, ``[N, D]``; any set.
        """
        key_ordering, key_pixels = jax.random.split(key)
        ordering = jnp.argsort(jax.random.uniform(key_ordering, values.shape), axis=1)
        dtype = jnp.result_type(float)
        return self._fill(params, key_pixels, values.astype(dtype), known.astype(dtype), ordering)

    def _fill(self, params: Params, key: Array, values: Array, known: Array, ordering: Array) -> Generated:
        """Draw what is not known, in the order of ``ordering`` ``[N, D]``: 1 where a pixel's uniform is below p."""
        rows = jnp.arange(values.shape[0])
        uniform = jax.random.uniform(key, values.shape, values.dtype)

        def step(state, pixel):
            values, known, mean = state
            probability = jax.nn.sigmoid(self._logit_of(params, values, known, pixel))
            seen = known[rows, pixel]
            drawn = jnp.where(seen > 0, values[rows, pixel], (uniform[rows, pixel] < probability).astype(values.dtype))
            shown = jnp.where(seen > 0, drawn, probability)
            at = (rows, pixel)
            return (values.at[at].set(drawn), known.at[at].set(1.0), mean.at[at].set(shown)), None

        values, _, mean = jax.lax.scan(step, (values, known, jnp.zeros_like(values)), ordering.T)[0]
        return Generated(values.astype(jnp.int32), mean, jnp.zeros((*values.shape, 0), values.dtype))


def random_sets(key: Array, rows: int, size: int) -> Array:
    """Draw a set a row, uniform among those of its size, its size uniform on 0 .. ``size`` - 1: ``[rows, size]``."""
    key_size, key_order = jax.random.split(key)
    number = jax.random.randint(key_size, (rows, 1), 0, size)
    order = jnp.argsort(jax.random.uniform(key_order, (rows, size)), axis=1)
    return (order < number).astype(jnp.result_type(float))


def _orderings(params: Any) -> Array:
    if "orderings" not in params:
        raise ValueError("the ensemble has no orderings yet: call prepare(params, key) and use what it returns")
    return params["orderings"]
