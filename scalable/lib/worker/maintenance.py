"""The periodic work on the queue: for the pool's schedule, or for a worker that has no pool."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Optional

from scalable.lib.logs import OncePer, event
from scalable.lib.process_name import process_name
from scalable.lib.queue.counters import Counters
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import Adopted, KnownRuns, Reaped
from scalable.lib.queue.leadership import Leadership
from scalable.lib.worker.run_log import RunLogs

log = logging.getLogger(__name__)
REAP_SECONDS = 5.0
PRUNE_SECONDS = 60.0
# Deleted at most in one call, so that a first clean-up of a large table does not keep a cron job busy for an hour.
PRUNE_LIMIT = 20_000
# More than two of the leader's rounds.
LEAD_SECONDS = 150.0


class Maintenance:
    """Reap, expire, adopt, count and prune, with a log line only when something was done. Safe in several processes.

    `remember_address` lets the runners of this machine know where Telegram reaches the bot, `run_logs` tell what a dead
    worker had run, and `adopt_bare` adopts what the door in PHP has stored by itself. The other work of `every_minute`
    is done by one process of all, the leader; when it dies, another one takes the lead.
    Every method raises DatabaseUnavailable, or SchemaMissing.
    """

    def __init__(
        self,
        queue: DatabaseQueue,
        keep_done_seconds: float,
        keep_failed_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        remember_address: Callable[[], None] = lambda: None,
        run_logs: Optional[RunLogs] = None,
        adopt_bare: Callable[[], int] = lambda: 0,
    ) -> None:
        self.leadership = Leadership(queue.table, process_name(), LEAD_SECONDS)
        self._queue = queue
        self._keep_done_seconds = keep_done_seconds
        self._keep_failed_seconds = keep_failed_seconds
        self._remember_address = remember_address
        self._run_logs = run_logs
        self._adopt_bare = adopt_bare
        self._registry = queue.workers
        self._minutes = queue.minutes
        self._counters = Counters(queue.table, clock)
        self._totals = queue.totals
        self._reap_due = OncePer(REAP_SECONDS, clock)
        self._prune_due = OncePer(PRUNE_SECONDS, clock)

    def run_if_due(self) -> None:
        """The whole work, each part when its time has come: a worker without a pool calls it between jobs."""
        if self._reap_due():
            self.every_5_seconds()
        if self._prune_due():
            self.every_minute()

    def every_5_seconds(self) -> None:
        """End leases that ran out, and updates that are not worth running any more."""
        self._report(self._queue.reap(runs_of=self._runs_of), "lease ran out")
        expired = self._queue.expire()
        if expired:
            self._counters.count("expired", expired)
            log.warning(event("updates expired", count=expired))
        self._counters.flush()

    def every_minute(self) -> None:
        """Adopt rows of another program, count the minutes that are over, and delete what is old."""
        self._remember_address()  # on every machine, not only on the leader's
        if self._run_logs is not None:
            self._run_logs.prune()
        if not self.leadership.take():
            return
        from_door = self._adopt_bare()
        if from_door:
            log.info(event("updates that PHP stored adopted", count=from_door))
        adopted = self._queue.adopt()
        if adopted != Adopted():
            log.warning(event("rows of another program adopted", **vars(adopted)))
        self._minutes.count_enqueued()
        pruned = self._queue.prune(self._keep_done_seconds, self._keep_failed_seconds, PRUNE_LIMIT)
        if pruned:
            log.info(event("old jobs pruned", count=pruned))
        self._minutes.prune()
        self._registry.forget_gone()
        self._totals.refresh()

    def reap_worker(self, worker: str) -> None:
        """Give back what a worker that is known to be dead still held, and take it out of the registry."""
        while True:
            reaped = self._queue.reap(worker, self._runs_of)
            self._report(reaped, f"worker {worker} died")
            if reaped == Reaped():  # a part at a time; others may have been faster
                break
        if self._run_logs is not None:
            self._run_logs.forget(worker)
        self._registry.remove(worker)

    def refresh_workers(self, pool: str) -> None:
        """Register the workers of that pool as alive: an idle one does not do it itself."""
        self._registry.refresh(pool)

    def close(self) -> None:
        """Give up the lead, so that another process can take it at once."""
        self.leadership.resign()

    def _runs_of(self, worker: str) -> Optional[KnownRuns]:
        return None if self._run_logs is None else self._run_logs.of(worker)

    def _report(self, reaped: Reaped, cause: str) -> None:
        if reaped != Reaped():
            self._counters.count("retried", reaped.retried)
            self._counters.count("failed", reaped.failed)
            self._counters.count("done", reaped.done)
            log.warning(event("leases reaped", **vars(reaped), cause=cause))
