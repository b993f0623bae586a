"""Compute how a run uses latents, and write JSON and pictures into the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments.lib.cli import UserError, finite, progress, warn, write_json
from experiments.lib.experiment import eval_batch_size
from experiments.lib.run_folder import RestoredRun, restore
from zf_jax.bounds.noise import seed_key
from zf_jax.data import eval_batches, pad, subsample
from zf_jax.density import Density
from zf_jax.evaluation.latents import ACTIVE_VARIANCE, inspect, summarise_latents
from zf_jax.evaluation.mutual_information import long_enough_indices, mutual_information
from zf_jax.plotting import save


def diagnose(
    workdir: str,
    *,
    split: str = "valid",
    num_sequences: int = 0,
    num_mutual: int = 64,
    seed: int = 0,
    checkpoint: str = "best",
    data_dir: str | None = None,
    report: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Diagnose one split of the run in ``workdir``, write ``workdir/diagnostics``, and return the JSON's content.

    Args:
      workdir: the folder of the run.
      split: the split to read.
      num_sequences: the number of evenly spaced sequences; 0 for all.
      num_mutual: the number of sequences for the mutual information; 0 for none.
      seed: the seed of the posterior samples.
      checkpoint: ``best`` or ``latest``.
      data_dir: the folder of the data, if moved since training.
      report: a function called with the result before writing.

    Raises:
      UserError, CheckpointError, DataError: the folder holds no run, the split is missing or empty, or the checkpoint
        is damaged.
    """
    run = restore(workdir, checkpoint, data_dir)
    experiment = run.experiment
    if isinstance(experiment.model, Density):
        raise UserError(f"{experiment.config.model.name} has no latents of steps to look at; evaluate prints its KL")
    found = latent_figures(run, split=split, num_sequences=num_sequences, num_mutual=num_mutual, seed=seed)
    facts = {"model": experiment.config.model.name, "data": experiment.config.data.name, "step": int(run.state.step)}
    result = finite({"split": split, **found, **facts, "seed": seed})
    report(result)
    folder = run.path / "diagnostics"
    try:
        folder.mkdir(exist_ok=True)
        write_json(folder / f"{split}.json", result)
        if experiment.model.latent_dim and "not_finite" not in result:
            draw(result, folder, experiment.data)
    except OSError as error:
        warn(f"{error.filename or folder} cannot be written: {error.strerror}")
    return result


def latent_figures(
    run: RestoredRun,
    *,
    split: str,
    num_sequences: int = 0,
    num_mutual: int = 64,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the figures of ``zf_jax.evaluation.latents`` for one split of a restored run."""
    if num_sequences < 0 or num_mutual < 0 or num_mutual == 1:
        raise UserError(
            f"--num_sequences must be at least 0, --num_mutual 0 or at least 2, not {num_sequences} and {num_mutual}"
        )
    if jax.process_count() > 1:
        raise UserError("zf_jax diagnose runs in one process: start it without the distributed flags")
    experiment, params = run.experiment, run.state.params
    model, data, key = experiment.model, experiment.data, seed_key(seed)
    source = subsample(data.split(split), num_sequences)

    look = jax.jit(partial(inspect, model), static_argnames="quantisation_step")

    def inspections():
        for indices, batch in progress(eval_batches(source, batch_size=eval_batch_size(experiment))):
            keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(np.maximum(indices, 0))
            yield jax.device_get(look(params, batch, keys, quantisation_step=data.quantisation_step))

    information = None
    if model.latent_dim and num_mutual and len(source) > 1:
        few = [source[int(place)] for place in long_enough_indices(source.lengths, num_mutual)]
        batch = pad(few, max(len(example.targets) for example in few))
        information = jax.jit(partial(mutual_information, model))(params, batch, jax.random.fold_in(key, 2**31))
    return summarise_latents(inspections(), information)


def draw(result: dict[str, Any], folder: Path, data: Any) -> list[Path]:
    """Draw ``SPLIT_kl.png``, a heat map of the KL with sums per step and dimension, and ``SPLIT_latents.png``.

    Bands and error bars are standard errors over sequences.
    """
    paths = [folder / f"{result['split']}_{name}.png" for name in ("kl", "latents")]
    heat = np.array(result["kl_nats_per_step_and_dimension"]).T
    order = np.argsort(-np.array(result["kl_nats_per_dimension"]))  # the dimension of the largest KL first
    figure = Figure(figsize=(10, 7), layout="constrained")
    grid = figure.subplots(2, 2, width_ratios=(4, 1), height_ratios=(1, 3), sharex="col", sharey="row")
    steps = np.arange(1, heat.shape[1] + 1)
    profile, error = heat.sum(axis=0), np.array(result["kl_nats_per_step_stderr"], float)
    grid[0, 0].plot(steps, profile, linewidth=0.8)
    grid[0, 0].fill_between(steps, profile - error, profile + error, alpha=0.3, linewidth=0)
    grid[0, 0].set(
        ylabel=f"KL, nats per {data.units}", title=f"{result['model']} on {result['data']}, {result['split']}"
    )
    grid[0, 1].set_axis_off()
    extent = (0.5, heat.shape[1] + 0.5, heat.shape[0] - 0.5, -0.5)
    drawn = grid[1, 0].imshow(heat[order], aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
    grid[1, 0].set(xlabel=data.units, ylabel="latent dimension, sorted by KL")
    figure.colorbar(drawn, ax=grid[1, 0], location="bottom", label="KL, nats", shrink=0.6)
    grid[1, 1].barh(np.arange(len(order)), np.array(result["kl_nats_per_dimension"])[order])
    grid[1, 1].set(xlabel=f"nats per {data.units}")
    save(figure, paths[0])

    figure = Figure(figsize=(10, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    variance = np.sort(result["posterior_mean_variance"])[::-1]
    left.semilogy(np.arange(1, len(variance) + 1), np.maximum(variance, 1e-12), ".")
    left.axhline(ACTIVE_VARIANCE, color="grey", linewidth=0.8)
    left.set(xlabel="latent dimension, sorted", ylabel="variance of the posterior mean")
    active = "unknown for one sequence" if result["active_units"] is None else result["active_units"]
    left.set_title(f"active of {result['latent_dim']}: {active}")
    losses = {k: v for k, v in result["emission_loss_nats_per_sequence"].items() if v["mean"] is not None}
    errors = [loss["stderr"] or 0.0 for loss in losses.values()]
    right.bar(list(losses), [loss["mean"] for loss in losses.values()], yerr=errors)
    right.set(ylabel="nats per sequence", title="log p(y | z) lost if z is replaced")
    save(figure, paths[1])
    return paths
