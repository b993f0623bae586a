"""Word dropout: hide a share of the input words from the networks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from zf_jax.objective.settings import Objective
from zf_jax.typing import Array, Batch, is_observed


def check_unknown_word(model: Any, settings: Objective) -> None:
    """Raise ``ValueError`` if words would be dropped for a token that the model's vocabulary does not have."""
    observation, unknown = model.observation, settings.unknown_word
    if settings.word_dropout and observation.kind == "tokens" and unknown not in range(observation.size):
        raise ValueError(f"objective unknown_word must be a token of the model, 0 .. {observation.size - 1}: {unknown}")


def drop_words(batch: Batch, key: Array, settings: Objective) -> Batch:
    """Replace a share of the input words by the unknown word; targets and start tokens do not change.

    Raises:
      ValueError: the data are not tokens.
    """
    if not jnp.issubdtype(batch.inputs.dtype, jnp.integer):
        raise ValueError("word_dropout needs tokens, not frames")
    dropped = jax.random.bernoulli(key, settings.word_dropout, batch.inputs.shape) & (batch.input_mask > 0)
    dropped = dropped & is_observed(batch.inputs)
    unknown = jnp.asarray(settings.unknown_word, batch.inputs.dtype)
    return batch._replace(inputs=jnp.where(dropped, unknown, batch.inputs))
