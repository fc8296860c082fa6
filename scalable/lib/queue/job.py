"""The values that pass between the queue and its users. No behaviour, no SQL."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Optional

PENDING, PROCESSING, DONE, FAILED, EXPIRED = "pending", "processing", "done", "failed", "expired"
STATUSES = (PENDING, PROCESSING, DONE, FAILED, EXPIRED)


@dataclass(frozen=True)
class Enqueued:
    """What enqueue did: the id of the job, and whether it was there already."""

    job_id: int
    duplicate: bool


@dataclass(frozen=True)
class Lease:
    """The right to finish a job; `token` is fresh for every claim.

    `held_by`: the job of its lane under whose lease it was held; None for a job that was claimed itself.
    """

    job_id: int
    token: str = field(repr=False)
    worker: str = ""
    held_by: Optional[int] = None

    @property
    def head(self) -> int:
        """The job that was claimed: the first of those that are run under one lease."""
        return self.held_by or self.job_id


def by_token(leases: Iterable[Lease]) -> dict[str, list[Lease]]:
    """Leases by the claim they are from."""
    found: dict[str, list[Lease]] = {}
    for lease in leases:
        found.setdefault(lease.token, []).append(lease)
    return found


@dataclass(frozen=True)
class KnownRuns:
    """What a worker is known to have run: `begun`, and of these `succeeded`; each by the job and its lease's token."""

    begun: Container[tuple[int, str]]
    succeeded: Container[tuple[int, str]]


@dataclass(frozen=True)
class ClaimedJob:
    """A job this worker may run; `attempt` counts from 1 and includes this one.

    `waited_seconds`: from when it was due to the claim, by the database's clock; a retry's delay is not part of it.
    """

    id: int
    payload: str = field(repr=False)
    attempt: int
    update_id: Optional[int]
    update_type: Optional[str]
    lane: Optional[str]
    lease: Lease
    waited_seconds: float = 0.0


@dataclass(frozen=True)
class ClaimedLane:
    """Jobs of one lane, to be run one after the other; the first one is claimed, the others are held by its lease."""

    jobs: tuple[ClaimedJob, ...]


@dataclass(frozen=True)
class JobSummary:
    """One row as a list shows it, without the payload. Times are UTC by the database's clock.

    `warned`: it is done, and the bot wrote a warning, which is its error message.
    """

    id: int
    status: str
    update_id: Optional[int]
    update_type: Optional[str]
    lane: Optional[str]
    attempts: int
    available_at: datetime
    reserved_at: Optional[datetime]
    reserved_by: Optional[str]
    processed_at: Optional[datetime]
    created_at: datetime
    error_message: Optional[str] = field(repr=False)
    warned: bool = False


@dataclass(frozen=True)
class Counts:
    """How many jobs are in each state."""

    pending: int = 0
    processing: int = 0
    done: int = 0
    failed: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        """All jobs in the table."""
        return self.pending + self.processing + self.done + self.failed + self.expired


@dataclass(frozen=True)
class Reaped:
    """What reap did with the jobs of dead workers: to be tried again, failed for good, not begun, and done."""

    retried: int = 0
    failed: int = 0
    not_begun: int = 0
    done: int = 0


@dataclass(frozen=True)
class Adopted:
    """What adopt repaired: running jobs given a lease, waiting ones made due, ones that wait for no job unparked.

    `ahead`: running ones whose lease was to end later than any does.
    """

    running: int = 0
    waiting: int = 0
    stranded: int = 0
    ahead: int = 0


@dataclass(frozen=True)
class QueueSnapshot:
    """The queue at a glance: the newest job's id, 0 without any; whether `reap` or `expire` would find something.

    `due_in_seconds`: until the first waiting job is due, 0 or less when one is; None when none waits, and while the
    queue is paused; not before the next probe while the bot's side is down. `id_step`: from one id to the next of the
    same server; in a cluster each server counts in steps, so that no two make the same.
    """

    newest_id: int
    due_in_seconds: Optional[float]
    needs_maintenance: bool
    id_step: int = 1


@dataclass(frozen=True)
class ServerDescription:
    """The database server: its name and version, and how jobs are claimed there."""

    product: str
    version: str
    claim_method: str
