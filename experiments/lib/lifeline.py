"""A process's connection to the coordinator of a run of several: it says why it ends, and ends if another is lost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.lib import coordinator

AGAIN = "start all processes again to go on from the last checkpoint"

_stream: socket.socket | None = None
_join_refused: Callable[[], None] | None = None
_sending = threading.Lock()
_last_word = threading.Lock()  # held by the thread that ends the process


def start_coordinator(address: str, number: int) -> tuple[int, int]:
    """Start the coordinator of ``number`` processes at ``address``, and return its port and token.

    Raises:
      RuntimeError: it cannot serve there.
    """
    program = subprocess.Popen(
        [sys.executable, "-P", str(Path(coordinator.__file__)), address, str(number)],
        stdin=subprocess.PIPE,  # its end tells that this process has gone
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert program.stdout is not None
    answer = json.loads(program.stdout.readline() or '{"error": "the coordinator did not start"}')
    if "error" in answer:
        raise RuntimeError(answer["error"])
    _programs.append(program)
    return answer["port"], answer["token"]


_programs: list[subprocess.Popen[Any]] = []  # kept, so that the pipe stays open


def join(host: str, port: int, token: int, process: int) -> None:
    """Connect to the coordinator, and watch the connection from a thread.

    Raises:
      OSError: there is no way to it.
    """
    global _stream
    _stream = socket.create_connection((host, port), timeout=coordinator.SILENCE)
    _send({"process": process, "token": token})
    for job in (_watch, _live):
        threading.Thread(target=job, args=(_stream,), daemon=True).start()


def joined() -> bool:
    """Return whether this process is one of several that are connected."""
    return _stream is not None


def joins_when_refused(join: Callable[[], None] | None) -> None:
    """Let ``tell`` call ``join`` first, where this process may be one of several and has not joined them."""
    global _join_refused
    _join_refused = join


def tell(sentence: str) -> None:
    """Tell the others why this process ends."""
    if _join_refused is not None:
        _join_refused()
    _send({"ended": sentence})


def end_at_once() -> None:
    """End the process: the sentence is printed, and who was to be told does not come."""
    os._exit(1)


def leave() -> None:
    """Tell the coordinator that this process has nothing left to do."""
    _send({"done": True})


def take_last_word(*, joins: bool = False) -> None:
    """Return if no other thread is ending the process; otherwise never.

    Args:
      joins: this process, which is not connected yet, connects only to tell why it ends.
    """
    if joined() or joins:
        _last_word.acquire()


def wait_for_news() -> None:
    """Wait a moment: an error in this process may follow from the loss of another, which then ends it."""
    if joined():
        time.sleep(3.0)


def _send(message: dict[str, Any] | None) -> None:
    if _stream is None:
        return
    try:
        with _sending:
            _stream.sendall((b"" if message is None else json.dumps(message).encode()) + b"\n")
    except OSError:
        pass  # the thread that reads will notice


def _live(stream: socket.socket) -> None:
    while True:
        _send(None)
        time.sleep(coordinator.SIGN_OF_LIFE)


def _watch(stream: socket.socket) -> None:
    """End the process when the coordinator tells of a loss, or is lost itself."""
    unread = b""
    while True:
        try:
            received = stream.recv(2**16)
        except OSError:
            received = b""
        if not received:
            _end(f"the coordinator of the run, a program beside process 0, is gone; {AGAIN}")
        *lines, unread = (unread + received).split(b"\n")
        for line in filter(None, lines):
            message = json.loads(line)
            _end(f"process {message['lost']} of the run {message['sentence']}; {AGAIN}")


def _end(sentence: str) -> None:
    take_last_word()
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in sentence)
    os.write(sys.stderr.fileno(), f"error: {shown}\n".encode(errors="backslashreplace"))
    # At once: the main thread may wait for the lost process for ever, and JAX would at its exit.
    os._exit(1)
