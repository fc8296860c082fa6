"""Threads for the workers of one process, as jobs of APScheduler: each is due now, and lasts as long as its worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

from apscheduler.events import EVENT_JOB_REMOVED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from scalable.lib.errors import NoProcessLeft
from scalable.lib.logs import event

log = logging.getLogger(__name__)
# A thread starts in a millisecond. One that has not started by then never will: the user's limit of threads is reached.
START_SECONDS = 5.0
NO_THREADS = "the host allows this user no more threads; lower BOT_WORKER_POOL_SIZE"


class SlotThreads:
    """A thread for each of `works`, which must not raise."""

    def __init__(self, works: Sequence[Callable[[], None]]) -> None:
        self._works = works
        self._begun = threading.Semaphore(0)
        self._handed_over = threading.Semaphore(0)
        self._scheduler = BackgroundScheduler(
            timezone=timezone.utc,
            executors={"default": ThreadPoolExecutor(len(works))},
            # Late or not, each runs once.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(lambda _: self._handed_over.release(), EVENT_JOB_REMOVED)

    def start(self) -> None:
        """Begin all of them. Raises NoProcessLeft when not one thread could be started."""
        now = datetime.now(timezone.utc)
        for work in self._works:
            self._scheduler.add_job(self._begin, DateTrigger(now, timezone.utc), args=[work])
        self._scheduler.start()
        ends = time.monotonic() + START_SECONDS
        begun, wanted = self._count(self._begun, ends), len(self._works)
        # The scheduler submits and removes them in a thread of its own; it must not be shut down meanwhile.
        self._count(self._handed_over, ends)
        if begun == 0:
            raise NoProcessLeft(f"none of {wanted} workers could be started: {NO_THREADS}")
        if begun < wanted:
            log.error(event("workers not started", started=begun, wanted=wanted, cause=NO_THREADS))

    def join(self) -> None:
        """Return when every one that has begun has ended, and begin no other."""
        self._scheduler.shutdown(wait=True)

    def _begin(self, work: Callable[[], None]) -> None:
        self._begun.release()
        work()

    def _count(self, done: threading.Semaphore, ends: float) -> int:
        """For how many of the works it is done by then."""
        count = 0
        while count < len(self._works) and done.acquire(timeout=max(0.0, ends - time.monotonic())):
            count += 1
        return count
