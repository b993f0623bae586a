"""VRNN-I: VRNN whose prior is N(0, I) at every step, blind to the past."""

from __future__ import annotations

import dataclasses

from zf_jax.distributions import Gaussian
from zf_jax.models.vrnn import VRNN
from zf_jax.nn.recurrence import zeros_like_rows
from zf_jax.typing import Array, Params


@dataclasses.dataclass(frozen=True)
class VRNNI(VRNN):
    """VRNN-I."""

    def init(self, key: Array) -> Params:
        """Draw the parameters: VRNN's but for the prior's."""
        return {name: value for name, value in super().init(key).items() if name != "prior"}

    def prior_given(self, params: Params, hidden: Array) -> Gaussian:
        """Return p(z_t) = N(0, I)."""
        zeros = zeros_like_rows(hidden, self.latent_dim)
        return Gaussian(zeros, zeros)
