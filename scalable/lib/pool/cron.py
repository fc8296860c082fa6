"""One tick of cron: a pool that runs for less than a minute, its workers in threads of one process.

It does what the resident pool does: receives notifications of the webhook, runs due jobs, maintains the queue. When its
time is over it begins no job, and ends with the last one that runs.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from scalable.lib.errors import ExitCode, NoProcessLeft
from scalable.lib.logs import event
from scalable.lib.pool.parts import PoolParts
from scalable.lib.pool.pool_lock import PoolLock
from scalable.lib.pool.services import PoolServices
from scalable.lib.pool.slot_threads import SlotThreads
from scalable.lib.process_name import process_name
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.legacy_bot_worker import LegacyBotWorker
from scalable.lib.worker.loop import Limits, WorkerLoop
from scalable.lib.worker.process_end import END_SECONDS, end_within
from scalable.lib.worker.wakeup import WaitForWakeup

if TYPE_CHECKING:
    from scalable.lib.ingest.pool_notification import NotificationSocket

log = logging.getLogger(__name__)


def run_cron(parts: PoolParts, max_seconds: float, lock_file: Path) -> int:
    """Work for `max_seconds` with a thread for each worker; the exit code. Does nothing when a pool runs already.

    Raises BotMissing, DatabaseUnavailable when the database is away at the start, and ConfigurationError when its
    tables or the data folder are wrong.
    """
    ends = time.monotonic() + max_seconds
    if not PoolLock(lock_file).take(ensure=True):
        return ExitCode.OK
    reaper = ProcessReaper()
    runners = [parts.create_runner(reaper) for _ in range(parts.size)]
    runners[0].check()
    parts.queue.database.limit_connections(parts.size + 1)  # one for each worker, and one for all the rest
    parts.queue.ensure_schema()
    stop = StopSignal()
    stop.listen()
    notifications = parts.open_notifications()
    try:
        exit_code = _CronPool(parts, runners, stop, ends, notifications).run()
    finally:
        if notifications is not None:
            notifications.close()
    end_within(END_SECONDS, exit_code)
    return exit_code


@dataclass
class _CronPool:
    """`ends`, by the monotonic clock: begin no job after that."""

    parts: PoolParts
    runners: Sequence[Runner]
    stop: StopSignal
    ends: float
    notifications: Optional[NotificationSocket]

    def __post_init__(self) -> None:
        name = process_name()
        self._services = PoolServices(self.parts, name, self.notifications)
        works = [partial(self._work, f"{name}/{number}", runner) for number, runner in enumerate(self.runners, 1)]
        self._slots = SlotThreads(works)
        self._left = len(works)
        self._leaving = threading.Lock()
        self._exit_code = ExitCode.OK

    def run(self) -> ExitCode:
        """Work until the time is over or a stop is requested, and until the last job has ended."""
        log.info(event("pool started", pid=os.getpid(), place=self.parts.queue.database.place))
        self._services.start()
        try:
            self._slots.start()
            self.stop.wait(self._seconds_left())
            self._slots.join()
        finally:
            self._services.stop()
        log.info(event("pool stopped", exit_code=int(self._exit_code)))
        return self._exit_code

    def _work(self, name: str, runner: Runner) -> None:
        """Run one worker, in its own thread."""
        queue, stop = self.parts.queue, self.stop
        worker = LegacyBotWorker(queue, runner, self.parts.create_replies(), name, stop)
        limits = Limits(max_seconds=self._seconds_left())
        try:
            WorkerLoop(queue, worker, stop, WaitForWakeup(self._services.wakeup_pipe.reader), limits).run()
        except NoProcessLeft as error:  # the other workers may be able to go on
            log.error(event("worker ended", worker=name, cause=error))
            self._exit_code = ExitCode.NO_PROCESS_LEFT
        except Exception:  # the top of the thread; in a process of its own the worker would end like that
            log.exception(event("worker ended", worker=name))
            self._exit_code = ExitCode.UNEXPECTED
            self._services.maintenance.worker_died(name)
            stop.request()
        if worker.retire_reason is not None:
            stop.request()  # the next tick is a new process
        with self._leaving:
            self._left -= 1
            if self._left == 0:
                stop.request()

    def _seconds_left(self) -> float:
        return self.ends - time.monotonic()
