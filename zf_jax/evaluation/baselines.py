"""Compute baselines: likelihoods of trivial models, fitted on the training split alone.

independent pixels   one Bernoulli per position of the image, from the training frequencies
independent notes    one Bernoulli per note of the piano roll, from the training frequencies; of other binary frames
                     ``independent dimensions``
unigram              one categorical for every word
unit Gaussian        N(0, 1) for every normalised sample
linear predictor     each sample from the 32 before, by least squares, with one residual variance
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zf_jax.data.dataset import DataSet
from zf_jax.data.music import NOTES
from zf_jax.distributions import LOG_TWO_PI
from zf_jax.evaluation.statistics import Totals, count_observed
from zf_jax.protocols import Example, Source
from zf_jax.typing import is_observed

_PREDICTOR_ORDER = 32


def baselines(train: Source, scored: Source, data: DataSet) -> dict[str, Totals]:
    """Return the baselines for this kind of data, by name, with log-likelihoods of each sequence of ``scored``."""
    found = _by_name(train, scored, data)
    return {k: _with_counts(v, scored) for k, v in found.items()} if data.observation.missing else found


def _by_name(train: Source, scored: Source, data: DataSet) -> dict[str, Totals]:
    if data.normalisation is not None:
        found = {"unit Gaussian": _totals(scored, unit_gaussian)}
        if not data.observation.missing:  # the predictor needs every sample before
            found[f"linear predictor, order {_PREDICTOR_ORDER}"] = linear_predictor(train, scored)
        return found
    if data.image_shape is not None:  # pixel by pixel, or row by row
        return {"independent pixels": independent_pixels(train, scored)}
    if data.observation.kind == "frames":
        if data.observation.missing:
            return {}
        what = "notes" if data.observation.size == NOTES else "dimensions"
        return {f"independent {what}": independent_notes(train, scored)}
    return {"unigram": unigram(train, scored, data.observation.size)}


def independent_pixels(train: Source, scored: Source) -> Totals:
    """Score with one Bernoulli per position, from the training counts plus one of each kind."""
    ones = 1.0 + np.sum([example.targets for example in _all(train)], axis=0)
    probability = ones / (len(train) + 2.0)
    return _totals(scored, lambda example: _bernoulli(example.targets, probability))


def independent_notes(train: Source, scored: Source) -> Totals:
    """Score with one Bernoulli per note, the same at all steps, from the training counts plus one of each kind."""
    steps, ones = 2.0, 1.0
    for example in _all(train):
        steps, ones = steps + len(example.targets), ones + example.targets.sum(axis=0, dtype=np.float64)
    return _totals(scored, lambda example: _bernoulli(example.targets, ones / steps))


def unigram(train: Source, scored: Source, size: int) -> Totals:
    """Score with one categorical for all words, from the training counts plus one each."""
    counts = np.ones(size)
    for example in _all(train):
        np.add.at(counts, example.targets[is_observed(example.targets)], 1.0)
    log_prob = np.log(counts / counts.sum())
    return _totals(scored, lambda example: float(log_prob[example.targets[is_observed(example.targets)]].sum()))


def unit_gaussian(example: Example) -> float:
    """Return log N(y; 0, I) of what was observed of one sequence, nats in normalised units."""
    observed = example.targets[is_observed(example.targets)]
    return float(-0.5 * (np.square(observed, dtype=np.float64).sum() + observed.size * LOG_TWO_PI))


def linear_predictor(train: Source, scored: Source, order: int = _PREDICTOR_ORDER) -> Totals:
    """Predict each sample linearly from the ``order`` samples before, with Gaussian residuals of one variance.

    The history before a sequence is zeros, or the first frame if the protocol gives that frame.
    """
    moment, cross, energy, count = np.zeros((order, order)), np.zeros(order), 0.0, 0
    for example in _all(train):
        history, target = _history(example, order)
        moment += history.T @ history
        cross += history.T @ target
        energy += float(target @ target)
        count += target.size
    weights = np.linalg.solve(moment + 1e-6 * np.trace(moment) / order * np.eye(order), cross)
    variance = max((energy - 2 * weights @ cross + weights @ moment @ weights) / count, 1e-12)

    def log_prob(example: Example) -> float:
        history, target = _history(example, order)
        residual = target - history @ weights
        return float(-0.5 * (residual @ residual / variance + target.size * (LOG_TWO_PI + np.log(variance))))

    return _totals(scored, log_prob)


def _history(example: Example, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``order`` samples before each scored one, ``[N, order]``, newest last, and the scored ones ``[N]``."""
    target = example.targets.astype(np.float64).ravel()
    given = example.inputs[0].astype(np.float64) if example.input_mask[0] > 0 else np.zeros(0)
    before = np.concatenate([np.zeros(order), given])[-order:]
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, target]), order)[:-1]
    return windows, target


def _bernoulli(x: np.ndarray, probability: Any) -> float:
    return float(np.where(x > 0, np.log(probability), np.log1p(-probability)).sum())


def _all(source: Source) -> Iterator[Example]:
    return (source[index] for index in range(len(source)))


def _totals(scored: Source, log_prob) -> Totals:
    bounds = np.asarray([log_prob(example) for example in _all(scored)])
    return Totals(bounds, np.zeros(len(bounds)), np.asarray(scored.lengths))


def _with_counts(totals: Totals, scored: Source) -> Totals:
    """Return the totals with the numbers of steps and elements that were observed."""
    counts = [count_observed(example.targets[None], np.ones((1, len(example.targets)))) for example in _all(scored)]
    return totals._replace(**{name: np.concatenate([count[name] for count in counts]) for name in counts[0]})
