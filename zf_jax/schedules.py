"""Build schedules of weights and learning rates from optax schedules."""

from __future__ import annotations

import optax

from zf_jax.compiled import made_once


@made_once
def linear_ramp(start: float, end: float, steps: int) -> optax.Schedule:
    """Return a schedule that is linear from ``start`` at update 0 to ``end`` at update ``steps``, then constant.

    The paper's "kla" is ``linear_ramp(0.2, 1.0, 16_000)``: 0.2 rising by 5e-5 an update.
    """
    if steps <= 0:
        return optax.constant_schedule(end)
    return optax.linear_schedule(start, end, steps)


@made_once
def cyclical_ramp(start: float, end: float, steps: int, cycles: int) -> optax.Schedule:
    """Return a schedule of ``cycles`` equal cycles over ``steps`` updates, constant at ``end`` after the last cycle.

    A cycle is linear from ``start`` to ``end`` in the first half, and constant at ``end`` in the second half.

    Source: Fu et al., "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing", 2019.
    """
    if cycles < 1 or steps < 2 * cycles:
        raise ValueError(f"{cycles} cycles do not fit in {steps} steps: a cycle needs at least 2 steps")
    length = steps // cycles
    ramp = linear_ramp(start, end, length // 2)
    return optax.join_schedules(
        [ramp] * cycles + [optax.constant_schedule(end)], [length * (i + 1) for i in range(cycles)]
    )


@made_once
def learning_rate(
    peak: float, *, warmup_steps: int = 0, decay_steps: int = 0, final_fraction: float = 0.0
) -> optax.Schedule:
    """Return a learning rate with an optional linear warm-up and an optional cosine decay.

    Args:
      peak: the highest rate.
      warmup_steps: the number of updates of the linear warm-up from 0 to ``peak``; 0 for none.
      decay_steps: the update at which the cosine decay ends; 0 for no decay.
      final_fraction: the rate after the decay, as a fraction of ``peak``.

    Raises:
      ValueError: the decay ends before the warm-up.
    """
    if decay_steps and decay_steps <= warmup_steps:
        raise ValueError(f"decay_steps, {decay_steps}, must be more than warmup_steps, {warmup_steps}")
    warmup = linear_ramp(0.0, peak, warmup_steps)
    if not decay_steps:
        return warmup
    cosine = optax.cosine_decay_schedule(peak, decay_steps - warmup_steps, final_fraction)
    return optax.join_schedules([warmup, cosine], [warmup_steps])
