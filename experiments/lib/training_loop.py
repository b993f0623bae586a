"""The training loop: updates, validation, checkpoints, and a way back from every interruption."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from experiments.lib.cli import UserError, warn
from experiments.lib.experiment import Experiment, build, check_memory, initial_state, units
from experiments.lib.gallery import Gallery
from experiments.lib.run_folder import check_fingerprint, fingerprint, opened
from experiments.lib.stop_signal import StopSignal
from zf_jax import plotting
from zf_jax.bounds.noise import seed_key
from zf_jax.data import eval_batches, some_of, train_batches
from zf_jax.evaluation.scoring import evaluate_split, make_eval_step
from zf_jax.evaluation.units import summarise
from zf_jax.runs.checkpoints import Checkpoints
from zf_jax.runs.metrics import MetricWriter
from zf_jax.sharding import global_batch, global_batches
from zf_jax.training import TrainState, make_train_step, make_train_steps
from zf_jax.typing import Batch


class Diverged(UserError):
    """Too many updates in a row were not finite."""


def train(config: Any, workdir: str, *, profile: bool = False) -> dict[str, Any]:
    """Train what ``config`` names in ``workdir``, from its last checkpoint if it has one.

    Args:
      profile: write a trace of ten updates into ``workdir/profile``, for TensorBoard or Perfetto.

    Returns:
      ``{"step", "interrupted", "stopped_early", "seconds_per_update"}``: an end by ``config.train.patience`` is no
      interruption.

    Raises:
      UserError: a config that makes no sense, a workdir of another run, too many updates that are not finite.
    """
    experiment = build(config)
    check_memory(experiment)
    with opened(workdir, config) as path, Checkpoints(path, warn=warn) as checkpoints, StopSignal() as stop:
        state = initial_state(experiment)
        saved = checkpoints.restore_newest(state)
        if saved is not None:
            state = saved[0]
            check_fingerprint(checkpoints.config(saved[1]), experiment.data)
        start = int(state.step)
        _say(
            f"{'begins at' if saved is None else 'goes on from'} step {start} of {config.train.num_steps}, in {workdir}"
        )
        _say(describe(experiment, state))
        if 0 < config.train.decay_steps < config.train.num_steps:
            _say(f"the learning rate is 0 from step {config.train.decay_steps} on: see config.train.decay_steps")
        objective = config.objective
        if not experiment.model.has_auxiliary and (objective.aux_weight or objective.reverse_weight):
            _say(f"{config.model.name} has no auxiliary and no reverse head: those weights have no effect")
        if int(state.skipped_in_a_row) >= config.train.max_skipped_in_a_row:  # it diverged here, and tries again
            state = state._replace(skipped_in_a_row=state.skipped_in_a_row * 0)
        try:
            with MetricWriter(path, resume_step=start) as writer:
                return _Run(experiment, path, checkpoints, writer, stop, profile).until_done(state)
        except OSError as error:
            raise UserError(
                f"{error.filename or path} cannot be written: {error.strerror}; the last good checkpoint is "
                f"{checkpoints.latest_step}; make room or mend the folder, and run the same command again to go on"
            ) from error


class _Run:
    """What the loop needs at every step, gathered once."""

    def __init__(
        self,
        experiment: Experiment,
        path: Path,
        checkpoints: Checkpoints,
        writer: MetricWriter,
        stop: StopSignal,
        profile: bool,
    ):
        self.experiment, self.path, self.checkpoints, self.writer = experiment, path, checkpoints, writer
        self.stop, self.profile, self.settings = stop, profile, experiment.config.train
        self.key = seed_key(experiment.config.seed, "training noise")
        parts = experiment.model, experiment.optimizer, experiment.mesh, experiment.schedules, experiment.objective
        self.update, self.updates = make_train_step(*parts), make_train_steps(*parts)
        self.bound = make_eval_step(experiment.model, experiment.mesh)
        self.rate = Rate()
        self.best = checkpoints.best or (0, -math.inf)
        self.fingerprint = fingerprint(experiment.data)
        # Drawing is a program of one process; after a run of several, experiments.sample draws from the checkpoint.
        self.gallery = Gallery(experiment) if jax.process_count() == 1 else None

    def until_done(self, state: TrainState) -> dict[str, Any]:
        """Update until ``num_steps``, a signal, or divergence."""
        start, last = int(state.step), self.settings.num_steps
        if self.profile and last - start < 20:
            raise UserError(f"--profile needs 20 updates, and {last - start} are left: raise config.train.num_steps")
        step = start
        batches = train_batches(
            self.experiment.data.split("train"),
            batch_size=self.settings.batch_size,
            seed=self.experiment.config.seed,
            start_step=step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        calls = grouped(batches, step, self.settings.updates_per_call, lambda step: self._is_due(step, start))
        pending = None
        with _bar(step, last) as self.bar:
            try:
                while step < last and not self._has_settled(step) and not self.stop.requested(step):
                    group = next(calls)
                    state, metrics = self._update(state, group)
                    step += len(group)
                    self.bar.update(len(group))
                    self.stop.listen()
                    if self.rate.begin(step):
                        self.bar.unpause()  # the first update compiled
                    if self.profile:
                        self._trace(step - start, metrics)
                    # Metrics are fetched one update late: they are there by then, and the device has new work.
                    self._log(pending)
                    pending = (step, metrics) if step % self.settings.log_every == 0 or step == last else None
                    validate = step % self.settings.eval_every == 0 or step == last
                    if validate or step % self.settings.checkpoint_every == 0:
                        self._log(pending)
                        pending = None
                        with self.rate.paused():
                            self._save(state, self._validate(state, step) if validate else None)
                self._log(pending)
            except Diverged as error:
                raise Diverged(f"{error}; {self._go_back(state)}") from None
        settled = self._has_settled(step)
        interrupted = step < last and not settled
        if interrupted:
            self._save(state, None)
            _say(f"stopped by a signal at step {step}; run the same command again to go on")
        with self.stop.saving():
            self.checkpoints.wait()
        skipped = int(state.skipped_in_a_row)
        if not interrupted and 0 < step - start <= skipped:
            raise UserError(
                f"all {step - start} updates up to step {step} were skipped, since they were not finite: the "
                f"parameters are those of step {step - skipped}; a smaller config.train.learning_rate may help"
            )
        if not interrupted and jax.process_index() == 0:
            plotting.draw_curves(self.path)
            if step < last:
                _say(f"no better validation ELBO since step {self.best[0]}: config.train.patience ends the run")
            _say(f"done: step {step}; pictures are in {self.path / 'samples'}")
        return {
            "step": step,
            "interrupted": interrupted,
            "stopped_early": settled and step < last,
            "seconds_per_update": self.rate.seconds_per_update,
        }

    def _has_settled(self, step: int) -> bool:
        """Whether the validation right after update ``step`` was the last that patience waits for."""
        patience = self.settings.patience
        validated = step > 0 and step % self.settings.eval_every == 0
        return 0 < patience <= step - self.best[0] and validated

    def _is_due(self, step: int, start: int) -> bool:
        """Whether the host has something to do right after update ``step`` of a run that went on from ``start``."""
        s = self.settings
        regularly = any(step % every == 0 for every in (s.log_every, s.eval_every, s.checkpoint_every))
        return regularly or step == s.num_steps or (self.profile and step - start in (10, 20))

    def _update(self, state: TrainState, group: list[Batch]) -> tuple[TrainState, dict[str, Any]]:
        """One call of the device: an update for every batch of the group."""
        if len(group) == 1:
            return self.update(state, global_batch(group[0], self.experiment.mesh), self.key)
        return self.updates(state, global_batches(group, self.experiment.mesh), self.key)

    def _trace(self, done: int, metrics: dict[str, Any]) -> None:
        """Trace the ten updates after the first ten, which compile and warm up."""
        if done == 10:
            jax.profiler.start_trace(str(self.path / "profile"))
        elif done == 20:
            jax.block_until_ready(metrics)
            jax.profiler.stop_trace()
            _say(f"wrote a trace of ten updates into {self.path / 'profile'}", self.bar)

    def _log(self, pending: tuple[int, dict[str, Any]] | None) -> None:
        if pending is None:
            return
        step, metrics = pending
        host = {name: value.item() for name, value in jax.device_get(metrics).items()}
        host["learning_rate"] = float(self.experiment.learning_rate(step - 1))
        rate = self.rate.measure(step)
        if rate is not None:
            host["steps_per_second"] = rate
        self.writer.write(step, "train", host)
        shown = {"loss": host["loss"], "elbo": host["elbo_nats_per_sequence"], "kl": host["kl_nats_per_sequence"]}
        if host["skipped_updates"]:
            shown["skipped"] = host["skipped_updates"]
        text = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self.bar.set_postfix_str(text)
        if self.bar.disable:
            left = (
                "" if rate is None else f", {rate:.2f} steps/s, {_clock((self.settings.num_steps - step) / rate)} left"
            )
            _say(f"step {step}: {text}{left}")
        if host["skipped_in_a_row"] >= self.settings.max_skipped_in_a_row:
            raise Diverged(f"{host['skipped_in_a_row']} updates in a row were not finite, up to step {step}")

    def _validate(self, state: TrainState, step: int) -> float:
        data = self.experiment.data
        source = some_of(data.split("valid"), self.settings.eval_sequences)
        batches = eval_batches(
            source,
            batch_size=eval_batch_size(self.experiment),
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        totals = evaluate_split(self.bound, state.params, batches, seed_key(0), self.experiment.mesh)
        found = summarise(totals, units(self.experiment))
        found["elbo_nats_per_sequence"] = found.pop("nats_per_sequence")
        self.writer.write(step, "valid", {name: value for name, value in found.items() if value is not None})
        elbo = found["elbo_nats_per_sequence"]
        self.note(step, elbo)
        kl = found["kl_nats_per_sequence"]
        _say(f"step {step}: valid elbo {elbo:.4f} nats/sequence, kl {kl:.4f}", self.bar)
        if self.gallery is not None:
            try:
                images = self.gallery.draw(state.params, self.path / "samples", seed=step)
            except OSError as error:
                warn(f"the pictures of step {step} are not written: {error.strerror}")
                images = {}
            for name, image in images.items():
                self.writer.image(step, name, image)
        return elbo

    def note(self, step: int, elbo: float) -> None:
        """Remember the best validation, as the checkpoints do."""
        if math.isfinite(elbo) and elbo >= self.best[1]:
            self.best = step, elbo

    def _save(self, state: TrainState, elbo: float | None) -> None:
        saved = json.loads(self.experiment.config.to_json())
        saved["data_fingerprint"] = self.fingerprint
        with self.stop.saving():
            self.checkpoints.save(state, saved, elbo)

    def _go_back(self, state: TrainState) -> str:
        """Make the best validated checkpoint the newest again; the last ones may hold parameters that explode."""
        advice = "run again with a smaller --config.train.learning_rate or clip_norm to go on from there"
        if jax.process_index() == 0:
            (self.path / "diverged.json").write_text(json.dumps({"step": int(state.step)}) + "\n", encoding="utf-8")
        self.checkpoints.wait()
        best = self.checkpoints.best
        if best is None:
            self._save(state, None)
            self.checkpoints.wait()
            return f"nothing was validated yet, and the checkpoint holds the last finite parameters; {advice}"
        self.checkpoints.go_back(best[0])
        return f"the newest checkpoint is now that of the best validation, step {best[0]}, elbo {best[1]:.6g}; {advice}"


def grouped(batches: Iterator[Batch], step: int, size: int, due: Callable[[int], bool]) -> Iterator[list[Batch]]:
    """Yield the batches of one call of the device after another: ``size`` of them, or a single one.

    A single one where the padded lengths of the next ``size`` differ, or where ``due`` says of a step inside that
    something is to be done after it.  A group depends on its first step alone, so that a run that went on from where
    a group begins makes the same calls as one that was never stopped.

    Args:
      batches: those of updates ``step + 1``, ``step + 2``, ... without end.
    """
    ahead: deque[Batch] = deque()
    while True:
        wanted = 1 if any(due(inside) for inside in range(step + 1, step + size)) else size
        ahead.extend(itertools.islice(batches, max(0, wanted - len(ahead))))
        if len({batch.mask.shape for batch in itertools.islice(ahead, wanted)}) > 1:
            wanted = 1
        yield [ahead.popleft() for _ in range(wanted)]
        step += wanted


def eval_batch_size(experiment: Experiment) -> int:
    """The configured size, rounded up so that the devices can share it."""
    devices = experiment.mesh.size
    return -(-experiment.config.train.eval_batch_size // devices) * devices


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


def _bar(start: int, last: int) -> tqdm:
    shown = sys.stderr.isatty() and jax.process_index() == 0
    columns = shutil.get_terminal_size((100, 24)).columns  # some terminals say that they have none
    return tqdm(total=last, initial=start, disable=not shown, unit="step", ncols=columns, smoothing=0.1)


def _say(text: str, bar: tqdm | None = None) -> None:
    if jax.process_index() == 0:
        if bar is not None and not bar.disable:
            bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)


def _clock(seconds: float) -> str:
    return tqdm.format_interval(seconds)


class Rate:
    """Updates a second, not counting validation and checkpoints."""

    def __init__(self):
        self._since: tuple[float, int] | None = None
        self._intervals: list[float] = []

    def paused(self) -> Rate:
        """A context whose time is not counted."""
        return self

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(self, *_) -> None:
        if self._since is not None:
            self._since = (self._since[0] + time.perf_counter() - self._entered, self._since[1])

    def begin(self, step: int) -> bool:
        """Start the clock, once: after the first update, which compiled; whether this was it."""
        first = self._since is None
        if first:
            self._since = (time.perf_counter(), step)
        return first

    def measure(self, step: int) -> float | None:
        """Updates a second since the last call; None where there was no update in between."""
        assert self._since is not None
        now, (then, before) = time.perf_counter(), self._since
        self._since = (now, step)
        if step == before:
            return None
        self._intervals.append((now - then) / (step - before))
        return 1.0 / self._intervals[-1]

    @property
    def seconds_per_update(self) -> float | None:
        """The median over the intervals between two log lines; None where there was none."""
        return float(np.median(self._intervals)) if self._intervals else None
