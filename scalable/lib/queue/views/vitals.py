"""What the verdict on an installation is made of: the facts that were read, and from when on one of them is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from scalable.lib.queue.job import JobSummary
from scalable.lib.queue.notes import Note
from scalable.lib.queue.views.browse import Waiting
from scalable.lib.queue.views.minutes import Minute
from scalable.lib.queue.views.totals import ever_counted
from scalable.lib.queue.worker_registry import RegisteredWorker


@dataclass(frozen=True)
class Thresholds:
    """From when on something is wrong.

    `waiting_seconds`: a job is due that long and no worker has begun it. `silent_seconds`: no worker is there, and none
    has done maintenance for so long; where cron starts one every 15 minutes, it takes more. `lane_seconds`: a job has
    waited that long for an earlier one of its lane.
    `failed_share` and `failed_at_least`: more than that share of what ended in the last hour failed, and so many; see
    HALF for fewer.
    `uncounted_seconds`: arrivals of a minute that long before the newest one are not counted.
    `webhook_error_seconds`: Telegram failed to deliver so shortly before it was asked, and was asked in that time.
    `webhook_known_seconds`: what Telegram said so long ago does not count as known any more. `polled_seconds`: somebody
    fetched updates without a webhook so lately.
    """

    waiting_seconds: float = 300.0
    silent_seconds: float = 300.0
    lane_seconds: float = 300.0
    failed_share: float = 0.1
    failed_at_least: int = 3
    uncounted_seconds: float = 1200.0
    webhook_error_seconds: float = 300.0
    webhook_known_seconds: float = 1800.0
    polled_seconds: float = 180.0


@dataclass(frozen=True)
class Vitals:
    """What the verdict is made from, read once and shown, too.

    `recent`: the minutes of the last half hour, oldest first. `retrying`: jobs that wait for their next attempt, up to
    a bound. `newest_age_seconds`: since the newest job arrived, None without any. `blocker`: the job that the one which
    is blocked longest waits for, asked for only when it has waited for long. `writing_problem`: why nothing is stored.
    """

    waiting: Waiting
    workers: tuple[RegisteredWorker, ...]
    notes: dict[str, Note]
    last_hour: Optional[Minute]
    recent: tuple[Minute, ...] = ()
    retrying: int = 0
    newest_age_seconds: Optional[float] = None
    blocker: Optional[JobSummary] = None
    writing_problem: Optional[str] = None

    @property
    def has_begun(self) -> bool:
        """Whether an update has ever come, as far as anybody remembers."""
        hour = self.last_hour
        if hour is not None and (hour.enqueued or hour.done or hour.failed or hour.retried or hour.expired):
            return True
        return self.newest_age_seconds is not None or ever_counted(self.notes)
