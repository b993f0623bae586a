"""Open a page in a headless Chromium and say what a reader would find, over the DevTools protocol's pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), "")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
# Chromium reads commands from its descriptor 3 and writes answers to its descriptor 4.
_START = """import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])"""
_LOOK = """(async () => {
  const sounds = [...document.querySelectorAll("audio")];
  const ready = a => a.readyState > 0 || a.error || !a.src
      || new Promise(done => { a.onloadedmetadata = a.onerror = done; });
  await Promise.all(sounds.map(ready));
  return {
    pictures: [...document.images].map(image => image.complete ? image.naturalWidth : 0),
    seconds: sounds.map(a => Number.isFinite(a.duration) ? a.duration : 0),
    content: document.documentElement.scrollWidth,
  };
})()"""


class Seen(NamedTuple):
    """A page as a browser shows it."""

    pictures: list[int]  # the natural width of every picture, 0 if it did not load
    seconds: list[float]  # the duration of every sound, 0 if it did not load
    errors: list[str]  # of the console, and exceptions that no one caught
    content: int  # its width, CSS pixels; more than the screen's makes the page scroll sideways


def look_at(page: Path, width: int) -> Seen:
    """Open a page of the disk on a screen of a telephone, ``width`` CSS pixels wide."""
    errors: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        to_browser, ours = os.pipe()
        theirs, from_browser = os.pipe()
        browser = subprocess.Popen(
            [sys.executable, "-c", _START, str(to_browser), str(from_browser)]
            + [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        watchdog = threading.Timer(240, browser.kill)
        watchdog.start()
        os.close(to_browser)
        os.close(from_browser)
        with os.fdopen(ours, "wb", buffering=0) as commands, os.fdopen(theirs, "rb") as answers:
            try:
                talk = _Talk(commands, answers, errors)
                target = talk.ask("Target.createTarget", url="about:blank")["targetId"]
                talk.session = talk.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
                for domain in ("Runtime", "Log", "Page"):
                    talk.ask(f"{domain}.enable")
                screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
                talk.ask("Emulation.setDeviceMetricsOverride", **screen)
                talk.ask("Page.navigate", url=page.as_uri())
                talk.wait_for("Page.loadEventFired")
                found = talk.ask("Runtime.evaluate", expression=_LOOK, awaitPromise=True, returnByValue=True)
            finally:
                watchdog.cancel()
                browser.kill()
                browser.wait()
    return Seen(errors=errors, **found["result"]["value"])


class _Talk:
    """Send commands and read answers, each a JSON object that ends with a zero byte."""

    def __init__(self, commands: Any, answers: Any, errors: list[str]):
        self.commands, self.answers, self.errors = commands, answers, errors
        self.session, self.sent, self.events = "", 0, set()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self.sent:
                assert "error" not in answer, answer
                return answer["result"]

    def wait_for(self, event: str) -> None:
        while event not in self.events:
            self._read()

    def _read(self) -> dict[str, Any]:
        letters = bytearray()
        while (letter := self.answers.read(1)) != b"\0":
            assert letter, "the browser ended"
            letters += letter
        message = json.loads(letters)
        method, params = message.get("method"), message.get("params", {})
        self.events.add(method)
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(str(params["args"]))
        return message
