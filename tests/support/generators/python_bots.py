"""Bots in Python for runners inside the test's own process, and the cleaning up after them."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scalable.lib.runners.outcome import Outcome
from scalable.lib.runners.python.runner import PythonRunner
from tests.support.generators.bots import outcome_of

# Far beyond what any of these bots needs; a run that took this long hung.
AMPLE_SECONDS = 30.0


class PythonBots:
    """Writes bots into `folder` and makes runners for them; `clean_up` gives back what belongs to the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written = 0
        self._runners: list[PythonRunner] = []
        self._path = list(sys.path)
        self._modules = set(sys.modules)
        self._cwd = os.getcwd()

    def write(self, code: str, file: str = "bot.py") -> Path:
        """The file, written anew unless it holds just that, and old enough to count as uploaded."""
        path = self.folder / file
        if not path.exists() or path.read_text("utf-8") != code:
            path.write_text(code, "utf-8")
            self._written += 1
            os.utime(path, (1.7e9 + self._written,) * 2)
        return path

    def runner(
        self, code: str, function: str = "handle", timeout_seconds: float = AMPLE_SECONDS, file: str = "bot.py"
    ) -> PythonRunner:
        """A runner for a bot with this code."""
        self._runners.append(PythonRunner(self.write(code, file), function, timeout_seconds))
        return self._runners[-1]

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Return once `condition` holds."""
        gives_up = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < gives_up, "it did not come true"
            time.sleep(0.01)

    def clean_up(self) -> None:
        """Close every runner, and forget what the bots imported."""
        for runner in self._runners:
            runner.close()
        assert os.getcwd() == self._cwd
        sys.path[:] = self._path
        for name in set(sys.modules) - self._modules:
            if str(getattr(sys.modules[name], "__file__", None)).startswith(str(self.folder)):
                del sys.modules[name]


def run(bots: PythonBots, body: str, payload: str = '{"update_id": 1}', head: str = "def handle(update):") -> Outcome:
    """One run of a bot whose function `handle` has this body."""
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    return outcome_of(bots.runner(f"import asyncio, os, sys\n{head}\n{indented}"), payload)


def in_threads(works: list[Callable[[], None]]) -> None:
    """Do them all at the same time, to their end."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(AMPLE_SECONDS)
        assert not thread.is_alive()
