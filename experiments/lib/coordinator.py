"""A program beside process 0 of a run of several: it serves JAX's coordination, and tells all processes if one is lost.

JAX itself serves the coordination in process 0, so that the loss of process 0 would abort the others from within, with
a native stack in the place of a sentence.  This program outlives process 0, and ends when the last process has gone.

Every process keeps a connection to it, over which go lines of JSON: ``{"process", "token"}`` first, ``{"ended":
SENTENCE}`` from a process that fails, ``{"done": true}`` from one that has nothing left to do, an empty line as a sign
of life.  The answer is ``{"lost": PROCESS, "sentence": ...}``, once.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import selectors
import signal
import socket
import sys
import time
from typing import Any

SILENCE = 40.0  # seconds without a sign of life, after which a process counts as lost
SIGN_OF_LIFE = 5.0  # seconds between two
_LONGEST = 2**16  # bytes of a line
_LINGERS = 20.0  # seconds after the end of process 0 in which others may still come, to be told of it


class Connection:
    """One process, once it has said which."""

    def __init__(self, stream: socket.socket):
        self.stream, self.unread, self.heard = stream, b"", time.monotonic()
        self.process: int | None = None
        self.done = False

    def lines(self) -> list[bytes] | None:
        """Return the whole lines that have come; None at the end of the connection."""
        try:
            received = self.stream.recv(_LONGEST)
        except OSError:
            received = b""
        *lines, self.unread = (self.unread + received).split(b"\n")
        return lines if received and len(self.unread) < _LONGEST else None

    def send(self, message: dict[str, Any] | None) -> None:
        """Send a message, or a sign of life; a connection that is gone is noticed when it is read."""
        with contextlib.suppress(OSError):
            self.stream.sendall((b"" if message is None else json.dumps(message).encode()) + b"\n")


class Coordinator:
    """Serve the connections of ``number`` processes."""

    def __init__(self, listening: socket.socket, number: int, token: int):
        self._number, self._token = number, token
        self._selector = selectors.DefaultSelector()
        self._selector.register(listening, selectors.EVENT_READ)
        self._connections: list[Connection] = []
        self._joined: set[int] = set()
        self._told: dict[str, Any] | None = None

    def serve(self, parent: Any) -> None:
        """Return when all processes have gone; ``parent`` is at its end when process 0 has."""
        self._selector.register(parent, selectors.EVENT_READ, parent)
        left, signed = math.inf, 0.0
        while self._connections or not (time.monotonic() > left or len(self._joined) == self._number):
            for key, _ in self._selector.select(SIGN_OF_LIFE):
                if key.data is None:
                    self._accept(key.fileobj)
                elif key.data is parent:
                    left = time.monotonic() + _LINGERS
                    self._selector.unregister(parent)
                else:
                    self._read(key.data)
            now = time.monotonic()
            if now - signed > SIGN_OF_LIFE:
                signed = now
                for connection in list(self._connections):
                    connection.send(None)
                    if now - connection.heard > SILENCE:
                        self._lose(connection, f"has not answered for {SILENCE:.0f} seconds")

    def _accept(self, listening: Any) -> None:
        stream, _ = listening.accept()
        stream.settimeout(SIGN_OF_LIFE)
        self._connections.append(Connection(stream))
        self._selector.register(stream, selectors.EVENT_READ, self._connections[-1])

    def _read(self, connection: Connection) -> None:
        lines = connection.lines()
        if lines is None:
            self._lose(connection, "is gone")
            return
        connection.heard = time.monotonic()
        for line in filter(None, lines):
            try:
                message = json.loads(line)
                if connection.process is None:
                    if message["token"] != self._token:
                        raise ValueError(message)
                    connection.process = int(message["process"])
                    self._joined.add(connection.process)
                    if self._told is not None:  # a loss before this process came
                        connection.send(self._told)
                connection.done |= "done" in message
                if "ended" in message:
                    self._tell(connection, f"ended: {message['ended']}")
            except (ValueError, KeyError, TypeError):  # not one of ours
                self._lose(connection, "")
                return

    def _lose(self, connection: Connection, how: str) -> None:
        self._selector.unregister(connection.stream)
        self._connections.remove(connection)
        connection.stream.close()
        if connection.process is not None and not connection.done:
            self._tell(connection, how)

    def _tell(self, about: Connection, how: str) -> None:
        """Tell all others the first loss alone; what follows is its consequence."""
        if self._told is None:
            self._told = {"lost": about.process, "sentence": how}
            for other in self._connections:
                if other is not about and other.process is not None:
                    other.send(self._told)


def main(address: str, number: int) -> None:
    """Serve ``number`` processes at ``address``; print ``{"port", "token"}``, or ``{"error"}``."""
    for number_of_signal in (signal.SIGINT, signal.SIGTERM):  # of the run, whose end this program waits for
        signal.signal(number_of_signal, signal.SIG_IGN)
    try:
        from jaxlib import _jax  # pyright: ignore[reportAttributeAccessIssue]  # the only way to serve without being one of the processes

        service = _jax.get_distributed_runtime_service(address, number)
        listening = socket.create_server(("", 0), backlog=number)
    except Exception as error:
        print(json.dumps({"error": (str(error).strip().splitlines() or ["no reason given"])[0]}), flush=True)
        return
    token = secrets.randbits(31)
    print(json.dumps({"port": listening.getsockname()[1], "token": token}), flush=True)
    Coordinator(listening, number, token).serve(sys.stdin)
    sys.stdout.flush()
    os._exit(0 if service else 1)  # at once: the service would wait for processes that are gone


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
