"""Write checkpoints in the background; which of them are kept."""

from __future__ import annotations

import contextlib
import errno
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from zf_jax.extras import needs
from zf_jax.runs.errors import CheckpointError, first_line
from zf_jax.runs.mending import METRIC, mend, steps_in
from zf_jax.runs.record import DESCRIPTION, make_record
from zf_jax.runs.silence import one_error
from zf_jax.sharding import wait_for_all
from zf_jax.training import TrainState

with needs("experiments"):
    import orbax.checkpoint as ocp
    from orbax.checkpoint.checkpoint_managers import preservation_policy


class Writer:
    """Writes into one folder of checkpoints; orbax opens it at the first save.

    What orbax logs as an error while it writes is not printed: it raises the same, and ``CheckpointError`` says it.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None], keep_every: int = 0):
        """Make the folder, and remove what a killed process was writing.

        Args:
          warn: told, in one sentence, about damage that was mended.
          keep_every: checkpoints of steps that are a multiple stay; 0 for none.

        Raises:
          CheckpointError: it cannot be made or written.
        """
        self._directory, self._warn, self._keep_every = directory, warn, keep_every
        self._manager: ocp.CheckpointManager | None = None
        self._saving: int | None = None
        self._silence = contextlib.ExitStack()
        if jax.process_index() == 0:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                for path in directory.iterdir():
                    if "orbax-checkpoint-tmp" in path.name:
                        shutil.rmtree(path, ignore_errors=True)
            except OSError as error:
                raise CheckpointError(f"{directory} cannot be made or written: {error.strerror}") from error

    def save(
        self, state: TrainState, config: dict[str, Any], elbo: float | None, description: dict[str, Any] | None
    ) -> None:
        """Begin to write a state; a step that is there already is left as it is.

        Raises:
          CheckpointError: this or an earlier checkpoint cannot be written; the last good one is named.
        """
        step = int(state.step)
        if step == self._saving or step in steps_in(self._directory):
            return
        if not self._directory.is_dir():
            raise self._unwritten(FileNotFoundError(errno.ENOENT, "the folder is gone"))
        self._saving = step
        # A bound that is not finite must not count as best, and push a good checkpoint out.
        elbo = float(elbo) if elbo is not None and math.isfinite(elbo) else None
        items = {
            "state": ocp.args.StandardSave(state),
            "config": ocp.args.JsonSave(config),
            "record": ocp.args.JsonSave(make_record(state, config, elbo, description)),
        }
        if description is not None:
            items[DESCRIPTION] = ocp.args.JsonSave(description)
        try:
            self._opened().save(
                step,
                args=ocp.args.Composite(**items),
                metrics=None if elbo is None else {METRIC: elbo},
                force=True,
            )
        except Exception as error:  # orbax and its stores raise many kinds
            raise self._unwritten(error) from error

    def wait(self) -> None:
        """Return when everything saved so far is on disk; errors as for ``save``."""
        if self._manager is not None:
            try:
                self._manager.wait_until_finished()
            except Exception as error:
                raise self._unwritten(error) from error

    def close(self, failed: bool) -> None:
        """Finish; where the run ``failed`` already, no second error is raised."""
        if self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
            self._manager.close()
        except Exception as error:
            if not failed:
                raise self._unwritten(error) from error
        finally:
            self._silence.close()

    def _opened(self) -> ocp.CheckpointManager:
        if self._manager is None:
            if jax.process_index() == 0:
                mend(self._directory, self._warn)
            wait_for_all("checkpoints mended")
            every = [preservation_policy.EveryNSteps(self._keep_every)] if self._keep_every else []
            keep = preservation_policy.AnyPreservationPolicy(
                [
                    *every,
                    preservation_policy.LatestN(2),
                    _Best(),
                ]
            )
            self._manager = ocp.CheckpointManager(
                self._directory,
                options=ocp.CheckpointManagerOptions(
                    best_fn=lambda metrics: metrics[METRIC],  # without it the metrics are not written down
                    preservation_policy=keep,
                ),
                item_names=("state", "config", "record", DESCRIPTION),
            )
            self._silence.enter_context(one_error())  # tracebacks of several threads for one full disk
        return self._manager

    def _unwritten(self, error: Exception) -> CheckpointError:
        """Say what could not be written and what is left."""
        good = max(steps_in(self._directory), default=None)
        reason = _system_reason(error) or first_line(error)
        left = "there is none yet" if good is None else f"the last good one is {self._directory / str(good)}"
        return CheckpointError(
            f"a checkpoint cannot be written into {self._directory}: {reason}; {left}; make room or mend the folder, "
            "and run the same command again to go on"
        )


class _Best(preservation_policy.PreservationPolicy):
    """Keeps the checkpoint of the best ELBO, of equal ones the first; orbax's own policy keeps the last."""

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        elbos = [info.metrics[METRIC] if info.metrics else -math.inf for info in checkpoints]
        best = max(elbos, default=-math.inf)
        first = elbos.index(best) if best > -math.inf else None
        return [place == first for place in range(len(elbos))]


def _system_reason(error: BaseException | None) -> str | None:
    """Return the operating system's words behind an error, for example "No space left on device"."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        for words in ("No space left on device", "File too large", "Permission denied", "Read-only file system"):
            if words in str(error):
                return words
        error = error.__cause__ or error.__context__
    return None
