"""Weights and learning rates as functions of the update's number, built from optax schedules."""

from __future__ import annotations

import optax


def linear_ramp(start: float, end: float, steps: int) -> optax.Schedule:
    """From ``start`` at update 0 to ``end`` at update ``steps`` in a straight line, then constant.

    The paper's "kla" is ``linear_ramp(0.2, 1.0, 16_000)``: 0.2 rising by 5e-5 an update.
    """
    if steps <= 0:
        return optax.constant_schedule(end)
    return optax.linear_schedule(start, end, steps)


def cyclical_ramp(start: float, end: float, steps: int, cycles: int) -> optax.Schedule:
    """``cycles`` times over: a straight line over half of a cycle, then constant; ``end`` after ``steps``.

    Source: Fu et al., "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing", 2019.
    """
    if cycles < 1 or steps < 2 * cycles:
        raise ValueError(f"{cycles} cycles do not fit in {steps} steps: each needs two at least")
    length = steps // cycles
    ramp = linear_ramp(start, end, length // 2)
    return optax.join_schedules(
        [ramp] * cycles + [optax.constant_schedule(end)], [length * (i + 1) for i in range(cycles)]
    )


def learning_rate(
    peak: float, *, warmup_steps: int = 0, decay_steps: int = 0, final_fraction: float = 0.0
) -> optax.Schedule:
    """A constant rate; with ``warmup_steps`` a linear start, with ``decay_steps`` a cosine down to a fraction of it.

    Args:
      peak: the highest rate.
      warmup_steps: updates from 0 up to ``peak``.
      decay_steps: the update at which the cosine ends; 0 for no decay.
      final_fraction: what is left of ``peak`` then.
    """
    if decay_steps and decay_steps <= warmup_steps:
        raise ValueError(f"decay_steps, {decay_steps}, must be more than warmup_steps, {warmup_steps}")
    warmup = linear_ramp(0.0, peak, warmup_steps)
    if not decay_steps:
        return warmup
    cosine = optax.cosine_decay_schedule(peak, decay_steps - warmup_steps, final_fraction)
    return optax.join_schedules([warmup, cosine], [warmup_steps])
