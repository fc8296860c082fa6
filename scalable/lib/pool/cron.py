"""One tick of cron: a pool that lives for less than a minute, its workers in threads of one process.

It does what the resident pool does: hears the webhook, runs what comes due, tidies up. When its time is over it begins
no job, and ends with the last one that runs.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Optional, Protocol

from scalable.lib.errors import ExitCode, NoProcessLeft
from scalable.lib.logs import event
from scalable.lib.pool.command import take_lock
from scalable.lib.pool.maintenance import Maintenance
from scalable.lib.pool.poll_schedule import PollSchedule
from scalable.lib.pool.queue_watcher import Notifications, QueueWatcher
from scalable.lib.pool.slot_threads import SlotThreads
from scalable.lib.pool.worker_parts import WorkerParts
from scalable.lib.process_name import process_name
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.legacy_bot_worker import LegacyBotWorker
from scalable.lib.worker.loop import Limits, WorkerLoop
from scalable.lib.worker.process_end import END_SECONDS, end_within
from scalable.lib.worker.wakeup import Listening, WakeupPipe

log = logging.getLogger(__name__)


class NotificationSource(Notifications, Protocol):
    """Notifications that can be closed."""

    def close(self) -> None:
        """Nobody listens any more."""


def run_cron(
    parts: WorkerParts,
    size: int,
    max_seconds: float,
    lock_file: Path,
    open_notifications: Callable[[], Optional[NotificationSource]],
) -> int:
    """Work for `max_seconds` with `size` workers; the exit code. Does nothing when a pool runs already.

    `open_notifications` is called when this process is the pool. Raises BotMissing, DatabaseUnavailable when the
    database is away at the start, and ConfigurationError when its tables or the data folder are wrong.
    """
    ends = time.monotonic() + max_seconds
    if not take_lock(lock_file, ensure=True):
        return ExitCode.OK
    reaper = ProcessReaper()
    runners = [parts.create_runner(reaper) for _ in range(size)]
    runners[0].check()
    parts.queue.database.limit_connections(size + 1)  # one for each worker, and one for all the rest
    parts.queue.ensure_schema()
    stop = StopSignal()
    stop.listen()
    exit_code = _Tick(parts, runners, stop, ends, open_notifications()).run()
    end_within(END_SECONDS, exit_code)
    return exit_code


class _Tick:
    """The running pool. `ends`, by the monotonic clock: begin no job after that."""

    def __init__(
        self,
        parts: WorkerParts,
        runners: Sequence[Runner],
        stop: StopSignal,
        ends: float,
        notifications: Optional[NotificationSource],
    ) -> None:
        self._parts = parts
        self._stop = stop
        self._ends = ends
        self._notifications = notifications
        self._name = process_name()
        self._exit_code = ExitCode.OK
        self._left = len(runners)
        self._leaving = threading.Lock()
        self._wakeup_pipe = WakeupPipe(len(runners))
        watch = PollSchedule(parts.sleep_seconds, hears_notifications=notifications is not None)
        self._maintenance = Maintenance(
            parts.queue, parts.housekeeping, self._name, lambda: watch.is_quiet, parts.alert
        )
        self._watcher = QueueWatcher(parts.queue, watch, self._wakeup_pipe, notifications, self._maintenance.needed)
        self._slots = SlotThreads(
            [partial(self._work, f"{self._name}/{n}", runner) for n, runner in enumerate(runners, 1)]
        )

    def run(self) -> ExitCode:
        """Work until the time is over or a stop is requested, and until the last job has ended."""
        log.info(event("pool started", pid=os.getpid(), place=self._parts.queue.database.place))
        self._maintenance.start()
        self._watcher.start()
        try:
            self._slots.start()
            self._stop.wait(self._seconds_left())
            self._slots.join()
        finally:
            self._watcher.stop()
            self._maintenance.stop()
            if self._notifications is not None:
                self._notifications.close()
            self._wakeup_pipe.close()
            self._parts.queue.close()
        log.info(event("pool stopped", exit_code=int(self._exit_code)))
        return self._exit_code

    def _work(self, name: str, runner: Runner) -> None:
        """One worker's life, in its own thread."""
        worker = LegacyBotWorker(self._parts.queue, runner, self._parts.create_replies(), name, self._stop)
        limits = Limits(max_seconds=self._seconds_left())
        try:
            WorkerLoop(self._parts.queue, worker, self._stop, Listening(self._wakeup_pipe.reader), limits).run()
        except NoProcessLeft as error:  # the other workers may have what they need
            log.error(event("worker ended", worker=name, cause=error))
            self._exit_code = ExitCode.NO_PROCESS_LEFT
        except Exception:  # the top of the thread; in a process of its own the worker would end like that
            log.exception(event("worker ended", worker=name))
            self._exit_code = ExitCode.UNEXPECTED
            self._maintenance.worker_died(name)
            self._stop.request()
        if worker.retire_reason is not None:
            self._stop.request()  # the next tick is a new process
        with self._leaving:
            self._left -= 1
            if self._left == 0:
                self._stop.request()

    def _seconds_left(self) -> float:
        return self._ends - time.monotonic()
