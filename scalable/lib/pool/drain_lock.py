"""The drain's side of a drain from the web: the lock it inherited, what it does without work, and its report.

There is one drain at a time: a process that stores an update and finds the lock taken starts nothing, because the
drain that holds the lock will run the job. So a drain that ends must read the queue once more after it released the
lock: if a starter still found the lock taken, its update was stored before that, and this snapshot shows it. Then the
drain starts another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from scalable.lib.errors import DatabaseUnavailable, SchemaMissing
from scalable.lib.logs import event
from scalable.lib.pool.file_lock import take_file_lock
from scalable.lib.pool.pool_lock import PoolLock
from scalable.lib.queue.database_queue import DatabaseQueue

log = logging.getLogger(__name__)
# A job that is put off for longer waits for the next drain; the ordinary delays are shorter.
LONGEST_RETRY_WAIT_SECONDS = 120.0
POLL_SECONDS = 0.5
# A due job cannot be claimed while its lane is busy in another worker. The pauses grow from this one.
SHORTEST_SECONDS = 0.05


class DrainLock:
    """Taken by the starter, inherited by the drain; free when neither of them is left. No bot inherits it."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` holds the lock."""
        os.set_inheritable(descriptor, False)
        self.descriptor = descriptor

    def release(self) -> None:
        """Free the lock, whichever process still has the descriptor."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close this process's descriptor: the lock stays taken while a drain has inherited it."""
        os.close(self.descriptor)


def take_drain_lock(path: Path) -> Optional[DrainLock]:
    """The lock; None when another process has it. Raises ConfigurationError."""
    descriptor = take_file_lock(path)
    return None if descriptor is None else DrainLock(descriptor)


@dataclass
class DrainSession:
    """What a drain from the web does when it has nothing to do, and when it ends.

    `waits_for_retries`: it waits for jobs that were put off, because nothing else would run them. `successor` starts
    another drain; None where a next one is started anyhow. `finishing_lock`: see PoolParts.
    """

    queue: DatabaseQueue
    lock: DrainLock
    finishing_lock: Path
    waits_for_retries: bool
    successor: Optional[Callable[[], None]]

    def __post_init__(self) -> None:
        self._shortest = SHORTEST_SECONDS

    def pause_seconds(self) -> Optional[float]:
        """How long to wait before the next claim, after one that found nothing; None: the drain ends."""
        due_in_seconds = self.queue.snapshot().due_in_seconds if self.waits_for_retries else None
        if due_in_seconds is None or due_in_seconds > LONGEST_RETRY_WAIT_SECONDS:
            return None
        self._shortest = SHORTEST_SECONDS if due_in_seconds > 0 else min(self._shortest * 2, POLL_SECONDS)
        return min(max(due_in_seconds, self._shortest), POLL_SECONDS)

    def make_way(self) -> bool:
        """Finish already, as only jobs that were begun are left to do; False while another drain is at its last."""
        if not PoolLock(self.finishing_lock, tries=1).take(ensure=True):
            return False
        self.finish()
        return True

    def finish(self) -> None:
        """Release the lock, then look at the queue once more; what is left is for the successor. Safe to repeat.

        To be repeated after the last job has ended: that may have let another one of its lane go on.
        """
        self.lock.release()
        if self.successor is not None and self._work_is_left():
            self.successor()

    def _work_is_left(self) -> bool:
        try:
            due_in_seconds = self.queue.snapshot().due_in_seconds
        except (DatabaseUnavailable, SchemaMissing) as error:
            log.error(event("queue not looked at", cause=error))
            return False
        finally:
            self.queue.close()
        return due_in_seconds is not None and due_in_seconds <= LONGEST_RETRY_WAIT_SECONDS


def write_report(descriptor: int, runs: int, succeeded: int) -> None:
    """Report to the starter, if it still reads. Never waits: a report is replaced by the next one anyhow."""
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(descriptor, f"{runs} {succeeded}\n".encode("ascii"))
