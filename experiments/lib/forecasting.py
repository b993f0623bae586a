"""A run and sequences in, draws of what follows them and their scores out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.lib.cli import UserError, finite, warn, write_json
from experiments.lib.context import context_past_end
from experiments.lib.forecast_draws import draw, draw_past_end
from experiments.lib.forecast_files import is_ordered, write_forecasts
from experiments.lib.forecast_scores import Forecasts, beside_given, beside_season, scores, token_scores
from experiments.lib.output_files import make_folder
from experiments.lib.sequence_scoring import opened_run, sequences
from zf_jax.data import subsample
from zf_jax.density import Density
from zf_jax.evaluation.units import summarise
from zf_jax.runs.run import Run

_ANOTHER = "; --out chooses another folder"


def forecast_run(
    workdir: str,
    *,
    prefix: int | float,
    steps: int,
    split: str | None = None,
    data_dir: str | None = None,
    num_sequences: int = 64,
    num_samples: int = 100,
    num_particles: int = 100,
    season: int = 0,
    seed: int = 0,
    checkpoint: str = "best",
    out: str | None = None,
    report: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Forecast sequences of a split, write what was drawn into ``workdir/forecast``, and return the scores.

    A folder of the run that cannot be written costs a warning; one that the user chose is refused first.

    Args:
      prefix: steps given of each sequence, or their share if below 1.
      steps: to forecast.
      season: steps of a season, to hold the seasonal naive forecast of the same numbers beside the model's; 0 does not.
      out: the folder to write into in place of ``workdir/forecast``.
      report: called with the scores before anything is written.

    Raises:
      UserError, RunError, DataError: as for ``sequence_scoring.score``; no sequence is longer than the prefix, or
        ``out`` cannot be written.
    """
    run = _opened(workdir, checkpoint, data_dir)
    if season and run.data.normalisation is None:
        raise UserError(f"--season={season} needs data of real numbers: leave it out")
    if out is not None:
        make_folder(Path(out), f"--out={out}")
    source = subsample(sequences(run, split, data_dir), num_sequences)
    found = draw(run, source, prefix, steps, num_samples, num_particles, seed)
    bound = run.score(source, seed=seed)
    columns, binary = _columns(run), run.data.normalisation is None
    result: dict[str, Any] = {
        "split": split or ("test" if data_dir is None else "all"),
        "prefix": prefix,
        "steps": found.truth.shape[1],
        "num_sequences": len(found.places),
        "too_short": len(source) - len(found.places),
        "num_samples": num_samples,
        "num_particles": num_particles,
        "elbo_nats_per_step": summarise(bound.totals)["nats_per_step"],
        **(scores(found, columns, binary=binary) if is_ordered(run.data) else token_scores(found)),
        **({} if binary else beside_given(found, seed, columns)),
        **(beside_season(found, season, seed, columns, binary=binary) if season else {}),
        "model": run.config["model"]["name"],
        "data": run.data.name,
        "step": run.step,
        "seed": seed,
    }
    result = finite(result)
    report(result)
    try:
        _write(run, result, found, result["split"], out, scored=True)
    except UserError as error:
        warn(str(error))  # the scores are printed
    return result


def forecast_past_end(
    workdir: str,
    *,
    steps: int,
    split: str | None = None,
    data_dir: str | None = None,
    future_context: str | None = None,
    num_sequences: int = 64,
    num_samples: int = 100,
    num_particles: int = 100,
    seed: int = 0,
    checkpoint: str = "best",
    out: str | None = None,
    report: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Forecast what follows the last step of whole sequences, and write it as ``SPLIT_past_end``, without scores.

    Args:
      future_context: the file or folder of what is given beside the steps to come, where the run's data have a context.

    Other arguments as for ``forecast_run``.

    Raises:
      UserError, RunError, DataError: as for ``sequence_scoring.score``; the context to come is missing, or not wanted,
        or the folder cannot be written.
    """
    run = _opened(workdir, checkpoint, data_dir)
    if run.data.vocabulary is not None and "<eos>" in run.data.vocabulary:
        raise UserError(f"--past_end: nothing follows the end of a sentence of {run.data.name}; pass a --prefix")
    folder = _folder(run, out)
    make_folder(folder, str(folder), _ANOTHER)  # the draws are all that there is: no scores are printed
    source = subsample(sequences(run, split, data_dir), num_sequences)
    # Pieces of other splits than the last in time end before their sequence does.
    context = context_past_end(run, source, steps, future_context, whole=split in (None, "test"))
    found = draw_past_end(run, source, steps, num_samples, num_particles, seed, context)
    result: dict[str, Any] = {
        "split": split or ("test" if data_dir is None else "all"),
        "past_end": True,
        "steps": steps,
        "num_sequences": len(found.places),
        "num_samples": num_samples,
        "num_particles": num_particles,
        "model": run.config["model"]["name"],
        "data": run.data.name,
        "step": run.step,
        "seed": seed,
    }
    report(result)
    _write(run, result, found, f"{result['split']}_past_end", out, scored=False)
    return result


def _opened(workdir: str, checkpoint: str, data_dir: str | None) -> Run:
    run = opened_run(workdir, checkpoint, data_dir)
    if isinstance(run.model, Density):
        raise UserError(f"{run.config['model']['name']} is a density of whole items, which has no steps to forecast")
    return run


def _columns(run: Run) -> list[str] | None:
    """What the dimensions of real numbers are called, by number where they have no names; None where they are alike."""
    data = run.data
    if data.columns is not None:
        return list(data.columns)
    if data.normalisation is None or data.sample_rate is not None or data.observation.size == 1:
        return None
    return [str(dimension) for dimension in range(data.observation.size)]


def _folder(run: Run, out: str | None) -> Path:
    return run.path / "forecast" if out is None else Path(out)


def _write(run: Run, result: dict[str, Any], found: Forecasts, name: str, out: str | None, *, scored: bool) -> None:
    folder = _folder(run, out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{name}.json", result)
        write_forecasts(run.data, found, folder / name, scored=scored)
    except OSError as error:
        raise UserError(f"{folder / name} cannot be written: {error.strerror or error}{_ANOTHER}") from error
