"""Which connections of the pool's server are closed, so that nobody who opens many keeps Telegram out.

A limit per address would shut out Telegram itself, whose updates come through a proxy on this machine, from 127.0.0.1,
as those of every visitor and of every other user of the machine do. So a new connection is always accepted. When there
are too many, those go that have waited longest for their own client, first those of the address that has the most. One
whose request is worked on stays: Telegram sends its update at once, so its connection waits for nobody but us. Only
when none waits for its client, those go whose request waits for a thread, which no update does.

Knows connections only as what Connection says of them. For the server's loop alone: its thread may close them.
"""

from __future__ import annotations

import logging
import resource
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scalable.lib.logs import OncePer, event

log = logging.getLogger(__name__)
# At least half of the descriptors stay free for databases, workers and files.
MOST_CONNECTIONS = 1000
# Telegram and proxies send the whole request at once; an update has 1 MB at most.
REQUEST_SECONDS = 20.0
SWEEP_SECONDS = 1.0
LOG_EVERY_SECONDS = 60.0
# Closed beyond those that are too many: going through all of them for each new one would take longer than to accept it.
SPARE_PART = 20


class Connection(Protocol):
    """What waitress knows of a connection (waitress.channel.HTTPChannel)."""

    addr: Any
    # Whole requests that are worked on or wait for it; the part of one that has arrived; times of time.time().
    requests: Collection[Any]
    request: Any
    creation_time: float
    last_activity: float

    def handle_close(self) -> None:
        """Close it at once."""


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections may be open, and how long a client may take to send a whole request."""

    most: int
    request_seconds: float = REQUEST_SECONDS


def usual_limits() -> ConnectionLimits:
    """As many as are useful, and at most half of what this process may open (RLIMIT_NOFILE)."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MOST_CONNECTIONS if files == resource.RLIM_INFINITY else files // 2
    return ConnectionLimits(max(50, min(MOST_CONNECTIONS, allowed)))


@dataclass(frozen=True)
class _Waits:
    """What a connection waits for, and since when: the rest of `part`, or the next request after `last_activity`."""

    part: Any
    last_activity: float
    since: float

    def goes_on(self, connection: Connection) -> bool:
        """Whether it is the same wait still: bytes that come one by one do not begin a new one."""
        if self.part is not None or connection.request is not None:
            return self.part is connection.request
        return self.last_activity == connection.last_activity

    @property
    def is_in_a_request(self) -> bool:
        return self.part is not None


class Connections:
    """Keeps the connections of one server within `limits`."""

    def __init__(self, limits: ConnectionLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._waits: dict[Connection, _Waits] = {}
        self._next_sweep = 0.0
        self._closed: Counter[str] = Counter()
        self._may_log = OncePer(LOG_EVERY_SECONDS, clock)

    @property
    def most(self) -> int:
        """How many may be open; a moment long there may be more."""
        return self._limits.most

    def close_what_is_due(
        self, of_servers: Iterable[Collection[Connection]], in_line: Callable[[], Sequence[Connection]] = lambda: ()
    ) -> None:
        """After each round of the loop: close what is late or too much. Costs next to nothing in most rounds.

        `in_line`: those whose request waits for a thread, longest first. Updates wait for none.
        """
        servers = list(of_servers)
        now, count = self._clock(), sum(map(len, servers))
        if now < self._next_sweep and count <= self._limits.most:
            return
        self._next_sweep = now + SWEEP_SECONDS
        self._note_waits([each for server in servers for each in server], now)
        late = [each for each in self._waits if self._is_late(each, now)]
        self._close("late", late)
        too_many = count - len(late) - self._limits.most
        if too_many > 0:
            too_many += self._limits.most // SPARE_PART
            chosen = self._least_useful(too_many)
            self._close("too many", chosen or in_line()[:too_many])
        self._tell()

    def _note_waits(self, connections: Iterable[Connection], now: float) -> None:
        """Note of every connection that waits for its client what it waits for."""
        before, self._waits = self._waits, {}
        for each in connections:
            if each.requests or getattr(each, "is_taken", False):
                continue
            known = before.get(each)
            if known is None or not known.goes_on(each):
                known = _Waits(each.request, each.last_activity, now)
            self._waits[each] = known

    def _is_late(self, connection: Connection, now: float) -> bool:
        """Not one that is kept for the client's next request: waitress closes those after two minutes."""
        waits = self._waits[connection]
        has_sent_nothing = connection.last_activity == connection.creation_time
        return (waits.is_in_a_request or has_sent_nothing) and now - waits.since > self._limits.request_seconds

    def _least_useful(self, count: int) -> list[Connection]:
        """So many that wait, oldest wait first, of whichever address has the most left."""
        by_address: dict[str, deque[Connection]] = {}
        for each in sorted(self._waits, key=lambda one: self._waits[one].since):  # of the same time: as accepted
            by_address.setdefault(_address(each), deque()).append(each)
        chosen: list[Connection] = []
        while len(chosen) < count and by_address:
            most = max(by_address, key=lambda address: len(by_address[address]))
            chosen.append(by_address[most].popleft())
            if not by_address[most]:
                del by_address[most]
        return chosen

    def _close(self, why: str, connections: Iterable[Connection]) -> None:
        for each in connections:
            self._waits.pop(each, None)
            self._closed[why] += 1
            each.handle_close()

    def _tell(self) -> None:
        if self._closed and self._may_log():
            counts = self._closed["late"], self._closed["too many"]
            log.warning(event("connections closed", late=counts[0], too_many=counts[1], most=self._limits.most))
            self._closed.clear()


def _address(connection: Connection) -> str:
    """Without the port; a Unix socket's are all of one address."""
    return str(connection.addr[0]) if isinstance(connection.addr, tuple) and connection.addr else ""
