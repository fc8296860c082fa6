"""What the workers of one process are made of: a value handed down from the settings. Does nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.runners.runner import Runner
from scalable.lib.worker.housekeeping import Housekeeping
from scalable.lib.worker.reply_sender import ReplySender


@dataclass(frozen=True)
class WorkerParts:
    """`queue` and `housekeeping` are for all threads; each worker has a runner and a sender of replies of its own.

    `sleep_seconds` is the pause between two looks at the queue when there is nothing to do. `alert` is called about
    once a minute, by one pool of all that share the queue; None: nobody is to be told.
    """

    queue: DatabaseQueue
    create_runner: Callable[[ProcessReaper], Runner]
    create_replies: Callable[[], ReplySender]
    housekeeping: Housekeeping
    sleep_seconds: float
    alert: Optional[Callable[[], None]] = None
