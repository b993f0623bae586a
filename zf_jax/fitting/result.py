"""How a training ends."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from zf_jax.training import TrainState


class NotFinite(RuntimeError):
    """Training came to nothing, since its updates were not finite."""


class Diverged(NotFinite):
    """Too many updates in a row were not finite, or the parameters are not."""


class Fitted(NamedTuple):
    """What training left.

    Attributes:
      state: after the last update.
      history: the lines of metrics of this call, ``{"step", "split", ...}`` each, in the order of the steps.
      ended_by: what ended it: ``"num_steps"``, ``"patience"``, a ``"callback"``, or a ``"signal"`` to the program.
      best: step and ELBO of the best validation, in nats per sequence; None if there was none.
      seconds_per_update: the median over the intervals between log lines; None where there was none.
    """

    state: TrainState
    history: list[dict[str, Any]]
    ended_by: Literal["num_steps", "patience", "callback", "signal"]
    best: tuple[int, float] | None
    seconds_per_update: float | None
