"""Score sequences one by one, with their names: which of them a model finds unlikely."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from zf_jax.bounds.importance import step_terms
from zf_jax.bounds.noise import seed_key, sequence_keys
from zf_jax.checks import check_counts
from zf_jax.compiled import made_once
from zf_jax.data.pipeline import eval_batches
from zf_jax.data.sources import names_of
from zf_jax.densities import of
from zf_jax.density import Density, needs_steps
from zf_jax.evaluation.scoring import evaluate_split, make_eval_step
from zf_jax.evaluation.statistics import Totals
from zf_jax.evaluation.units import Units, summarise
from zf_jax.models.base import Model
from zf_jax.protocols import Source
from zf_jax.sharding import by_row, data_mesh, global_batch, replicated, rows_for, to_host
from zf_jax.typing import Array, Batch, Params


@dataclasses.dataclass(frozen=True)
class SequenceScores:
    """The scores of some sequences, in the order of their source.

    Attributes:
      totals: the bound, the KL of the one-sample ELBO and the length of each sequence, ``[N]`` each; nats of the
        model's own unit.
      names: what each sequence is called; None where the data keep no names.
      per_step: what every step adds to the ELBO, one array ``[T_i]`` a sequence, nats; None if not asked for.
      units: how the bounds compare.
    """

    totals: Totals
    names: list[str] | None
    per_step: list[np.ndarray] | None
    units: Units

    @property
    def bound(self) -> np.ndarray:
        """A lower bound of log p of each sequence, ``[N]``, nats of the model's own unit."""
        return self.totals.bound

    @property
    def lengths(self) -> np.ndarray:
        """Scored steps of each sequence, ``[N]``."""
        return self.totals.lengths

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict a sequence: index, name, length, and the figures that ``summarise`` gives of it alone."""
        found = []
        for index, length in enumerate(self.lengths):
            one = jax.tree.map(lambda values, at=index: values[at : at + 1], self.totals)
            figures = summarise(one, self.units)
            row: dict[str, Any] = {"index": index}
            if self.names is not None:
                row["name"] = self.names[index]
            row["length"] = int(length)
            row |= {k: v for k, v in figures.items() if not k.startswith("num_") and not k.endswith("_stderr")}
            if self.per_step is not None:
                row["per_step"] = self.per_step[index].tolist()
            found.append(row)
        return found

    def lowest(self, number: int) -> list[int]:
        """Return the indices of the ``number`` sequences that are least likely per step, the least likely first."""
        steps = self.lengths if self.totals.observed_steps is None else self.totals.observed_steps
        return np.argsort(self.bound / np.maximum(steps, 1), kind="stable")[:number].tolist()


def score_sequences(
    model: Model | Density,
    params: Params,
    source: Source,
    units: Units = Units(),
    *,
    bound: str = "elbo",
    num_samples: int = 25,
    chunk_size: int = 8,
    batch_size: int = 64,
    seed: int = 0,
    per_step: bool = False,
) -> SequenceScores:
    """Score every sequence of a source once; neither their order nor the batch size changes a score.

    Args:
      units: how the bounds compare, of ``units_of``; where the model's are probabilities, those of probabilities.
      bound: ``"elbo"``, ``"iwae"`` or ``"particle"``.
      num_samples: K of the iwae bound, or particles.
      chunk_size: samples held in memory at once.
      batch_size: sequences scored at once.
      seed: of the samples.
      per_step: keep what every step adds to the ELBO, too.

    Raises:
      ValueError: an unknown bound, numbers under 1, or ``per_step`` with another bound than the ELBO.
    """
    check_counts(num_samples=num_samples, chunk_size=chunk_size, batch_size=batch_size)
    if per_step and bound != "elbo":
        raise ValueError(f"only the elbo is a sum over steps: leave per_step out, or take it instead of {bound}")
    if per_step:
        needs_steps(model, "per_step")
    mesh = data_mesh(jax.local_devices())
    exact = of(model).kind == "exact"
    step = make_eval_step(model, mesh, bound, 1 if exact or bound == "elbo" else num_samples, chunk_size)
    batches = eval_batches(source, batch_size=rows_for(batch_size, mesh))
    key = seed_key(seed)
    totals = evaluate_split(step, params, batches, key, mesh)
    steps = _each_step(model, params, source, key, batch_size, mesh) if per_step else None
    return SequenceScores(totals, names_of(source), steps, units.under(model.emission.is_density))


def _each_step(model: Any, params: Params, source: Source, key: Array, batch_size: int, mesh: Mesh) -> list[np.ndarray]:
    """What every step adds to the ELBO, with the noise with which the ELBO was scored."""
    compiled = _compiled_each_step(model, mesh)
    found: list[np.ndarray] = [np.zeros(0)] * len(source)
    for indices, batch in eval_batches(source, batch_size=rows_for(batch_size, mesh)):
        placed, places = global_batch((batch, np.maximum(indices, 0).astype(np.uint32)), mesh)
        added = to_host(compiled(params, placed, key, places))
        for row in np.flatnonzero(indices >= 0):
            found[indices[row]] = added[row, : batch.lengths[row]]
    return found


@made_once
def _compiled_each_step(model: Any, mesh: Mesh) -> Callable[[Params, Batch, Array, Array], Array]:
    everywhere, rows = replicated(mesh), by_row(mesh)

    def each_step(params, batch, key, indices):
        keys = sequence_keys(key, indices)
        terms = step_terms(model, params, batch, keys)
        return terms.emission_log_prob - terms.kl

    return jax.jit(each_step, in_shardings=(everywhere, rows, everywhere, rows), out_shardings=rows)
