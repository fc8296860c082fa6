"""One tick of cron: a pool that runs for less than a minute, with one worker that has the slots of all.

It does what the resident pool does: receives notifications of the webhook, runs due jobs, maintains the queue. When its
time is over it begins no job, makes way for the next tick, and ends with the last job that runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from scalable.lib.errors import BotUnsuitable, ExitCode, NoProcessLeft
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
from scalable.lib.worker.slot_group import open_slots, slot_limit
from scalable.lib.worker.wakeup import WaitForWakeup

if TYPE_CHECKING:
    from scalable.lib.ingest.pool_notification import NotificationSocket

log = logging.getLogger(__name__)
# For the worker, and for all the rest.
CONNECTIONS = 2
# How often a tick that holds its updates looks whether it still has to.
HELD_SECONDS = 1.0


def run_cron(parts: PoolParts, max_seconds: float, lock_file: Path) -> int:
    """Work for `max_seconds`; the exit code. Does nothing when a pool runs already.

    Raises BotMissing, DatabaseUnavailable when the database is away at the start, and ConfigurationError when its
    tables or the data folder are wrong.
    """
    ends = time.monotonic() + max_seconds
    lock = PoolLock(lock_file)
    if not lock.take(ensure=True):
        return ExitCode.OK
    reaper = ProcessReaper()
    runner = parts.create_runner(reaper)
    with contextlib.suppress(BotUnsuitable):  # the tick holds the updates, and tells it
        runner.check()
    parts.queue.database.limit_connections(CONNECTIONS)
    parts.queue.ensure_schema()
    stop = StopSignal()
    stop.listen()
    notifications = parts.open_notifications()
    exit_code = _CronPool(parts, runner, reaper, stop, ends, notifications, lock).run()
    end_within(END_SECONDS, exit_code)
    return exit_code


@dataclass
class _CronPool:
    """`ends`, by the monotonic clock: begin no job after that."""

    parts: PoolParts
    runner: Runner
    reaper: ProcessReaper
    stop: StopSignal
    ends: float
    notifications: Optional[NotificationSocket]
    lock: PoolLock

    def __post_init__(self) -> None:
        self._name = process_name()
        self._is_over = False
        self._services = PoolServices(self.parts, self._name, self.notifications)
        self._exit_code = ExitCode.OK

    def run(self) -> ExitCode:
        """Work until the time is over or a stop is requested, and until the last job has ended."""
        log.info(event("pool started", pid=os.getpid(), place=self.parts.queue.database.place))
        self._services.start()
        try:
            thread = SlotThreads([self._work])
            thread.start()
            self.stop.wait(self._seconds_left())
            thread.join()
        finally:
            self._end_services()
        log.info(event("pool stopped", exit_code=int(self._exit_code)))
        return self._exit_code

    def _work(self) -> None:
        """Run the worker, in its own thread."""
        parts, name, stop = self.parts, f"{self._name}/1", self.stop
        try:
            if self._is_held_to_the_end():
                return
            slots = open_slots(
                self.runner,
                lambda: parts.create_runner(self.reaper),
                parts.create_replies,
                stop,
                slot_limit(parts.slots, parts.size),
                parts.is_strict,
            )
            worker = LegacyBotWorker(parts.queue, slots, name, stop, parts.run_logs.open(name))
            limits = Limits(max_seconds=self._seconds_left())
            idle_wait = WaitForWakeup(self._services.wakeup_pipe.reader)
            WorkerLoop(parts.queue, worker, stop, idle_wait, limits, on_last_claim=self._make_way).run()
        except (BotUnsuitable, NoProcessLeft) as error:
            log.error(event("worker ended", worker=name, cause=error))
            self._exit_code = error.exit_code
        except Exception:  # the top of the thread; in a process of its own the worker would end like that
            log.exception(event("worker ended", worker=name))
            self._exit_code = ExitCode.UNEXPECTED
            self._services.maintenance.worker_died(name)
        stop.request()  # a bot that needs a new process has it in the next tick

    def _is_held_to_the_end(self) -> bool:
        """Wait while no way to run the bot is certain; whether that is so until the time is over."""
        while self.parts.hold.holds():
            if self.stop.requested or self._seconds_left() <= 0:
                self._exit_code = ExitCode.BOT_MISSING
                return True
            self.stop.wait(max(0.0, min(HELD_SECONDS, self._seconds_left())))
        return False

    def _make_way(self) -> bool:
        """Let the next tick work while the last jobs of this one run; False while those of another one do."""
        if not PoolLock(self.parts.finishing_lock, tries=1).take(ensure=True):
            return False
        self._end_services()
        self.lock.release()
        return True

    def _end_services(self) -> None:
        """Once nothing will be claimed any more; safe to repeat."""
        if not self._is_over:
            self._is_over = True
            self._services.stop()
            if self.notifications is not None:
                self.notifications.close()

    def _seconds_left(self) -> float:
        return self.ends - time.monotonic()
