"""A model of sequences as a density: the steps are inside, and the figures are those of the model."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from zf_jax.bounds.importance import iwae_log_weights, sums_over_steps
from zf_jax.density import Density
from zf_jax.emissions import emission_values, member
from zf_jax.generation import Generated, continue_prefix, sample
from zf_jax.models.base import Model
from zf_jax.objective.loss import loss_and_metrics
from zf_jax.objective.settings import Objective, Weights
from zf_jax.typing import Array, Batch, Params


def of(
    model: Model | Density,
    settings: Objective = Objective(),
    *,
    length: int = 0,
    quantisation_step: float | None = None,
) -> Density:
    """Return a model as a density; a density as it is.

    Args:
      settings: of the objective that ``loss`` is.
      length: steps of what ``sample`` draws.
      quantisation_step: the step of integer data under a density.  If given, ``elbo`` also has
        ``small_scale_share``, the share of the emission's scales below one step (rule A11).
    """
    return model if isinstance(model, Density) else Stepwise(model, settings, length, quantisation_step)


@dataclasses.dataclass(frozen=True)
class Stepwise(Density):
    """A model as a density; see ``of``."""

    model: Any
    settings: Objective
    length: int
    quantisation_step: float | None

    completes = True

    @property
    def kind(self) -> str:
        """``"exact"`` without latents, ``"bound"`` with."""
        return "bound" if self.model.latent_dim else "exact"

    @property
    def latent_dim(self) -> int:
        """Z of one step."""
        return self.model.latent_dim

    @property
    def has_auxiliary(self) -> bool:
        """Whether the loss has auxiliary and reverse terms."""
        return self.model.has_auxiliary

    @property
    def observation(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What one element of a sequence is."""
        return self.model.observation

    @property
    def emission(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The head of one element."""
        return self.model.emission

    def init(self, key: Array) -> Params:
        """Draw the parameters."""
        return self.model.init(key)

    def log_weights(
        self, params: Params, batch: Batch, keys: Array, num_samples: int, chunk_size: int | None = None
    ) -> Array:
        """Compute log p(x, z) - log q(z | x) of K trajectories: ``[K, B]``, nats."""
        num_samples = num_samples if self.model.latent_dim else 1
        return iwae_log_weights(self.model, params, batch, keys, num_samples=num_samples, chunk_size=chunk_size)

    def elbo(self, params: Params, batch: Batch, keys: Array) -> dict[str, Array]:
        """Compute the ELBO of one trajectory, with the KL of each step in closed form: ``{"bound", "kl"}``, ``[B]``."""
        model = self.model

        def terms_of(features, sites, terms):
            found = {"emission": terms.emission_log_prob, "kl": terms.kl}
            if self.quantisation_step is not None:
                values = emission_values(params["emission"], model.emission, model.readout(params, features, sites))
                seen = features.observed
                share = member(model.emission, "small_scale_share")(values, self.quantisation_step, seen.targets)
                if share is not None:
                    found["small_scale_share"] = jnp.where(seen.mask > 0, share, 0)
            return found

        sums = sums_over_steps(model, params, batch, keys, terms_of)
        found = {"bound": sums["emission"] - sums["kl"], "kl": sums["kl"]}
        if "small_scale_share" in sums:
            steps = jnp.sum(batch.mask > 0, axis=1)
            found["small_scale_share"] = sums["small_scale_share"] / jnp.maximum(steps, 1)
        return found

    def loss(
        self, params: Params, batch: Batch, key: Array, weights: Weights = Weights()
    ) -> tuple[Array, dict[str, Array]]:
        """Compute the loss of the settings, and the metrics."""
        return loss_and_metrics(self.model, params, batch, key, weights, self.settings)

    def sample(self, params: Params, key: Array, num_samples: int, prefix: Array | None = None) -> Generated:
        """Draw sequences of ``length`` steps."""
        if prefix is None:
            return sample(self.model, params, key, num_samples=num_samples, length=self.length)
        rows, steps = prefix.shape[:2]
        ones = jnp.ones((rows, steps), jnp.result_type(float))
        start = jnp.full_like(prefix[:, :1], self.observation.start_token if self.observation.kind == "tokens" else 0)
        inputs = jnp.concatenate([start, prefix[:, :-1]], axis=1)
        given = Batch(inputs, prefix, ones, ones.at[:, 0].set(0), jnp.full(rows, steps, jnp.int32))
        return continue_prefix(self.model, params, given, key, length=self.length - steps)
