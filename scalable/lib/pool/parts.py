"""What the pool and the workers of an installation are made of: a value, put together from the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from scalable.lib.pool.bot_hold import BotHold
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.runners.runner import Runner
from scalable.lib.worker.maintenance import Maintenance
from scalable.lib.worker.reply_sender import ReplySender
from scalable.lib.worker.run_log import RunLogs

if TYPE_CHECKING:
    from scalable.lib.ingest.pool_notification import NotificationSocket


@dataclass(frozen=True)
class PoolParts:
    """`queue` and `maintenance` are shared by all threads; each worker has a runner and a reply sender of its own.

    `size` is the number of workers, `slots` how many updates each of them runs at the same time (None: as many as
    are useful), `is_strict` whether warnings are failures, `sleep_seconds` the pause between two snapshots of the
    queue when there is nothing to do, `worker_script` the path of worker.py. `finishing_lock` is held by the one
    tick or drain that only finishes its last jobs: the next one works already. `hold` says whether workers may be
    started; `run_logs` is where workers note what they run. Only a process that holds the pool's lock may call
    `open_notifications`; None means that there can be no socket. `leader_checks` are called about
    once a minute, by one pool of all that share the queue.
    """

    queue: DatabaseQueue
    maintenance: Maintenance
    create_runner: Callable[[ProcessReaper], Runner]
    create_replies: Callable[[], ReplySender]
    open_notifications: Callable[[], Optional[NotificationSocket]]
    size: int
    slots: Optional[int]
    is_strict: bool
    sleep_seconds: float
    bot_timeout_seconds: float
    worker_script: str
    finishing_lock: Path
    hold: BotHold
    run_logs: RunLogs
    leader_checks: tuple[Callable[[], None], ...] = ()
