"""A bot that answered by FastCGI and works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from scalable.lib.runners.php.fastcgi_client import FastCgiConnection, RequestEnd
from scalable.lib.runners.php.fastcgi_server import FastCgiServer
from scalable.lib.runners.working_on import WorkingOn


@dataclass
class FastCgiWorkingOn(WorkingOn):
    """The request on `connection` to `server`."""

    server: FastCgiServer
    connection: FastCgiConnection

    def _follow(self, deadline: float, tick: Callable[[], None]) -> Optional[str]:
        answer = self.connection.go_on(deadline, tick)
        if answer.ended is RequestEnd.IN_ORDER:
            self.server.release(self.connection, answer.is_reusable)
            return ""
        if answer.ended is RequestEnd.CONNECTION_LOST:
            return self.server.lost(self.connection, answer).cause
        if answer.ended is RequestEnd.NOT_FASTCGI:
            self._end()
            return f"{self.server.name} does not speak FastCGI: {answer.problem}"
        return None

    def _end(self) -> str:
        return self.server.abandon(self.connection)
