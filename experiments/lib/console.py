"""What a training program shows and draws while the loop runs: a progress bar or lines, pictures, a trace."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from experiments.lib.cli import warn
from experiments.lib.experiment import Experiment
from experiments.lib.gallery import Gallery
from experiments.lib.stop_signal import StopSignal
from zf_jax.fitting.hooks import Hooks
from zf_jax.runs.metrics import MetricWriter
from zf_jax.training import TrainState, evaluated_params


class Console(Hooks):
    """The hooks of ``experiments.train``."""

    def __init__(
        self, experiment: Experiment, path: Path, writer: MetricWriter, stop: StopSignal, start: int, profile: bool
    ):
        """Open the bar.

        Args:
          path: the run's folder, into which pictures and the trace go.
          writer: of the run, which is given the pictures too.
          stop: asked before every call, and listening from the first update on.
          start: the step that the run begins at or goes on from.
          profile: write a trace of the ten updates after the first ten.
        """
        self.path, self.writer, self.stop, self.start, self.profile = path, writer, stop, start, profile
        self.last = experiment.config.train.num_steps
        self.bar = _bar(start, self.last)
        # Drawing is a program of one process; after a run of several, experiments.sample draws from the checkpoint.
        drawn = experiment.config.train.pictures and jax.process_count() == 1
        self.gallery = Gallery(experiment) if drawn else None

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def due(self, step: int) -> bool:
        return self.profile and step - self.start in (10, 20)

    def requested(self, step: int) -> bool:
        return self.stop.requested(step)

    def saving(self) -> contextlib.AbstractContextManager[None]:
        return self.stop.saving()

    def called(self, step: int, size: int, metrics: dict[str, Any]) -> None:
        self.bar.update(size)
        self.stop.listen()
        if step - size == self.start:
            self.bar.unpause()  # the first update compiled
        if self.profile:
            self._trace(step - self.start, metrics)

    def logged(self, step: int, metrics: dict[str, Any]) -> None:
        shown = {
            "loss": metrics["loss"],
            "elbo": metrics["elbo_nats_per_sequence"],
            "kl": metrics["kl_nats_per_sequence"],
        }
        if metrics["skipped_updates"]:
            shown["skipped"] = metrics["skipped_updates"]
        text = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self.bar.set_postfix_str(text)
        if self.bar.disable:
            rate = metrics.get("steps_per_second")
            left = "" if rate is None else f", {rate:.2f} steps/s, {_clock((self.last - step) / rate)} left"
            say(f"step {step}: {text}{left}")

    def validated(self, step: int, metrics: dict[str, Any], state: TrainState) -> None:
        elbo, kl = metrics["elbo_nats_per_sequence"], metrics["kl_nats_per_sequence"]
        say(f"step {step}: valid elbo {elbo:.4f} nats/sequence, kl {kl:.4f}", self.bar)
        if self.gallery is None:
            return
        try:
            images = self.gallery.draw(evaluated_params(state), self.path / "samples", seed=step)
        except Exception as error:  # a picture is not worth a run
            warn(f"the pictures of step {step} are not written: {type(error).__name__}: {error}")
            images = {}
        for name, image in images.items():
            self.writer.image(step, name, image)

    def diverged(self, step: int) -> None:
        if jax.process_index() == 0:  # the run may go on with a smaller learning rate
            (self.path / "diverged.json").write_text(json.dumps({"step": step}) + "\n", encoding="utf-8")

    def _trace(self, done: int, metrics: dict[str, Any]) -> None:
        """Trace the ten updates after the first ten, which compile and warm up."""
        if done == 10:
            jax.profiler.start_trace(str(self.path / "profile"))
        elif done == 20:
            jax.block_until_ready(metrics)
            jax.profiler.stop_trace()
            say(f"wrote a trace of ten updates into {self.path / 'profile'}", self.bar)


def say(text: str, bar: tqdm | None = None) -> None:
    """Print a line, above the bar if there is one; process 0 only."""
    if jax.process_index() == 0:
        if bar is not None and not bar.disable:
            bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)


def _bar(start: int, last: int) -> tqdm:
    shown = sys.stderr.isatty() and jax.process_index() == 0
    columns = shutil.get_terminal_size((100, 24)).columns  # some terminals say that they have none
    return tqdm(total=last, initial=start, disable=not shown, unit="step", ncols=columns, smoothing=0.1)


def _clock(seconds: float) -> str:
    return tqdm.format_interval(seconds)
