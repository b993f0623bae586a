"""A density of whole items that is no recurrence over their steps: what training, evaluation and sampling ask of one.

``elbo``, ``iwae``, ``sample``, ``loss_and_metrics`` and everything above them take a ``Density`` where they take a
``Model``; ``zf_jax.densities.stepwise.of`` makes a density of a model.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from zf_jax.typing import Array, Batch, Params


@dataclasses.dataclass(frozen=True)
class Density:
    """A density: frozen sizes and options, and pure functions of the parameters.

    Equal densities are equal and hash alike, so that a density may be a static argument of ``jax.jit``.  Beside the
    methods a density has an ``observation`` and an ``emission``, which say what one element of an item is.
    """

    observation: ClassVar[Any]
    emission: ClassVar[Any]
    completes = False  # whether ``sample`` can go on from the beginning of an item
    latent_dim = 0  # of the latents of an item
    has_auxiliary = False

    @property
    def kind(self) -> str:
        """What ``log_weights`` leads to.

        ``"exact"``: the log-likelihood, the same for any key and any K.  ``"bound"``: a lower bound of the
        log-likelihood, on average over keys.  ``"estimate"``: neither.
        """
        return "exact"

    @property
    def item_length(self) -> int | None:
        """The elements of every item; None where items are of lengths of their own."""
        return None

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        raise NotImplementedError

    def log_weights(
        self, params: Params, batch: Batch, keys: Array, num_samples: int, chunk_size: int | None = None
    ) -> Array:
        """Compute log importance weights, whose log-mean-exp over K is the bound: ``[K, B]``, nats.

        An exact density returns ``[1, B]`` for any ``num_samples``.  A row of length 0 weighs 0.

        Args:
          keys: a key a row, ``[B]``; the weights of a row depend on no other row.
          num_samples: K.
          chunk_size: how many samples are held in memory at once; all by default.
        """
        raise NotImplementedError

    def elbo(self, params: Params, batch: Batch, keys: Array) -> dict[str, Array]:
        """Compute the bound with one sample, and the KL of that sample's posterior: ``{"bound", "kl"}``, ``[B]``, nats.

        Further entries may say more of each row.
        """
        bound = self.log_weights(params, batch, keys, 1)[0]
        return {"bound": bound, "kl": jnp.zeros_like(bound)}

    def loss(self, params: Params, batch: Batch, key: Array, weights: Any) -> tuple[Array, dict[str, Array]]:
        """Compute the loss, a scalar to be minimised, and the metrics: scalars in nats.

        The metrics hold ``loss``, ``elbo_nats_per_sequence`` and ``kl_nats_per_sequence``, as ``loss_and_metrics`` has
        them.

        Args:
          weights: ``zf_jax.Weights`` of this update.
        """
        raise NotImplementedError

    def prepare(self, params: Params, key: Array) -> Params:
        """Return the parameters as ``log_weights`` and ``sample`` take them; to be called once before an evaluation."""
        return params

    def sample(self, params: Params, key: Array, num_samples: int, prefix: Array | None = None) -> Any:
        """Draw items; return ``zf_jax.generation.Generated``, ``[num_samples, T]``.

        Args:
          prefix: the first elements of each item, ``[num_samples, S]``, where ``completes``.
        """
        raise NotImplementedError


def needs_steps(model: Any, what: str) -> Any:
    """Return ``model``; ``ValueError`` where ``model`` is a density, which has no steps for ``what``."""
    if isinstance(model, Density):
        raise ValueError(f"{what} goes step by step, and {type(model).__name__} is a density of whole items")
    return model
