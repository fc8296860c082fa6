"""A bot that answered by FastCGI and works on: waited for until a limit of its own, then ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from scalable.lib.runners.php.fastcgi_client import FastCgiConnection, RequestEnd
from scalable.lib.runners.php.fastcgi_server import FastCgiServer
from scalable.lib.runners.run_result import joined
from scalable.lib.runners.working_on import WorkingOn


class _TimeIsOver(Exception):
    """The worker stops, and the bot has had the time of a run."""


@dataclass
class FastCgiWorkingOn(WorkingOn):
    """The request on `connection` to `server`, which began at `started` (time.monotonic).

    `timeout_seconds` from then on are for a run, `background_seconds` for one that has answered.
    """

    server: FastCgiServer
    connection: FastCgiConnection
    started: float
    timeout_seconds: float
    background_seconds: float

    def wait(self, tick: Callable[[], None], is_stopping: Callable[[], bool]) -> str:
        """See WorkingOn.wait."""

        def checked_tick() -> None:
            tick()
            if is_stopping() and time.monotonic() >= self.started + self.timeout_seconds:
                raise _TimeIsOver

        try:
            answer = self.connection.go_on(self.started + self.background_seconds, checked_tick)
        except _TimeIsOver:
            return self._ended("stopped, because its worker stops")
        except BaseException:
            self.server.abandon(self.connection)
            raise
        if answer.ended is RequestEnd.IN_ORDER:
            self.server.release(self.connection, answer.is_reusable)
            return ""
        if answer.ended is RequestEnd.CONNECTION_LOST:
            return self.server.lost(self.connection, answer).cause
        if answer.ended is RequestEnd.NOT_FASTCGI:
            return self._ended(f"{self.server.name} does not speak FastCGI: {answer.problem}")
        return self._ended(f"stopped after {self.background_seconds:g} s (BOT_LEGACY_BACKGROUND_SECONDS)")

    def _ended(self, cause: str) -> str:
        return joined((cause, self.server.abandon(self.connection)), "; ")
