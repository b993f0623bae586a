"""The registry of models: one file each, one line each."""

from __future__ import annotations

import dataclasses
from typing import Any

from zf_jax.models import rnn, srnn, storn, vrnn, vrnn_i, zforcing
from zf_jax.models.base import Features, Model, Sites, unroll
from zf_jax.typing import Observation

MODELS = {
    "rnn": rnn,
    "storn": storn,
    "vrnn": vrnn,
    "vrnn_i": vrnn_i,
    "srnn": srnn,
    "zforcing": zforcing,
}


def build_model(name: str, observation: Observation, **options: Any) -> Model:
    """The model called ``name`` for this kind of observation.

    Args:
      options: fields of the model's ``Config``.

    Raises:
      ValueError: an unknown model, an unknown option, or a value that its config refuses.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join(sorted(MODELS))}")
    module = MODELS[name]
    known = [field.name for field in dataclasses.fields(module.Config)]
    for option in options:
        if option not in known:
            raise ValueError(f"the model {name!r} has no option {option!r}; it has {', '.join(known)}")
    return module.build(module.Config(observation=observation, **options))


__all__ = ["MODELS", "Features", "Model", "Sites", "build_model", "unroll"]
