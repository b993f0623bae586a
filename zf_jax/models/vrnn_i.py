"""VRNN-I: VRNN whose prior is N(0, I) at every step, blind to the past."""

from __future__ import annotations

import dataclasses
from typing import Literal

from zf_jax.models import vrnn
from zf_jax.models.vrnn import build


@dataclasses.dataclass(frozen=True)
class Config(vrnn.Config):
    """Sizes of VRNN-I; see ``vrnn.Config``."""

    prior: Literal["learned", "standard"] = "standard"


__all__ = ["Config", "build"]
