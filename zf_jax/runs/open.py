"""Open a run from Python: its model and parameters, and what its data are, without the data or the optimiser."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zf_jax import generation
from zf_jax.bounds.noise import seed_key
from zf_jax.data import DataError, DataSet, Source, load, pad
from zf_jax.data.arrays import source_of
from zf_jax.data.description import DataDescription, fingerprint
from zf_jax.densities import of
from zf_jax.density import Density, needs_steps
from zf_jax.evaluation.forecast import forecast
from zf_jax.evaluation.sequences import SequenceScores, score_sequences
from zf_jax.evaluation.units import units_of
from zf_jax.models import Model
from zf_jax.runs.build import build_run_model
from zf_jax.runs.errors import RunError
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
    """

    path: Path
    model: Model | Density
    params: Params
    step: int
    config: dict[str, Any]
    data: DataDescription

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


def open_run(
    workdir: str | Path,
    checkpoint: str = "best",
    *,
    model: Model | Density | None = None,
    data_dir: str | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Run:
    """Open the run in a folder: build its model and read its parameters, whose digests are checked.

    Args:
      workdir: the folder that ``zf_jax train`` or ``zf_jax.fit`` wrote.
      checkpoint: ``"best"``, of the best validation ELBO, or ``"latest"``.
      model: of a run of ``zf_jax.fit``, which keeps no config to build the model from.
      data_dir: where the data lie; read only where the run is older than descriptions of data.
      warn: told, in one sentence, about damage that costs no more than a checkpoint.

    Raises:
      RunError: there is no run or no checkpoint, all are damaged, or the data of an old run cannot be loaded.
      ValueError: an unknown checkpoint, or a config that this version cannot build.
    """
    if checkpoint not in ("best", "latest"):
        raise ValueError(f"unknown checkpoint {checkpoint!r}: choose best or latest")
    from zf_jax.runs.checkpoints import Checkpoints

    if "://" in str(workdir):
        raise RunError(f"workdir {workdir}: only folders of a file system can be used; mount the store as one")
    path = Path(workdir).expanduser()
    with Checkpoints(path, create=False, warn=warn) as checkpoints:

        def read(step: int) -> Run:
            config = checkpoints.config(step) or _config_file(path)
            described = checkpoints.description(step)
            if described is None:
                data = _description_of_old(path, config, data_dir)
            else:
                data = DataDescription.from_json(described)
            built = _model_of(path, config, data) if model is None else model
            params = checkpoints.restore_params(jax.eval_shape(built.init, jax.random.key(0)), step)
            config.pop("data_fingerprint", None)
            return Run(path, built, params, step, config, data)

        found = checkpoints.newest(checkpoint, read)
    if found is None:
        raise RunError(f"the run in {path} has no checkpoint yet; train it first, with zf_jax train")
    return found[0]


def _model_of(path: Path, config: dict[str, Any], data: DataDescription) -> Model | Density:
    if not isinstance(config.get("model"), dict):
        raise RunError(
            f"the run in {path} is of zf_jax.fit, which keeps no config of its model: open it from Python, with "
            "zf_jax.open_run(DIR, model=model)"
        )
    return build_run_model(config, data)


def _config_file(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path / 'config.json'} cannot be read ({error}): train again in a new workdir") from error


def _description_of_old(path: Path, config: dict[str, Any], data_dir: str | None) -> DataDescription:
    """Describe the data of a run that has no description by loading them."""
    options = {name: value for name, value in config["data"].items() if name not in ("name", "dir")}
    folder = data_dir or config["data"]["dir"] or None
    try:
        data: DataSet = load(config["data"]["name"], data_dir=folder, **options)
    except DataError as error:
        raise RunError(
            f"the run in {path} is older than descriptions of data, and its data cannot be loaded ({error.fact}): pass "
            "their folder as data_dir, or train it one update further with zf_jax train"
        ) from error
    if config.get("data_fingerprint") not in (None, fingerprint(data)):
        raise RunError(f"the data in {folder} are not those that the run in {path} was trained on: pass their folder")
    return DataDescription.of(data)
