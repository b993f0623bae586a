"""Settings of the training objective, and weights of the terms."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

from zf_jax.checks import check_counts
from zf_jax.plain import make_plain
from zf_jax.typing import Array


@dataclasses.dataclass(frozen=True)
class Objective:
    """Settings of the objective that do not change during training.

    Attributes:
      aux_gradient: where the auxiliary gradient stops (rule A1).  ``"target"``: at the target b_t; the gradient still
        reaches the backward network through z.  ``"backward"``: no auxiliary gradient reaches the backward network.
      free_nats: free bits, in nats: the KL of a step has no gradient below this value (Kingma et al. 2016; applied to
        the KL of a whole step, as in Hafner et al. 2019).
      kl_balance: the share of the KL's gradient that moves the prior towards the posterior; the rest moves the
        posterior towards the prior (0.8 in Hafner et al. 2021).  None does not change the KL.
      word_dropout: the share of input words that the networks see as ``unknown_word`` (Bowman et al. 2016).
      unknown_word: the token that stands for a dropped word.
      bag_of_words_weight: weight of the auxiliary cost in ``bag_of_words``; the model must come from ``trainable``.
      bound: ``"elbo"``; ``"iwae"`` with ``num_samples`` samples (Burda et al. 2016); or ``"fivo"``, the particle bound
        with ``num_samples`` particles (Maddison et al. 2017), without the score-function gradient of the resampling.
      num_samples: K.  For "elbo" the K estimates are averaged.
      doubly_reparametrised: whether the IWAE gradient is the estimator of Tucker et al. 2019.
    """

    aux_gradient: Literal["target", "backward"] = "target"
    free_nats: float = 0.0
    kl_balance: float | None = None
    word_dropout: float = 0.0
    unknown_word: int | None = None
    bag_of_words_weight: float = 0.0
    bound: Literal["elbo", "iwae", "fivo"] = "elbo"
    num_samples: int = 1
    doubly_reparametrised: bool = False

    def __post_init__(self):
        make_plain(self)
        if self.aux_gradient not in ("target", "backward"):
            raise ValueError(f"aux_gradient must be 'target' or 'backward', not {self.aux_gradient!r}")
        if self.bound not in ("elbo", "iwae", "fivo"):
            raise ValueError(f"bound must be 'elbo', 'iwae' or 'fivo', not {self.bound!r}")
        check_counts(num_samples=self.num_samples)
        if not self.free_nats >= 0.0:
            raise ValueError(f"free_nats must be at least 0, not {self.free_nats}")
        if self.kl_balance is not None and not 0.0 <= self.kl_balance <= 1.0:
            raise ValueError(f"kl_balance must be between 0 and 1, or None, not {self.kl_balance}")
        if not 0.0 <= self.word_dropout <= 1.0:
            raise ValueError(f"word_dropout must be between 0 and 1, not {self.word_dropout}")
        if self.word_dropout > 0.0 and self.unknown_word is None:
            raise ValueError("word_dropout needs unknown_word, the token that stands for a dropped word")
        if self.bound != "elbo" and (self.free_nats or self.kl_balance is not None):
            raise ValueError(
                f"free_nats and kl_balance shape the ELBO's KL, which the {self.bound} bound does not have"
            )
        if self.doubly_reparametrised and self.bound != "iwae":
            raise ValueError("doubly_reparametrised is a gradient of the iwae bound; set bound to 'iwae'")


class Weights(NamedTuple):
    """Weights of the terms at one update, scalars."""

    kl_temperature: Array | float = 1.0
    aux_weight: Array | float = 0.0  # alpha
    reverse_weight: Array | float = 0.0  # beta
