"""The registry of densities that are no recurrence over steps: one file each, one line each."""

from __future__ import annotations

import dataclasses
from typing import Any

from zf_jax.densities.draw import DRAW
from zf_jax.densities.eonade import EoNADE
from zf_jax.densities.images import BinaryImages
from zf_jax.densities.nade import NADE
from zf_jax.densities.pixel_cnn import PixelCNN
from zf_jax.densities.pixel_rnn import PixelRNN
from zf_jax.densities.pixel_vae import PixelVAE
from zf_jax.densities.stepwise import of

DENSITIES: dict[str, type[BinaryImages]] = {
    "pixel_rnn": PixelRNN,
    "nade": NADE,
    "eonade": EoNADE,
    "pixel_cnn": PixelCNN,
    "pixel_vae": PixelVAE,
    "draw": DRAW,
}


def build_density(name: str, image_shape: tuple[int, int], **options: Any) -> BinaryImages:
    """The density called ``name`` for binary images of ``image_shape``.

    Args:
      options: fields of the density's class.

    Raises:
      ValueError: an unknown density, an unknown option, or a value that the density refuses.
    """
    if name not in DENSITIES:
        raise ValueError(f"unknown density {name!r}; choose one of {', '.join(sorted(DENSITIES))}")
    known = [field.name for field in dataclasses.fields(DENSITIES[name])]
    for option in options:
        if option not in known:
            raise ValueError(f"the density {name!r} has no option {option!r}; it has {', '.join(known)}")
    return DENSITIES[name](image_shape=image_shape, **options)


__all__ = ["DENSITIES", "BinaryImages", "build_density", "of"]
