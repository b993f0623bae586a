"""A run and a bound in, the figures people compare out, also written beside the run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

import zf_jax
from experiments.lib.cli import UserError, finite, progress, write_json
from experiments.lib.experiment import eval_batch_size, prepared
from experiments.lib.run_folder import RestoredRun, restore
from zf_jax.bounds.noise import GENERATOR, seed_key
from zf_jax.data import subsample
from zf_jax.density import needs_steps
from zf_jax.evaluation.scoring import BOUNDS
from zf_jax.evaluation.units import units_of

DEFAULT_SAMPLES = 25


def evaluate(
    workdir: str,
    *,
    split: str = "test",
    bound: str = "elbo",
    num_samples: int = DEFAULT_SAMPLES,
    num_sequences: int = 0,
    chunk_size: int = 8,
    seed: int = 0,
    checkpoint: str = "best",
    data_dir: str | None = None,
    report: Callable[[dict[str, Any]], None] = lambda result: None,
    run: RestoredRun | None = None,
) -> dict[str, Any]:
    """Score one split of the run in ``workdir``, and write the result beside the run under ``result_name``.

    Args:
      report: called with the result before it is written.
      run: the run at its best checkpoint, if the caller has restored it already.

    Raises:
      UserError, CheckpointError, DataError: there is no run, no such split or bound, no sample, a damaged checkpoint.
    """
    if num_sequences < 0:
        raise UserError(f"--num_sequences must be at least 0, which means all: {num_sequences}")
    for name, value in (("num_samples", num_samples), ("chunk_size", chunk_size)):
        if value < 1:
            raise UserError(f"--{name} must be at least 1, not {value}")
    run = restore(workdir, checkpoint, data_dir, run)
    experiment, state = run.experiment, run.state
    if bound not in BOUNDS:
        raise UserError(f"unknown bound {bound!r}; choose one of {', '.join(BOUNDS)}")
    if bound == "particle":
        try:
            needs_steps(experiment.model, "the particle bound")
        except ValueError as error:
            raise UserError(str(error)) from error
    found = zf_jax.evaluate(
        experiment.model,
        prepared(experiment, state.params),
        subsample(experiment.data.split(split), num_sequences),
        bound=bound,
        num_samples=num_samples,
        chunk_size=chunk_size,
        batch_size=eval_batch_size(experiment),
        units=units_of(experiment.data),
        key=seed_key(seed),
        mesh=experiment.mesh,
        progress=progress,
    )
    result: dict[str, Any] = {
        "split": split,
        **found,
        "model": experiment.config.model.name,
        "data": experiment.config.data.name,
        "protocol": experiment.data.protocol,
        "step": int(state.step),
        "seed": seed,
        "generator": GENERATOR,
        "device": jax.devices()[0].device_kind,
    }
    result = finite(result)
    report(result)
    if jax.process_index() == 0:
        samples = DEFAULT_SAMPLES if found["exact"] or bound == "elbo" else num_samples  # which these do not have
        settings = {"num_sequences": num_sequences, "seed": seed, "checkpoint": checkpoint, "data_dir": data_dir}
        name = result_name(split, bound, num_samples=samples, **settings)
        write_json(Path(run.path, name), result)
    return result


def result_name(
    split: str,
    bound: str,
    *,
    num_samples: int = DEFAULT_SAMPLES,
    num_sequences: int = 0,
    seed: int = 0,
    checkpoint: str = "best",
    data_dir: str | None = None,
) -> str:
    """Return the file name of a result: "eval_test_iwae.json", with what differs from the defaults behind that.

    Other settings write other files: "eval_test_iwae-samples64-seed1.json".
    """
    name = f"eval_{split}_{bound}"
    if num_samples != DEFAULT_SAMPLES:
        name += f"-samples{num_samples}"
    if num_sequences:
        name += f"-sequences{num_sequences}"
    if seed:
        name += f"-seed{seed}"
    if checkpoint != "best":
        name += f"-{checkpoint}"
    if data_dir is not None:
        name += f"-data{hashlib.sha256(os.path.abspath(data_dir).encode()).hexdigest()[:8]}"
    return f"{name}.json"
