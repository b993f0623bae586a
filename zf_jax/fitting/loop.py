"""The training loop: updates, validation, checkpoints, and a way back from divergence."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from zf_jax.bounds.noise import seed_key
from zf_jax.checks import check_batch
from zf_jax.data import DataSet, eval_batches, subsample, train_batches
from zf_jax.data.description import DataDescription
from zf_jax.densities.stepwise import of
from zf_jax.density import Density
from zf_jax.evaluation.scoring import evaluate_split, make_eval_step
from zf_jax.evaluation.units import summarise, units_of
from zf_jax.fitting.calls import grouped
from zf_jax.fitting.hooks import Callback, Hooks, Report
from zf_jax.fitting.rate import Rate
from zf_jax.fitting.result import Diverged, Fitted, NotFinite
from zf_jax.fitting.settings import FitSettings
from zf_jax.models.base import Model
from zf_jax.objective.settings import Objective
from zf_jax.sharding import any_process, global_batch, global_batches, replicated, rows_for
from zf_jax.training import Schedules, TrainState, evaluated_params, make_train_step, make_train_steps
from zf_jax.typing import Batch

if TYPE_CHECKING:  # orbax is slow to import, and needed by runs with a folder alone
    from zf_jax.runs.checkpoints import Checkpoints
    from zf_jax.runs.metrics import MetricWriter


AHEAD = 2  # calls that may wait behind the one that the device runs: a signal is answered after all of them


class Loop:
    """What the loop needs at every step, gathered once."""

    def __init__(
        self,
        model: Model | Density,
        data: DataSet,
        optimizer: Any,
        mesh: Mesh,
        settings: FitSettings,
        *,
        schedules: Schedules = Schedules(),
        objective: Objective = Objective(),
        learning_rate: Callable[[int], Any] | None = None,
        seed: int = 0,
        checkpoints: Checkpoints | None = None,
        saved: dict[str, Any] | None = None,
        writer: MetricWriter | None = None,
        hooks: Hooks | None = None,
        callbacks: Sequence[Callback] = (),
        clock: Callable[[], float] = time.perf_counter,
        shard_params: bool = False,
    ):
        """Compile nothing yet.

        Args:
          learning_rate: of the step, for the metrics alone; the optimiser has its own.
          checkpoints: where states are saved; nowhere by default.
          saved: what is saved beside every state, as JSON.
          writer: where lines of metrics are written beside the history.
          hooks: of the program around the loop.
          callbacks: told after every log line and validation; one that returns True ends the training.
          clock: seconds, by which the rate is measured.
          shard_params: whether the state given to ``run`` is divided among the devices; see ``make_train_step``.
        """
        self.model, self.data, self.mesh, self.settings, self.seed = model, data, mesh, settings, seed
        self.learning_rate, self.checkpoints, self.saved, self.writer = learning_rate, checkpoints, saved or {}, writer
        self.hooks, self.callbacks = hooks or Hooks(), tuple(callbacks)
        self.key = seed_key(seed, "training noise")
        how = settings.accumulate, settings.remat, settings.compute_dtype, shard_params
        parts = model, optimizer, mesh, schedules, objective, *how
        self.update, self.updates = make_train_step(*parts), make_train_steps(*parts)
        self.bound = make_eval_step(model, mesh)
        self.units = units_of(data, model)
        self.description = DataDescription.of(data).as_json()
        self.rate = Rate(clock)
        self.best: tuple[int, float] | None = None if checkpoints is None else checkpoints.best
        self.history: list[dict[str, Any]] = []
        self.told_to_stop = False
        self.finite = True  # whether the parameters are, as far as was looked
        self.patient_from = 0  # where patience begins to count, before there is a best validation

    def run(self, state: TrainState) -> Fitted:
        """Update until ``num_steps``, patience, a callback, a signal, or divergence; the state's buffers are reused.

        Raises:
          Diverged: too many updates in a row were not finite, or the parameters are not.
          NotFinite: every update was skipped, since none was finite.
        """
        settings, start = self.settings, int(state.step)
        step, last = start, settings.num_steps
        self.patient_from = start if self.checkpoints is None else 0
        batches = train_batches(
            self.data.split("train"),
            batch_size=settings.batch_size,
            seed=self.seed,
            start_step=step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        calls = grouped(batches, step, settings.updates_per_call, self._is_due)
        pending, ended_by, running = None, "num_steps", deque()
        try:
            while step < last:
                if self._has_settled(step):
                    ended_by = "patience"
                elif self.told_to_stop:
                    ended_by = "callback"
                elif self.hooks.requested(step):
                    ended_by = "signal"
                if ended_by != "num_steps":
                    break
                group = next(calls)
                state, metrics = self._update(state, group)
                running.append(metrics)
                if len(running) > AHEAD:
                    jax.block_until_ready(running.popleft())
                step += len(group)
                self.rate.begin(step)
                self.hooks.called(step, len(group), metrics)
                # Metrics are fetched one update late: they are there by then, and the device has new work.
                self._log(pending, state)
                pending = (step, metrics) if step % settings.log_every == 0 or step == last else None
                validate = step % settings.eval_every == 0 or step == last
                save = validate or step % settings.checkpoint_every == 0
                if save:
                    self._check_parameters(metrics, step)
                if save or self.callbacks:  # a callback is told of the state before the next update reuses it
                    self._log(pending, state)
                    pending = None
                if save:
                    with self.rate.paused():
                        self._validate_and_save(state, step, validate)
            self._log(pending, state)
            if running:
                self._check_parameters(running[-1], step)
        except Diverged as error:
            raise Diverged(f"{error}; {self._go_back(state)}") from None
        if ended_by in ("callback", "signal"):
            self._save(state, None)
        if self.checkpoints is not None:
            with self.hooks.saving():
                self.checkpoints.wait()
        skipped = int(state.skipped_in_a_row)
        if ended_by in ("num_steps", "patience") and 0 < step - start <= skipped:
            raise NotFinite(
                f"all {step - start} updates up to step {step} were skipped, since they were not finite: the "
                f"parameters are those of step {step - skipped}"
            )
        return Fitted(state, self.history, ended_by, self.best, self.rate.seconds_per_update)

    def _has_settled(self, step: int) -> bool:
        """Whether the validation right after update ``step`` was the last that patience waits for."""
        patience = self.settings.patience
        validated = step > 0 and step % self.settings.eval_every == 0
        return 0 < patience <= step - (self.best[0] if self.best else self.patient_from) and validated

    def _is_due(self, step: int) -> bool:
        """Whether the host has something to do right after update ``step``."""
        s = self.settings
        regularly = any(step % every == 0 for every in (s.log_every, s.eval_every, s.checkpoint_every))
        return regularly or step == s.num_steps or self.hooks.due(step)

    def _update(self, state: TrainState, group: list[Batch]) -> tuple[TrainState, dict[str, Any]]:
        """One call of the device: an update for every batch of the group, each checked while it lies on the host."""
        for batch in group:
            check_batch(self.model, batch)
        if len(group) == 1:
            return self.update(state, global_batch(group[0], self.mesh), self.key)
        return self.updates(state, global_batches(group, self.mesh), self.key)

    def _log(self, pending: tuple[int, dict[str, Any]] | None, state: TrainState) -> None:
        if pending is None:
            return
        step, metrics = pending
        host = {name: value.item() for name, value in jax.device_get(metrics).items()}
        if self.learning_rate is not None:
            host["learning_rate"] = float(self.learning_rate(step - 1))
        rate = self.rate.measure(step)
        if rate is not None:
            host["steps_per_second"] = rate
        self._write(step, "train", host)
        self.hooks.logged(step, host)
        self._check_parameters(host, step)
        if host["skipped_in_a_row"] >= self.settings.max_skipped_in_a_row:
            raise Diverged(f"{host['skipped_in_a_row']} updates in a row were not finite, up to step {step}")
        with self.rate.paused():
            self._report("train", step, host, state)

    def _check_parameters(self, metrics: dict[str, Any], step: int) -> None:
        """Raise ``Diverged`` where parameters are not finite, before they are saved."""
        self.finite = math.isfinite(jax.device_get(metrics["param_norm"]))
        if not self.finite:
            raise Diverged(
                f"the parameters are not finite at step {step}: they began so, or a step of the optimiser was not "
                "finite where the gradient was, as at an infinite learning rate"
            )

    def _validate_and_save(self, state: TrainState, step: int, validate: bool) -> None:
        if not validate or "valid" not in self.data.splits:
            self._save(state, None)
            return
        found = self._validate(state)
        elbo = found["elbo_nats_per_sequence"]
        self._write(step, "valid", {name: value for name, value in found.items() if value is not None})
        if math.isfinite(elbo) and (self.best is None or elbo > self.best[1]):  # as the checkpoints choose theirs
            self.best = step, elbo
        self._save(state, elbo)
        self.hooks.validated(step, found, state)  # draws pictures: what happens there loses no checkpoint
        self._report("valid", step, found, state)

    def _validate(self, state: TrainState) -> dict[str, Any]:
        """Score the validation split, with the parameters' average where the optimiser keeps one."""
        batches = eval_batches(
            subsample(self.data.split("valid"), self.settings.eval_sequences),
            batch_size=rows_for(self.settings.eval_batch_size, self.mesh),
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        whole = jax.device_put(evaluated_params(state), replicated(self.mesh))
        params = of(self.model).prepare(whole, seed_key(self.seed, "evaluation"))
        found = summarise(evaluate_split(self.bound, params, batches, seed_key(0), self.mesh), self.units)
        found["elbo_nats_per_sequence"] = found.pop("nats_per_sequence")
        return found

    def _write(self, step: int, split: str, metrics: dict[str, Any]) -> None:
        self.history.append({"step": step, "split": split, **metrics})
        if self.writer is not None:
            self.writer.write(step, split, metrics)

    def _report(self, split: Literal["train", "valid"], step: int, metrics: dict[str, Any], state: TrainState) -> None:
        if self.callbacks:
            answers = [callback(Report(split, step, dict(metrics), state)) for callback in self.callbacks]
            self.told_to_stop |= any_process(any(_is_true(answer) for answer in answers))

    def _save(self, state: TrainState, elbo: float | None) -> None:
        if self.checkpoints is not None:
            with self.hooks.saving():
                self.checkpoints.save(state, self.saved, elbo, description=self.description)

    def _go_back(self, state: TrainState) -> str:
        """Make the best validated checkpoint the newest again; the last ones may hold parameters that explode."""
        self.hooks.diverged(int(state.step))
        if self.checkpoints is None:
            return "no checkpoint was written"
        self.checkpoints.wait()
        best = self.checkpoints.best
        if best is None:
            if not self.finite:
                found = self.checkpoints.latest_step
                left = "no checkpoint was written" if found is None else f"the newest checkpoint is of step {found}"
                return f"nothing was validated yet, and {left}"
            self._save(state, None)
            self.checkpoints.wait()
            return "nothing was validated yet, and the checkpoint holds the last finite parameters"
        self.checkpoints.go_back(best[0])
        return f"the newest checkpoint is now that of the best validation, step {best[0]}, elbo {best[1]:.6g}"


def _is_true(answer: Any) -> bool:
    """Whether a callback returned True, of Python, numpy or JAX; other values mean nothing."""
    one = isinstance(answer, (np.bool_, np.ndarray, jax.Array)) and answer.ndim == 0 and answer.dtype == np.bool_
    return answer is True or (one and bool(answer))
