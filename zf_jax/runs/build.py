"""The model of a run, from the plain values of its config and what its data are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from zf_jax.data import DataSet
from zf_jax.data.description import DataDescription
from zf_jax.densities import DENSITIES, build_density
from zf_jax.density import Density, needs_steps
from zf_jax.emissions import EMISSIONS, build_emission
from zf_jax.models import MODELS, Model, build_model
from zf_jax.objective.bag_of_words import with_bag_of_words

Data = DataDescription | DataSet
_EMISSION = ("per_dimension", "levels", "coding", "head_dim", "num_components")


class ConfigError(ValueError):
    """A value of a config that makes no sense; ``field`` is its name, "model.levels"."""

    def __init__(self, field: str, what: str):
        super().__init__(f"{field} {what}")
        self.field = field


class UnknownName(ConfigError):
    """A name that no table of the library holds; ``choices`` is the sentence without what to do in Python."""

    def __init__(self, field: str, kind: str, name: str, table: Mapping[str, Any], called: str, more: str = ""):
        self.kind = kind
        self.choices = f"is the unknown {kind} {name!r}: choose one of {', '.join(sorted(table))}"
        own = f"or register one of your own first, with zf_jax.{called}[{name!r}] = ..."
        super().__init__(field, f"{self.choices}; {own}{more}")


def build_run_model(config: Mapping[str, Any], data: Data) -> Model | Density:
    """Return the model whose parameters a run of this config has, those of its objective included.

    Args:
      config: the config of a run, as ``config.json`` holds it.
      data: what the run's data are.

    Raises:
      ValueError: an unknown model or emission, or a value that it refuses; ``ConfigError`` names the field.
    """
    model = build_config_model(config["model"], data)
    if not config.get("objective", {}).get("bag_of_words_weight"):
        return model
    return with_bag_of_words(needs_steps(model, "the bag-of-words auxiliary"))


def build_config_model(settings: Mapping[str, Any], data: Data) -> Model | Density:
    """Return the model or density that the block ``model`` of a config names; sizes that it lacks are left aside.

    Errors as for ``build_run_model``.
    """
    name = settings["name"]
    if name in DENSITIES:
        return _density(name, settings, data)
    if name not in MODELS:
        more = ", or give one to zf_jax.open_run(DIR, model=...)"
        raise UnknownName("model.name", "model", name, {**MODELS, **DENSITIES}, "MODELS", more)
    known = {field.name for field in dataclasses.fields(MODELS[name])}
    options = {k: _hashable(v) for k, v in settings.items() if k in known}
    return build_model(name, data.observation, **options | {"emission": build_config_emission(settings, data)})


def _density(name: str, settings: Mapping[str, Any], data: Data) -> Density:
    density = DENSITIES[name]
    if data.observation.context_size:
        raise ConfigError("model.name", f"must be a model of sequences, as the data have a context: {name} reads none")
    if data.image_shape is None or data.observation != density.observation:
        raise ValueError(f"{name} is of binary images, a token a pixel: use mnist or digits with the view 'pixels'")
    if settings.get("emission") not in (None, "", data.default_emission):
        raise ConfigError("model.emission", f"must be empty: {name} has no emission but its own")
    known = {field.name for field in dataclasses.fields(density)} - {"image_shape"}
    return build_density(name, data.image_shape, **{k: _hashable(v) for k, v in settings.items() if k in known})


def build_config_emission(settings: Mapping[str, Any], data: Data) -> Any:
    """Return the emission that the block ``model`` of a config names, or the data's own.

    Options that the emission does not have are left aside.  Errors as for ``build_run_model``.
    """
    name = settings.get("emission") or data.default_emission
    if name in ("nade", "made"):
        name = name if data.normalisation is None else f"{name}:gmm"
    if name.partition(":")[0] not in EMISSIONS:
        raise UnknownName("model.emission", "emission", name, EMISSIONS, "EMISSIONS")
    conditional = name.rpartition(":")[2]
    if conditional in ("bernoulli", "nade", "made") and data.normalisation is not None:
        raise ValueError("a bernoulli emission needs binary data: use gaussian, gmm or dmol")
    if conditional == "dmol" and data.quantisation_step is None:
        raise ValueError(f"a dmol emission needs audio, whose integer grid is known: use {data.default_emission}")
    options = {option: settings[option] for option in _EMISSION if settings.get(option) is not None}
    if settings.get("emission_log_std_bounds") is not None:
        options["log_std_bounds"] = _hashable(settings["emission_log_std_bounds"])
    if conditional == "dmol" and data.normalisation is not None:
        # Audio lies on a 16-bit scale whatever its own depth: of fewer levels, each is several of its integers.
        levels = settings.get("levels", 2**16)
        if levels < 2 or 2**16 % levels:
            raise ConfigError("model.levels", f"must divide 65536, as 256 does for 8 bits: {levels}")
        mean, std = data.normalisation["mean"], data.normalisation["std"]
        options |= {"step": 2**16 / levels / std, "zero": -mean / std}
    return build_emission(name, data.observation, **options)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
