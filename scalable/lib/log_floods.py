"""Lines that anybody on the Internet can cause: of each kind a few in a minute are written, the rest is counted.

Else who sends a thousand requests without the secret fills a disk. What is about jobs is not counted but written: there
are as many such lines as there are updates.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from scalable.lib.logs import event

# How lines of these events begin, and loggers of which every line counts.
OF_REQUESTS = (
    "update refused",
    "update not taken",
    "request refused",
    "request failed",
    "request not taken over",
    "login refused",
    "login not looked at",
    "dashboard not shown",
    "tick failed",
    "tick refused",
)
OF_THE_SERVER = "waitress"
MOST, SECONDS = 10, 60.0


@dataclass
class _Kind:
    ends: float
    written: int = 0
    left_out: int = 0


class LogFloods:
    """Which lines are written. For one handler, whose lock is held."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def is_written(self, logger: str, message: str) -> bool:
        """Whether this line is written; call `sums` before."""
        name = _kind_of(logger, message)
        if name is None:
            return True
        kind = self._kinds.setdefault(name, _Kind(self._clock() + self._seconds))
        if kind.written < self._most:
            kind.written += 1
            return True
        kind.left_out += 1
        return False

    def sums(self, at_the_end: bool = False) -> list[str]:
        """A line for each kind of which some were left out in a time that is over now."""
        over = [name for name, kind in self._kinds.items() if at_the_end or kind.ends <= self._clock()]
        ended = {name: self._kinds.pop(name) for name in over}
        return [
            event("more of these lines were left out", of=name, count=kind.left_out, seconds=self._seconds)
            for name, kind in ended.items()
            if kind.left_out
        ]


def _kind_of(logger: str, message: str) -> str | None:
    if logger.partition(".")[0] == OF_THE_SERVER:
        return OF_THE_SERVER
    return next((name for name in OF_REQUESTS if message.startswith(name)), None)
