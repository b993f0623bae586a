"""An opened run: what it draws, scores and forecasts, in the unit of its data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from zf_jax import generation
from zf_jax.bounds.noise import seed_key
from zf_jax.data import Source, pad
from zf_jax.data.arrays import source_of
from zf_jax.data.description import DataDescription
from zf_jax.densities import of
from zf_jax.density import Density, needs_steps
from zf_jax.evaluation.forecast import forecast
from zf_jax.evaluation.sequences import SequenceScores, score_sequences
from zf_jax.evaluation.units import units_of
from zf_jax.models import Model
from zf_jax.typing import Params


class Drawn(NamedTuple):
    """Sequences drawn from a run.

    Attributes:
      values: one array a sequence, ``[T]`` tokens or ``[T, D]`` frames in the data's own unit; text ends at its first
        end of sentence.
      text: the words of each sequence; None where the data have no words.
    """

    values: list[np.ndarray]
    text: list[str] | None


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model, and what its data are.

    Attributes:
      path: the run's folder.
      model: the model.
      params: the parameters of one checkpoint.
      step: the checkpoint's step.
      config: the config that was saved beside the checkpoint, as plain values.
      data: what the numbers and tokens of the run's data mean; the data themselves are not read.
      data_fingerprint: what tells the run's data from others; None of an old run.
    """

    path: Path
    model: Model | Density
    params: Params
    step: int
    config: dict[str, Any]
    data: DataDescription
    data_fingerprint: dict[str, Any] | None = None

    def source(
        self,
        values: Any,
        lengths: Any = None,
        names: list[str] | None = None,
        *,
        context: Any = None,
        labels: Any = None,
    ) -> Source:
        """Return sequences in the data's own unit as the run's model reads them: normalised by the run's statistics.

        Args:
          values: a list of sequences, each ``[T_i]`` tokens or ``[T_i, D]`` frames, or one padded array ``[N, T]`` or
            ``[N, T, D]``.
          lengths: the number of real steps of each row of a padded array.
          names: what each sequence is called.
          context: what is given beside each element, in its own units and in the form of ``values``, where the run's
            data have a context.
          labels: the label of each sequence, likewise.

        Raises:
          DataError: they are not such as the run was trained on; the sentence names the sequence.
        """
        return source_of(values, lengths, self.data, names=names, context=context, labels=labels)

    def score(
        self,
        data: Any,
        lengths: Any = None,
        *,
        context: Any = None,
        labels: Any = None,
        bound: str = "elbo",
        num_samples: int = 25,
        chunk_size: int = 8,
        batch_size: int = 64,
        seed: int = 0,
        per_step: bool = False,
    ) -> SequenceScores:
        """Score sequences one by one, in their order.

        Args:
          data: a ``Source``, whose sequences are taken as they are, or arrays in the data's own unit, as for
            ``source``.
          lengths: of the rows of a padded array.
          context, labels: what is given beside arrays, as for ``source``; a ``Source`` holds its own.
          bound: ``"elbo"``, ``"iwae"`` or ``"particle"``.
          num_samples: K of the iwae bound, or particles.
          chunk_size: samples held in memory at once.
          batch_size: sequences scored at once; the scores do not depend on it.
          seed: of the samples.
          per_step: keep what every step adds to the ELBO, too.

        Raises:
          DataError: as for ``source``.
          ValueError: an unknown bound, or ``per_step`` with another bound than the ELBO.
        """
        if isinstance(data, Source):
            if context is not None or labels is not None:
                raise ValueError(
                    "context and labels belong to arrays: a Source holds what is given beside its sequences"
                )
            source = data
        else:
            source = self.source(data, lengths, context=context, labels=labels)
        # What a density draws to be evaluated, such as orderings, is of the run's seed.
        prepared = of(self.model).prepare(self.params, seed_key(self.config.get("seed", 0), "evaluation"))
        return score_sequences(
            self.model,
            prepared,
            source,
            units_of(self.data, self.model),
            bound=bound,
            num_samples=num_samples,
            chunk_size=chunk_size,
            batch_size=batch_size,
            seed=seed,
            per_step=per_step,
        )

    def sample(
        self,
        num_samples: int,
        length: int,
        *,
        seed: int = 0,
        first: Any = None,
        context: Any = None,
        labels: Any = None,
    ) -> Drawn:
        """Draw sequences of ``length`` steps.

        Args:
          first: a real first frame of each sequence, ``[num_samples, D]`` in the data's own unit.  A run of the
            protocol ``srnn`` needs it, since its model never saw a start frame.
          context: what is given beside each element to be drawn, ``[num_samples, length, K]`` in its own units, where
            the run's data have a context.
          labels: the label of each sequence to be drawn, ``[num_samples]``, likewise.

        Raises:
          ValueError: ``first``, ``context`` or ``labels`` is missing, or does not fit.
        """
        if self.data.protocol == "srnn" and first is None:
            raise ValueError("the run's protocol gives the first frame: give real ones as first, [num_samples, D]")
        given = None if first is None else jnp.asarray(self.data.normalise(first))
        drawn = generation.sample(
            self.model,
            self.params,
            seed_key(seed),
            num_samples=num_samples,
            length=length,
            first=given,
            context=self.data.context(context, labels, length),
        )
        values = list(np.asarray(drawn.values))
        if self.data.vocabulary is not None and "<eos>" in self.data.vocabulary:
            end = self.data.vocabulary.index("<eos>")
            values = [row[: int(np.argmax(row == end)) + 1] if (row == end).any() else row for row in values]
        text = None if self.data.vocabulary is None else [self.data.detokenise(row) for row in values]
        return Drawn([self.data.to_own_unit(row) for row in values], text)

    def forecast(
        self,
        values: Any,
        length: int,
        *,
        num_samples: int = 100,
        num_particles: int = 100,
        seed: int = 0,
        context: Any = None,
        labels: Any = None,
        future_context: Any = None,
    ) -> np.ndarray:
        """Draw what follows each sequence, in the data's own unit: ``[N, num_samples, length]``, frames ``[..., D]``.

        Args:
          values: sequences in the data's own unit, as for ``source``; each is gone on with from its last step.
          length: steps to draw.
          num_particles: particles that stand for the state at the end of a sequence.
          context, labels: what is given beside ``values``, as for ``source``.
          future_context: what is given beside each element to come, ``[N, length, K]`` in its own units.

        Raises:
          DataError: as for ``source``.
          ValueError: a number under 1, or ``future_context`` is missing or does not fit.
        """
        source = self.source(values, context=context, labels=labels)
        drawn = forecast(
            needs_steps(self.model, "forecast"),
            self.params,
            pad([source[index] for index in range(len(source))], int(np.max(source.lengths))),
            seed_key(seed),
            length=length,
            num_samples=num_samples,
            num_particles=num_particles,
            chunk_size=1,
            context=self.data.context(future_context, labels, length),
        )
        return self.data.to_own_unit(drawn)
