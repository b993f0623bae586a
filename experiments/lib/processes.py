"""The flags of runs of several processes, and how these are joined."""

from __future__ import annotations

import re
import sys
import threading

from absl import flags

from experiments.lib import lifeline
from experiments.lib.cli import UserError, warn

flags.disclaim_key_flags()  # --help lists what is defined here among the program's own flags


_PATIENCE = 60.0  # seconds in which a process that was refused waits for the others, to tell them


def define_distributed_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Flags for runs of several processes; a run of one process needs none of them."""
    flags.DEFINE_bool("distributed", False, "Join the other processes of a TPU pod or a Slurm job.", flag_values=values)
    flags.DEFINE_string(
        "coordinator_address", None, "HOST:PORT of process 0, outside TPU pods and Slurm.", flag_values=values
    )
    flags.DEFINE_integer("num_processes", None, "Number of processes, with --coordinator_address.", flag_values=values)
    flags.DEFINE_integer(
        "process_id", None, "This process's number from 0, with --coordinator_address.", flag_values=values
    )
    if values is flags.FLAGS:
        lifeline.joins_when_refused(_join_refused)


def join_processes() -> None:
    """Start distributed JAX if a flag asks for it; before any other use of JAX."""
    _checked_join(flags.FLAGS)


def _join_refused() -> None:
    """Join the others after all, where this process ends before it came to that: they would wait for it for minutes.

    The flags are read anew, since it may be another flag for which this process was refused.
    """
    values = flags.FlagValues()
    define_distributed_flags(values)
    try:
        values(sys.argv, known_only=True)
        if values.distributed or values.coordinator_address:
            limit = threading.Timer(_PATIENCE, lifeline.end_at_once)
            limit.daemon = True
            limit.start()
            lifeline.take_last_word(joins=True)
            _checked_join(values)
    except Exception:  # it is refused already, and of the flags for which it was these may be
        return


def _checked_join(values: flags.FlagValues) -> None:
    address, number, mine = values.coordinator_address, values.num_processes, values.process_id
    if (address is None, number is None, mine is None) not in ((True,) * 3, (False,) * 3):
        raise UserError("--coordinator_address, --num_processes and --process_id go together: give all three or none")
    port = re.fullmatch(r"\S+:(\d{1,5})", address) if address is not None else None
    if address is not None and (port is None or not 0 < int(port[1]) < 2**16):
        raise UserError(f"--coordinator_address must be HOST:PORT, not {address!r}")
    if number is not None and mine is not None and not 0 <= mine < number:
        raise UserError(f"--process_id must be from 0 to --num_processes - 1, and is {mine} of {number}")
    if values.distributed or values.coordinator_address:
        lifeline.joins_when_refused(None)
        try:
            _join(address, number, mine)
        except (RuntimeError, ValueError) as error:
            told = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise UserError(
                f"the processes were not joined ({told}): --distributed is for TPU pods and Slurm jobs, elsewhere give "
                "--coordinator_address, --num_processes and --process_id, and start all processes"
            ) from error


def _join(address: str | None, number: int | None, mine: int | None) -> None:
    """Connect the processes through a coordinator that outlives process 0, and watch each other."""
    from zf_jax import sharding

    address, number, mine = _detected(address, number, mine)
    if address is None or number is None or mine is None:
        sharding.initialize_distributed(address, number, mine)
        return
    host, port = address.rsplit(":", 1)
    served = lifeline.start_coordinator(f"[::]:{port}", number) if mine == 0 else (0, 0)
    sharding.initialize_distributed(address, number, mine, served=True)
    try:
        port, token = sharding.from_first(served)
        lifeline.join(host.strip("[]"), port, token, mine)
    except OSError as error:
        warn(f"the loss of a process will be noticed late: no way to {host} ({error.strerror or error})")


def _detected(address: str | None, number: int | None, mine: int | None) -> tuple[str | None, int | None, int | None]:
    """Return what the cluster says of the run, where the flags say nothing; None where that is not known."""
    if address is not None:
        return address, number, mine
    try:
        from jax._src.clusters import ClusterEnv

        address, number, mine, _ = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, 300)
    except (ImportError, AttributeError, TypeError):  # not a public function; JAX itself will detect
        return None, None, None
    return address, number, mine
