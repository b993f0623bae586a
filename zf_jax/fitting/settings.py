"""How long a model is trained, and what is done how often."""

from __future__ import annotations

import dataclasses

from zf_jax.nn.precision import COMPUTE_DTYPES
from zf_jax.plain import make_plain

AT_LEAST_ONE = (
    "num_steps",
    "batch_size",
    "accumulate",
    "updates_per_call",
    "log_every",
    "eval_every",
    "checkpoint_every",
    "eval_batch_size",
    "max_skipped_in_a_row",
)
AT_LEAST_ZERO = ("eval_sequences", "patience", "keep_every", "remat")


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """The training loop's numbers, all counted in updates unless said otherwise.

    Attributes:
      num_steps: the last update.
      batch_size: sequences of one update, over all devices.
      accumulate: pieces that the batch of an update is cut into, one in memory after another.
      remat: steps of a block of the recurrences and of the terms that follow; the gradient keeps the carry between
        blocks and computes the rest again; 0 keeps all.
      compute_dtype: of an update's matrix products, "float32" or "bfloat16"; evaluation is in float32.
      updates_per_call: updates compiled into one call, for small models that leave the device waiting for the host.
      log_every: updates between two lines of metrics.
      eval_every: updates between two validations.
      checkpoint_every: updates between two checkpoints; every validation writes one too.
      keep_every: updates between two checkpoints that stay, beside the latest and the best; 0 keeps no other.
      eval_batch_size: sequences scored at once in validation.
      eval_sequences: how many validation sequences are scored; 0 for all.
      patience: updates without a better validation ELBO after which training ends; 0 never ends it.
      max_skipped_in_a_row: updates in a row that are not finite, after which training ends with ``Diverged``.
    """

    num_steps: int = 1000
    batch_size: int = 32
    accumulate: int = 1
    remat: int = 0
    compute_dtype: str = "float32"
    updates_per_call: int = 1
    log_every: int = 50
    eval_every: int = 500
    checkpoint_every: int = 500
    keep_every: int = 0
    eval_batch_size: int = 256
    eval_sequences: int = 0
    patience: int = 0
    max_skipped_in_a_row: int = 100

    def __post_init__(self):
        make_plain(self)
        for least, names in ((1, AT_LEAST_ONE), (0, AT_LEAST_ZERO)):
            for name in names:
                value = getattr(self, name)
                if isinstance(value, bool) or not isinstance(value, int) or value < least:
                    raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
        if self.compute_dtype not in COMPUTE_DTYPES:
            raise ValueError(f"compute_dtype must be one of {', '.join(COMPUTE_DTYPES)}, not {self.compute_dtype!r}")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size={self.batch_size} cannot be cut into accumulate={self.accumulate} equal pieces"
            )
        if self.keep_every % self.checkpoint_every:
            raise ValueError(
                f"keep_every={self.keep_every} must be a multiple of checkpoint_every={self.checkpoint_every}"
            )
        for name in ("log_every", "eval_every", "checkpoint_every"):
            if self.updates_per_call > getattr(self, name):
                raise ValueError(
                    f"updates_per_call={self.updates_per_call} cannot be above {name}={getattr(self, name)}: no call "
                    "runs past a step at which something is due"
                )
