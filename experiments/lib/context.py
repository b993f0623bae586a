"""What is given beside the steps that a program draws: that of the data's own sequences at the same steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zf_jax.protocols import Example


def context_of_steps(examples: Sequence[Example], begins: Sequence[int], steps: int) -> np.ndarray | None:
    """Return what is given beside ``steps`` steps of each example from a step of its own on, ``[B, steps, C]``.

    Behind the end of an example its last row is repeated.  None where nothing is given.
    """
    if examples[0].context is None:
        return None
    found = []
    for example, begin in zip(examples, begins, strict=True):
        assert example.context is not None
        found.append(example.context[np.minimum(np.arange(begin, begin + steps), len(example.context) - 1)])
    return np.stack(found)
