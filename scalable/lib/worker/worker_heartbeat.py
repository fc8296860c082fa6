"""A worker's row in the registry, which shows that it is alive, and its counts, both written every ten seconds.

While the database is away, counts are kept and the row grows old; the next heartbeat makes up for it.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable

from scalable.lib.errors import ScalableError
from scalable.lib.logs import OncePer, event
from scalable.lib.queue.counters import Counters
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.worker_registry import Heartbeat
from scalable.lib.runners.outcome import Outcome
from scalable.lib.worker.recycling import peak_memory_kb

log = logging.getLogger(__name__)
BEAT_SECONDS = 10.0


class WorkerHeartbeat:
    """Registers one worker, and counts what it does. No method raises because of the database."""

    def __init__(self, queue: DatabaseQueue, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = queue.workers
        self.counters = Counters(queue.table, clock)
        # Driver errors too: a missing right on one of these tables must not keep the bot from running.
        self._tolerated: tuple[type[Exception], ...] = (ScalableError, *queue.database.driver_errors)
        self._name = name
        self._clock = clock
        self._started = clock()
        self._beat_due = OncePer(BEAT_SECONDS, clock)
        self._flush_due = OncePer(BEAT_SECONDS, clock)
        self._may_log = OncePer(60, clock)
        self._totals = {"done": 0, "retried": 0, "failed": 0}

    def ended(self, became: str, outcome: Outcome) -> None:
        """Count a run that is over; the job `became` done, retried or failed."""
        self._totals[became] += 1
        self.counters.count(became)
        self.counters.count("warned", int(became == "done" and bool(outcome.warnings)))
        self.counters.ran(outcome.seconds)

    def beat_if_due(self) -> None:
        """Write the row when it is time. Only right after the database answered: a lease must not wait for it."""
        if self._beat_due():
            self._try(self._beat)

    def beat_and_flush_if_due(self) -> None:
        """Write the row and the counts when it is time."""
        self.beat_if_due()
        if self._flush_due():
            self._try(self.counters.flush)

    def seconds_to_flush(self) -> float:
        """Until counts are to be written; infinite when there are none. A worker that waits longer would keep them."""
        return math.inf if self.counters.is_empty else self._flush_due.seconds_left

    def close(self) -> None:
        """Write the last counts, and delete the row."""
        if self._try(self.counters.flush):
            self._try(lambda: self._registry.remove(self._name))

    def _beat(self) -> None:
        done, retried, failed = (self._totals[name] for name in ("done", "retried", "failed"))
        runs, age_seconds = done + retried + failed, self._clock() - self._started
        host = socket.gethostname()[:64]
        self._registry.record_heartbeat(
            Heartbeat(
                self._name, host, os.getpid(), age_seconds, runs, done, retried, failed, memory_kb=peak_memory_kb()
            )
        )

    def _try(self, work: Callable[[], None]) -> bool:
        try:
            work()
            return True
        except self._tolerated as error:
            if self._may_log():
                log.warning(event("pulse not written", worker=self._name, cause=error))
            return False
