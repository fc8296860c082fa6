"""One drain at a time for those who start drains from the web: a lock that is handed from the starter to the drain.

Whoever stores an update and finds the lock taken starts nothing, and relies on the drain that has it. So a drain that
ends must look once more after it let the lock go: an update that it did not see was stored before that look, and if its
starter still found the lock taken, this look sees it. Then the drain starts another, like any starter.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, SchemaMissing
from scalable.lib.logs import event
from scalable.lib.queue.database_queue import DatabaseQueue

log = logging.getLogger(__name__)
# A job that is put off for longer waits for whoever comes next; the ordinary delays are shorter.
LINGER_SECONDS = 120.0
LOOK_SECONDS = 0.5
# A job may be due and still not be there to take: its lane is busy elsewhere. The pauses grow from this one.
SHORTEST_SECONDS = 0.05


class DrainLock:
    """Taken by the starter, inherited by the drain; the kernel lets it go when neither of them is left (flock(2)).

    Close-on-exec, so that no bot inherits it.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` holds the lock."""
        os.set_inheritable(descriptor, False)
        self.descriptor = descriptor

    def release(self) -> None:
        """Let it go, whoever else has the descriptor."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Let go of this process's share: it stays taken while a drain has inherited it."""
        os.close(self.descriptor)


def take_drain_lock(path: Path) -> Optional[DrainLock]:
    """The lock; None when somebody else has it. Costs some microseconds. Raises ConfigurationError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path}: the lock cannot be opened ({error.strerror})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        why = f"{path}: this file system has no locks ({error.strerror}); name a local folder as BOT_DATA_DIR"
        raise ConfigurationError(why) from error
    return DrainLock(descriptor)


class DrainSession:
    """What a drain from the web does when it has nothing to do, and when it ends.

    `lingers`: it waits for jobs that were put off, because nobody else would come for them; otherwise others do.
    `successor` starts another drain; None where somebody comes again anyhow.
    """

    def __init__(
        self, queue: DatabaseQueue, lock: DrainLock, waits_for_retries: bool, successor: Optional[Callable[[], None]]
    ) -> None:
        self._queue = queue
        self._lock = lock
        self._waits_for_retries = waits_for_retries
        self._successor = successor
        self._shortest = SHORTEST_SECONDS

    def pause_seconds(self) -> Optional[float]:
        """How long to wait before looking for work again, when there is none; None: not at all."""
        due_in_seconds = self._queue.snapshot().due_in_seconds if self._waits_for_retries else None
        if due_in_seconds is None or due_in_seconds > LINGER_SECONDS:
            return None
        self._shortest = SHORTEST_SECONDS if due_in_seconds > 0 else min(self._shortest * 2, LOOK_SECONDS)
        return min(max(due_in_seconds, self._shortest), LOOK_SECONDS)

    def finish(self) -> None:
        """Let the lock go, then look once more; what is left goes to the successor."""
        self._lock.release()
        if self._successor is not None and self._work_is_left():
            self._successor()

    def _work_is_left(self) -> bool:
        try:
            due_in_seconds = self._queue.snapshot().due_in_seconds
        except (DatabaseUnavailable, SchemaMissing) as error:
            log.error(event("queue not looked at", cause=error))
            return False
        finally:
            self._queue.close()
        return due_in_seconds is not None and due_in_seconds <= LINGER_SECONDS
