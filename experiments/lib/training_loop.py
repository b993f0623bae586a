"""Train what a config names in a run folder: the library's loop, with the console, the signals and the pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from experiments.lib.cli import UserError, warn
from experiments.lib.console import Console, say
from experiments.lib.experiment import Experiment, build, check_memory, initial_state
from experiments.lib.limits import check_rows
from experiments.lib.run_folder import check_fingerprint, keep_place, opened
from experiments.lib.starting_point import begin, starting_point
from experiments.lib.stop_signal import StopSignal
from zf_jax import plotting
from zf_jax.data.description import fingerprint
from zf_jax.fitting.loop import Loop
from zf_jax.fitting.result import Diverged, Fitted, NotFinite
from zf_jax.runs.checkpoints import Checkpoints
from zf_jax.runs.metrics import MetricWriter
from zf_jax.training import TrainState


def train(
    config: Any,
    workdir: str,
    *,
    init_from: str | None = None,
    profile: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Train what ``config`` names in ``workdir``, from its last checkpoint if it has one.

    Args:
      init_from: the folder of a run whose best parameters a new run begins with; the config's model must be the same.
      profile: write a trace of ten updates into ``workdir/profile``, for TensorBoard or Perfetto.
      clock: seconds, by which updates a second are counted.

    Returns:
      ``{"step", "interrupted", "stopped_early", "seconds_per_update"}``: an end by ``config.train.patience`` is no
      interruption; a signal after the last update is one (of one process), so that a program that trains further runs
      ends.

    Raises:
      UserError: a config that makes no sense, a workdir of another run, too many updates that are not finite.
    """
    experiment = build(config)
    check_memory(experiment)
    for size, split in (("batch_size", "train"), ("eval_batch_size", "valid")):
        check_rows(f"config.train.{size}", config.train[size], experiment.data, split)
    point = starting_point(init_from, workdir, experiment)
    with (
        opened(workdir, config) as path,
        Checkpoints(path, warn=warn, keep_every=config.train.keep_every) as checkpoints,
        StopSignal() as stop,
    ):
        state = initial_state(experiment)
        saved = checkpoints.restore_newest(state)
        if saved is not None:
            state = saved[0]
            check_fingerprint(checkpoints.config(saved[1]), experiment.data)
        elif point is not None:
            state = begin(point, path, experiment, state)
            say(f"begins with the parameters of {point.run}, step {point.step}")
        keep_place(path, config)
        start = int(state.step)
        say(
            f"{'begins at' if saved is None else 'goes on from'} step {start} of {config.train.num_steps}, in {workdir}"
        )
        say(describe(experiment, state))
        if 0 < config.train.decay_steps < config.train.num_steps:
            say(f"the learning rate is 0 from step {config.train.decay_steps} on: see config.train.decay_steps")
        objective = config.objective
        if not experiment.model.has_auxiliary and (objective.aux_weight or objective.reverse_weight):
            say(f"{config.model.name} has no auxiliary and no reverse head: those weights have no effect")
        if profile and config.train.num_steps - start < 20:
            raise UserError(
                f"--profile needs 20 updates, and {config.train.num_steps - start} are left: raise "
                "config.train.num_steps"
            )
        if int(state.skipped_in_a_row) >= config.train.max_skipped_in_a_row:  # it diverged here, and tries again
            state = state._replace(skipped_in_a_row=state.skipped_in_a_row * 0)
        try:
            with (
                MetricWriter(path, resume_step=start) as writer,
                Console(experiment, path, writer, stop, start, profile) as console,
            ):
                loop = Loop(
                    experiment.model,
                    experiment.data,
                    experiment.optimizer,
                    experiment.mesh,
                    experiment.fit_settings(),
                    schedules=experiment.schedules,
                    objective=experiment.objective,
                    learning_rate=experiment.learning_rate,
                    seed=config.seed,
                    checkpoints=checkpoints,
                    saved=json.loads(config.to_json()) | {"data_fingerprint": fingerprint(experiment.data)},
                    writer=writer,
                    hooks=console,
                    clock=clock,
                    shard_params=config.parallel.shard_params,
                )
                fitted = loop.run(state)
            told = _told(fitted, config.train.num_steps, path)
            return told | {"interrupted": told["interrupted"] or stop.received}
        except Diverged as error:
            raise UserError(
                f"{error}; run again with a smaller --config.train.learning_rate or clip_norm to go on from there"
            ) from None
        except NotFinite as error:
            raise UserError(f"{error}; a smaller config.train.learning_rate may help") from None
        except OSError as error:
            raise UserError(
                f"{error.filename or path} cannot be written: {error.strerror}; the last good checkpoint is "
                f"{checkpoints.latest_step}; make room or mend the folder, and run the same command again to go on"
            ) from error


def _told(fitted: Fitted, last: int, path: Path) -> dict[str, Any]:
    """Say how the run ended, and draw its curves."""
    step = int(fitted.state.step)
    if fitted.ended_by == "signal":
        say(f"stopped by a signal at step {step}; run the same command again to go on")
    elif jax.process_index() == 0:
        plotting.draw_curves(path)
        if fitted.ended_by == "patience":
            best = 0 if fitted.best is None else fitted.best[0]
            say(f"no better validation ELBO since step {best}: config.train.patience ends the run")
        say(f"done: step {step}; the run is in {path}")
    return {
        "step": step,
        "interrupted": fitted.ended_by == "signal",
        "stopped_early": fitted.ended_by == "patience",
        "seconds_per_update": fitted.seconds_per_update,
    }


def describe(experiment: Experiment, state: TrainState) -> str:
    """One line: what is trained, on what, where."""
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    config, sizes = experiment.config, {name: len(source) for name, source in experiment.data.splits.items()}
    listed = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
    device = experiment.mesh.devices.flat[0]
    return (
        f"{config.model.name} with {count:,} parameters on {config.data.name} ({listed} sequences), "
        f"{experiment.mesh.size} x {device.device_kind} device"
    )
