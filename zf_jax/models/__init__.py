"""The registry of models: one file each, one line each."""

from __future__ import annotations

import dataclasses
from typing import Any

from zf_jax.models.base import Features, LatentModel, Model, RecurrentModel, Sites, unroll
from zf_jax.models.dmm import DMM
from zf_jax.models.rnn import RNN
from zf_jax.models.srnn import SRNN
from zf_jax.models.storn import STORN
from zf_jax.models.vrnn import VRNN
from zf_jax.models.vrnn_i import VRNNI
from zf_jax.models.zforcing import ZForcing
from zf_jax.typing import Observation

MODELS: dict[str, type[Model]] = {
    "rnn": RNN,
    "storn": STORN,
    "vrnn": VRNN,
    "vrnn_i": VRNNI,
    "srnn": SRNN,
    "zforcing": ZForcing,
    "dmm": DMM,
}


def build_model(name: str, observation: Any, **options: Any) -> Model:
    """Build the model called ``name`` for this kind of observation.

    Args:
      observation: an ``Observation``; or a data set, whose observation and default emission are taken.
      options: fields of the model's class.

    Raises:
      TypeError: ``observation`` is neither.
      ValueError: an unknown model, an unknown option, or a value that it refuses.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join(sorted(MODELS))}")
    model = MODELS[name]
    known = [field.name for field in dataclasses.fields(model)]
    for option in options:
        if option not in known:
            raise ValueError(f"the model {name!r} has no option {option!r}; it has {', '.join(known)}")
    if not isinstance(observation, Observation):
        data = observation
        if not isinstance(getattr(data, "observation", None), Observation):
            raise TypeError(f"observation must be a zf_jax.Observation or a data set, not {type(data).__name__}")
        observation, options = data.observation, {"emission": data.default_emission, **options}
    return model(observation=observation, **options)


__all__ = [
    "DMM",
    "MODELS",
    "RNN",
    "SRNN",
    "STORN",
    "VRNN",
    "VRNNI",
    "Features",
    "LatentModel",
    "Model",
    "RecurrentModel",
    "Sites",
    "ZForcing",
    "build_model",
    "unroll",
]
