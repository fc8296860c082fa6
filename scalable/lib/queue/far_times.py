"""Stored times that lie further ahead than anything of ours: the clock was set back, or another program wrote them.

The PHP version writes local time. On SQLite the clock is that of the machine: when it was wrong and is put right, what
waits would wait for hours, and a dead worker would keep its jobs as long. statements.py has the words in braces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalable.lib.queue.database_queue import DatabaseQueue

BATCH = 1000
# What a program that took a job without a lease is given to finish it: longer than any PHP worker's own limit.
ADOPTED_LEASE_SECONDS = 300
# Who holds such a lease.
OTHER_PROGRAM = "another program"
# The longest delay that a bot may ask for, see judgement.py; ours may be set to more.
ASKED_FOR_SECONDS = 3600
# How far two times of one clock may be apart, and a lease may begin late.
TOLERANCE_SECONDS, LATE_SECONDS = 10, 60

# Waiting jobs that are due too late: later than any delay; later than one of ours, when none of our workers ever had
# them; or later than at once, when nobody has tried them at all. By index turn.
_NEVER_OURS = "(reserved_by IS NULL OR reserved_by = :other_program)"
_TOO_LATE = f"""available_at > {{in:tolerance_seconds}}
  AND (available_at > {{in:any_seconds}}
    OR ({_NEVER_OURS} AND (available_at > {{in:our_seconds}} OR (attempts = 0 AND history IS NULL))))"""

DUE_TOO_LATE = f"""
SELECT id
FROM {{jobs}} {{use:turn}}
WHERE status = 'pending'
  AND parked IN (0, 1)
  AND priority IN (0, 1, 2)
  AND {_TOO_LATE}
LIMIT :limit
"""

# By primary key, and only what is still so.
MAKE_DUE = f"""
UPDATE {{jobs}}
SET available_at = {{now}}, updated_at = {{now}}
WHERE id IN ({{ids}})
  AND status = 'pending'
  AND {_TOO_LATE}
"""

# Leases that end later than any does, and those that were missed at a time that has not come yet. By index turn: the
# rows that are processing are as many as the slots.
_TOO_LONG = "(lease_expires_at > {in:longest_seconds} OR lease_missed_at > {in:tolerance_seconds})"

LONG_LEASES = f"""
SELECT id
FROM {{jobs}} {{use:turn}}
WHERE status = 'processing'
  AND parked IN (0, 1)
  AND {_TOO_LONG}
LIMIT :limit
"""

# They begin now: a worker that lives renews its own before that, as always. By primary key. `updated_at` stays the time
# of the last heartbeat.
SHORTEN_LEASE = f"""
UPDATE {{jobs}}
SET lease_missed_at = NULL, updated_at = updated_at,
    lease_expires_at = CASE WHEN lease_expires_at > {{in:longest_seconds}} THEN {{in:lease_seconds}}
        ELSE lease_expires_at END
WHERE id IN ({{ids}})
  AND status = 'processing'
  AND {_TOO_LONG}
"""


def make_due(queue: DatabaseQueue) -> int:
    """Waiting jobs that are due later than can be are due now; how many. Safe to repeat."""
    ours = queue.retry_policy.max_seconds + LATE_SECONDS
    values: dict[str, Any] = {
        "tolerance_seconds": TOLERANCE_SECONDS,
        "our_seconds": ours,
        "any_seconds": max(ours, ASKED_FOR_SECONDS + LATE_SECONDS),
        "other_program": OTHER_PROGRAM,
    }
    found = queue.table.rows(DUE_TOO_LATE, limit=BATCH, **values)
    return queue.table.change_ids(MAKE_DUE, (row[0] for row in found), **values)


def shorten_leases(queue: DatabaseQueue) -> int:
    """Leases that would end later than any does end after their usual time from now on; how many. Safe to repeat."""
    lease_seconds = queue.lease_terms.lease_seconds
    values: dict[str, Any] = {
        "tolerance_seconds": TOLERANCE_SECONDS,
        "longest_seconds": max(lease_seconds, ADOPTED_LEASE_SECONDS) + LATE_SECONDS,
    }
    found = queue.table.rows(LONG_LEASES, limit=BATCH, **values)
    ids = (row[0] for row in found)
    return queue.table.change_ids(SHORTEN_LEASE, ids, lease_seconds=lease_seconds, **values)
