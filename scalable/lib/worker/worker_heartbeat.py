"""A worker's pulse: now and then it says that it lives, and writes what it counted. Never a reason to disturb a job.

While the database is away, counts are kept and the row of the registry grows old; the next beat makes up for it.
"""

from __future__ import annotations

import logging
import os
import resource
import socket
import sys
import time
from collections.abc import Callable

from scalable.lib.errors import ScalableError
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.counters import Counters
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.worker_registry import Heartbeat
from scalable.lib.runners.outcome import Outcome

log = logging.getLogger(__name__)
BEAT_SECONDS = 10.0


class WorkerHeartbeat:
    """Registers one worker, and counts what it does. No method raises because of the database."""

    def __init__(self, queue: DatabaseQueue, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = queue.workers
        self._counters = Counters(queue.table, clock)
        # Driver errors too: a right this user lacks on one of these tables must not keep the bot from running.
        self._tolerated: tuple[type[Exception], ...] = (ScalableError, *queue.database.driver_errors)
        self._name = name
        self._clock = clock
        self._started = clock()
        self._beat_due = OncePer(BEAT_SECONDS, clock)
        self._flush_due = OncePer(BEAT_SECONDS, clock)
        self._may_log = OncePer(60, clock)
        self._totals = {"done": 0, "retried": 0, "failed": 0}

    def claimed(self, waited_seconds: float) -> None:
        """A job was begun, so long after it was due."""
        self._counters.waited(waited_seconds)

    def ended(self, became: str, outcome: Outcome) -> None:
        """A run is over, and the job is done, retried or failed now."""
        self._totals[became] += 1
        self._counters.count(became)
        self._counters.ran(outcome.seconds)

    def while_running(self) -> None:
        """Beat when it is time. Only right after the database answered: a lease must not wait for a pulse."""
        if self._beat_due():
            self._tolerantly(self._beat)

    def between_jobs(self) -> None:
        """Beat and write the counts when it is time."""
        self.while_running()
        if self._flush_due():
            self._tolerantly(self._counters.flush)

    def end(self) -> None:
        """Write the last counts, and leave the registry."""
        if self._tolerantly(self._counters.flush):
            self._tolerantly(lambda: self._registry.forget(self._name))

    def _beat(self) -> None:
        totals = self._totals
        self._registry.record_heartbeat(
            Heartbeat(
                self._name,
                socket.gethostname()[:64],
                os.getpid(),
                self._clock() - self._started,
                sum(totals.values()),
                succeeded=totals["done"],
                retried=totals["retried"],
                failed=totals["failed"],
                memory_kb=_memory_kb(),
            )
        )

    def _tolerantly(self, work: Callable[[], None]) -> bool:
        try:
            work()
            return True
        except self._tolerated as error:
            if self._may_log():
                log.warning(event("pulse not written", worker=self._name, cause=error))
            return False


def _memory_kb() -> int:
    """The most memory this process has used; macOS says it in bytes, everyone else in KiB (getrusage(2))."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest // 1024 if sys.platform == "darwin" else largest
