"""Cron, as far as a crontab line sees it: run by /bin/sh in the home folder of its owner, with little environment."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.judges.documents import blocks
from tests.support.places import REPOSITORY
from tests.support.servers.apache import WEB_USER
from tests.support.waiting import PATIENCE_SECONDS

# The ways to start workers, as the documents tell them.
LINES = [
    line.removeprefix("* * * * * ")
    for block in blocks(REPOSITORY / "docs" / "hosting.md") if block.language == "crontab" for line in block.commands
]  # fmt: skip


def line_with(option: str) -> str:
    """The command of the one line with this option."""
    [found] = [each for each in LINES if re.search(rf"{option}\b", each)]
    return found


class Cron:
    """Cron of one owner; `places`: what stands for the folders the documents name. What a line prints is its mail."""

    def __init__(self, home: Path, places: Mapping[str, str]) -> None:
        self._home = home
        self._places = places
        self._started: list[subprocess.Popen[str]] = []

    def start(self, command: str) -> subprocess.Popen[str]:
        """Run one line as the owner."""
        for written, really in self._places.items():
            command = command.replace(written, really)
        owner = ["setpriv", f"--reuid={WEB_USER}", f"--regid={WEB_USER}", "--clear-groups", "--"]
        environment = {"HOME": str(self._home), "LOGNAME": WEB_USER, "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
        process = subprocess.Popen(
            [*(owner if os.geteuid() == 0 else []), "/bin/sh", "-c", command],
            env=environment,
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run(self, command: str) -> tuple[int, str]:
        """The same, to its end: the exit code and the mail."""
        process = self.start(command)
        mail, _ = process.communicate(timeout=60)
        return process.returncode, mail

    def is_at_work(self) -> bool:
        """Whether one of the lines has not ended yet."""
        return any(process.poll() is None for process in self._started)

    def end(self) -> None:
        """End what is left; workers end with their pool."""
        for process in self._started:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=PATIENCE_SECONDS)
