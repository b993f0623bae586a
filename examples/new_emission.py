"""An emission of one's own, whole: independent Student's t elements, for real frames with outliers.

    p(y_t | s_t) = prod_d Student-t(y_td; location m_d(s_t), scale exp(l_d(s_t)), degrees of freedom)

One file and no registry: a model takes the head as it takes a name, and training, bounds, generation and diagnostics
need no more.  What a head must have is ``zf_jax.protocols.Emission``.

    python -m examples.new_emission
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import zf_jax
from zf_jax.distributions import bound_log_std
from zf_jax.typing import Array


@dataclasses.dataclass(frozen=True)
class StudentT:
    """Independent Student's t elements; fewer ``degrees_of_freedom`` have heavier tails."""

    observation: zf_jax.Observation
    degrees_of_freedom: float = 3.0
    is_density = True  # log-likelihoods depend on the unit of the data

    def __post_init__(self):
        if self.observation.kind != "frames":
            raise ValueError("a Student's t emission needs frames, not tokens")

    @property
    def outputs(self) -> dict[str, int]:
        return {"location": self.observation.size, "log_scale": self.observation.size}

    def _log_scale(self, values: dict[str, Array]) -> Array:
        return bound_log_std(values["log_scale"], (-7.0, 5.0))  # no spike on a single value (rule A5)

    def log_prob(self, values: dict[str, Array], x: Array) -> Array:
        scale = jnp.exp(self._log_scale(values))
        log_probs = jax.scipy.stats.t.logpdf(x, self.degrees_of_freedom, values["location"], scale)
        return jnp.sum(log_probs, axis=-1)

    def noise(self, key: Array, shape: tuple[int, ...]) -> Array:
        return jax.random.t(key, self.degrees_of_freedom, (*shape, self.observation.size), jnp.result_type(float))

    def sample(self, values: dict[str, Array], noise: Array) -> Array:
        return values["location"] + jnp.exp(self._log_scale(values)) * noise

    def mean(self, values: dict[str, Array]) -> Array:
        return values["location"]


def main(num_updates: int = 300) -> dict[str, float]:
    """Train a VRNN with either head on a walk with outliers, and print the last ELBO of each."""
    rng = np.random.default_rng(0)
    walks = np.cumsum(rng.standard_t(2.0, size=(64, 20, 2)) * 0.3, axis=1)
    observation = zf_jax.Observation("frames", 2)
    batch = zf_jax.batch_of(walks, observation=observation)
    found = {}
    for name, head in {"gaussian": "gaussian", "student_t": StudentT(observation)}.items():
        model = zf_jax.build_model(
            "vrnn", observation, emission=head, rnn_dim=16, latent_dim=2, mlp_dim=16, embed_dim=8
        )
        optimizer = zf_jax.make_optimizer(1e-2, clip_norm=1.0)
        state = zf_jax.init_state(model, optimizer, jax.random.key(0))
        metrics = {}
        for _ in range(num_updates):
            state, metrics = zf_jax.update(model, optimizer, state, batch, jax.random.key(1))
        found[name] = float(metrics["elbo_nats_per_sequence"])
        print(f"{name:10s} ELBO {found[name]:8.2f} nats per sequence")
    return found


if __name__ == "__main__":
    main()
