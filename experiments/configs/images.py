"""Define the settings that the configs nade, eonade and pixel_rnn share: the data, and fields of training."""

from __future__ import annotations

from typing import Any

from experiments.configs.base import get_base


def get_images(name: str, variant: str, variants: tuple[str, ...]) -> Any:
    """Return the config of the density ``name``, on binarised MNIST, or on scikit-learn's digits for ``digits``.

    Raises:
      ValueError: ``variant`` is not "" and not in ``variants``.
    """
    if variant not in ("", *variants):
        choices = ", ".join(f"{name}.py:{one}" for one in variants)
        raise ValueError(f"{name}.py has no variant {variant!r}: use {name}.py or {choices}")
    config = get_base()
    config.model.name = name
    if variant == "digits":
        config.data.name = "digits"
        config.train.update(eval_every=200, checkpoint_every=200, clip_norm=10.0)
        return config
    config.data.name = "mnist"
    config.data.skip_bad_files = False
    config.train.update(log_every=100, eval_every=2000, checkpoint_every=2000, eval_sequences=2000, clip_norm=10.0)
    if variant == "small":
        config.train.update(log_every=20, eval_every=250, checkpoint_every=250, eval_sequences=256)
    return config
