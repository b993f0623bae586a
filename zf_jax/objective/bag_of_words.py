"""Compute the bag-of-words auxiliary cost: z_t predicts the words from step t on, in any order.

    log p(bag_t | z_t) = mean over s = t..T of log softmax(f_bag(z_t))[y_s]

The cost is an alternative to Z-Forcing's auxiliary cost, for any latent model of tokens.  It is a mean over the words,
not a sum, so that every step has the weight of one word.

Source: Zhao, Zhao and Eskenazi, "Learning Discourse-level Diversity for Neural Dialog Models using Conditional
Variational Autoencoders", 2017, section 3.3, which has one latent per sequence.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from zf_jax.models.base import Model, Wrapped
from zf_jax.nn.layers import init_linear, linear
from zf_jax.typing import Array, Params, is_observed

NAME = "bag_of_words"


class _WithBagOfWords(Wrapped):
    def init(self, key: Array) -> Params:
        head = init_linear(jax.random.fold_in(key, 2**31), self.latent_dim, self.observation.size)
        return self.model.init(key) | {NAME: head}


def with_bag_of_words(model: Model) -> Model:
    """Return ``model`` with the parameters of f_bag added, which only the auxiliary cost reads; once.

    Raises:
      ValueError: the model has no latents, or its data are not tokens.
    """
    if isinstance(model, _WithBagOfWords):
        return model
    observation = model.observation
    if observation.kind != "tokens" or model.latent_dim == 0:
        raise ValueError("the bag-of-words auxiliary needs tokens and a model with latents")

    return _WithBagOfWords(model)  # pyright: ignore[reportReturnType]


def with_head(params: Params, own: Params) -> Params:
    """Return ``params``, with f_bag of ``own`` where they have none and ``own`` do."""
    if not isinstance(own, dict) or NAME not in own or NAME in params:  # those of a density may be any tree
        return params
    return {**params, NAME: own[NAME]}


def bag_log_prob(params: Params, latents: Array, targets: Array, mask: Array) -> Array:
    """Return log p(bag_t | z_t) of every step: ``[B, T]``, nats, 0 on padding.

    Args:
      latents: z, ``[B, T, Z]``.
      targets: y, ``[B, T]`` tokens.
      mask: ``[B, T]``, 1 on real steps.

    Raises:
      ValueError: the parameters have no f_bag; see ``with_bag_of_words``.
    """
    head: Any = params.get(NAME)
    if head is None:
        raise ValueError("the parameters have no bag_of_words head; make the model by with_bag_of_words before init")
    log_probs = jax.nn.log_softmax(linear(head, latents), axis=-1)
    num_steps = targets.shape[1]
    everywhere = jnp.broadcast_to(targets[:, None, :], (targets.shape[0], num_steps, num_steps))
    picked = jnp.take_along_axis(log_probs, everywhere, axis=-1)  # [B, T, S]: word s under the bag of step t
    there = is_observed(targets) & (mask > 0)  # a missing word is in no bag
    to_come = jnp.triu(jnp.ones((num_steps, num_steps), bool)) & there[:, None, :]
    total = jnp.sum(jnp.where(to_come, picked, 0.0), axis=-1)
    return jnp.where(mask > 0, total / jnp.maximum(jnp.sum(to_come, axis=-1), 1), 0.0)
