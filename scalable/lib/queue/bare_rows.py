"""Rows that the door in PHP stored by itself, where it could reach no Python: they get what Python would have stored.

The door (lib/door/bare_row.php) knows no lanes, so it puts all such rows into one lane of their own, BARE, in which
they run one after the other, in the order in which they came. Here each gets its own lane, type and deadlines.
"""

from __future__ import annotations

from scalable.lib.errors import NotAnUpdate
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.new_row import new_row
from scalable.lib.queue.table import QueueTable
from scalable.lib.telegram.update import Update, read_update

# No update of Telegram has it: its lanes have a colon.
BARE = "bare"
# Of one transaction.
BATCH = 1000

# Whether one of them runs. By index one_running_per_lane.
RUNNING_BARE = """
SELECT id
FROM {jobs} AS job
WHERE {running:job} = :bare
LIMIT 1
"""

# The waiting ones, the oldest first. By index lane.
WAITING_BARE = """
SELECT id, payload
FROM {jobs} {use:lane}
WHERE lane = :bare
  AND status = 'pending'
ORDER BY id
LIMIT :limit
"""

# By primary key.
GIVE_LANE = """
UPDATE {jobs}
SET update_type = :update_type, lane = :lane, priority = :priority, parked = 0,
    urgent_until = {in:urgent_seconds}, expires_at = {in:expires_seconds}, updated_at = {now}
WHERE id = :id
  AND status = 'pending'
  AND lane = :bare
"""


def adopt_bare_rows(table: QueueTable, order: str) -> int:
    """Give the rows of the door their lanes in `order` (see lanes.ORDERS); how many rows. Safe to repeat.

    In the order of their ids, none after one that a worker took meanwhile, and none while one of them runs: two
    updates of a chat must not run at once because one of them is in its lane by now and the other is not. Called
    before this process stores or runs anything, so that newer updates of a chat come behind them.
    """
    total = 0
    while True:
        adopted = table.in_transaction(lambda session: _adopt(table, session, order))
        total += adopted
        if adopted < BATCH:
            return total


def _adopt(table: QueueTable, session: Session, order: str) -> int:
    waiting = session.rows(table.sql(WAITING_BARE), bare=BARE, limit=BATCH)
    if not waiting or session.rows(table.sql(RUNNING_BARE), bare=BARE):
        return 0
    for count, (job_id, payload) in enumerate(waiting):
        row = new_row(_read(payload, order))
        del row["payload"], row["update_id"]
        if not session.execute(table.sql(GIVE_LANE), id=job_id, bare=BARE, **row):
            return count
    return len(waiting)


def _read(payload: str, order: str) -> Update:
    """The update; without a lane when it cannot be read: the run then says what is wrong with it."""
    try:
        return read_update(payload.encode(), order)
    except NotAnUpdate:
        return Update(payload)
