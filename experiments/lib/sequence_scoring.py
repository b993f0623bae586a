"""A run and some sequences in, the score of each of them out."""

from __future__ import annotations

from typing import Any

from experiments.lib.cli import UserError, warn
from experiments.lib.experiment import in_flags
from zf_jax.data import DataError, Source, load
from zf_jax.data.description import DataDescription, changes
from zf_jax.data.foreign import foreign_source
from zf_jax.evaluation.sequences import SequenceScores
from zf_jax.runs.open import open_run
from zf_jax.runs.run import Run


def score(
    workdir: str, *, split: str | None = None, data_dir: str | None = None, checkpoint: str = "best", **options: Any
) -> SequenceScores:
    """Score the sequences of a split of the run's own data, or of other data in ``data_dir``.

    Args:
      options: of ``Run.score``: the bound, its samples and their seed, the sizes held in memory, ``per_step``.

    Raises:
      UserError, RunError, DataError: there is no run, no such split or bound, or data of another shape.
    """
    run = opened_run(workdir, checkpoint, data_dir)
    source = sequences(run, split, data_dir)
    try:
        return run.score(source, **options)
    except ValueError as error:
        raise UserError(str(error)) from error


def opened_run(workdir: str, checkpoint: str, data_dir: str | None) -> Run:
    """Open a run; ``UserError`` if its config is one that this version cannot build."""
    try:
        return open_run(workdir, checkpoint, data_dir=data_dir, warn=warn)
    except DataError:
        raise
    except ValueError as error:
        raise in_flags(error) from error


def sequences(run: Run, split: str | None, data_dir: str | None) -> Source:
    """Return a split of the run's own data, the test split by default, or the sequences in ``data_dir``.

    Raises:
      UserError: the data where the run's config says are no longer those that it was trained on.
      DataError: the data are missing, damaged or of another shape.
    """
    settings = run.config["data"]
    options = {name: value for name, value in settings.items() if name not in ("name", "dir")}
    if data_dir is not None:
        return foreign_source(data_dir, run.data, split=split, warn=warn, **options)
    data = load(settings["name"], data_dir=settings["dir"] or None, **options)
    if DataDescription.of(data) != run.data or changes(run.data_fingerprint, data):
        raise UserError(
            f"the data of {data.name} are no longer those that the run was trained on: pass --data_dir to score others"
        )
    return data.split(split or "test")
