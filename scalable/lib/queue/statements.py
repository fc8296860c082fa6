"""The statements that change a job's state, in words both dialects share; others are beside the code that runs them.

{jobs} is the table, {now} the database's clock when the statement began, {moment} when it is read, {in:x} and {ago:x}
are that clock plus and minus `:x` seconds (NULL for NULL), {minute_ago:x} is the beginning of the minute `:x` whole
seconds ago, {age:x} is how many microseconds ago the time in column x was, {lock} is SKIP LOCKED where it exists, {ids}
a list of ids. {open:x} is the lane of x while x is pending or processing, {running:x} while it is processing, each with
an index of its own; {indexed_lane:x} is the same to sort by. {history:x} is the history of the job with the attempt
that ends now, `:x` is its text. {contains:c:x} is whether column c holds the text `:x`, {stamped:x} is `:x` behind the
time it is now, {slot:c:x} is how often `:x` seconds fit between 1970 and the time in column c. {use:x} names the index,
{by_id} the primary key: the statistics of a table that fills and empties all day are always wrong, and a plan must not
change because of them. {unsorted} keeps groups from being sorted for nothing. {id_step} is how far the ids that this
server makes are apart. {returning} lets an INSERT return update_id and id of each row, where the server has that.
Every change of state names the state it starts from, and the lease where one is needed; the caller checks the row
count. That is what makes two of them at once safe: the second one matches no row.
"""

from __future__ import annotations

import re
from functools import cache

from scalable.lib.queue.rows import SUMMARY

_NEW_ROW = """
    (:payload, :update_id, :update_type, :lane, :priority, {in:urgent_seconds}, {in:expires_seconds}, {now}, {now})"""
_INTO = """
INSERT INTO {jobs}
    (payload, update_id, update_type, lane, priority, urgent_until, expires_at, available_at, created_at)
VALUES"""

# A new pending job. The unique index one_update refuses a second delivery of the same update.
ENQUEUE = f"{_INTO}{_NEW_ROW}\n"


@cache
def enqueue_rows(count: int) -> str:
    """The same of `count` jobs, all or none; the parameters of each end in its number: `:payload_0`, `:payload_1` …

    Returns the rows of FIND_UPDATES where the server can do that.
    """
    rows = (re.sub(r":(\w+)", rf":\1_{number}", _NEW_ROW) for number in range(count))
    return f"{_INTO}{','.join(rows)}\n{{returning}}"


@cache
def for_each(statement: str, count: int) -> str:
    """A statement for one of something, for `count` of them; the parameters of each end in its number: `:id_0` …"""
    return "\nUNION ALL".join(statement.replace("_0", f"_{number}") for number in range(count))


# The jobs of some updates. By index one_update.
FIND_UPDATES = """
SELECT update_id, id
FROM {jobs} {use:one_update}
WHERE update_id IN ({ids})
LIMIT :limit
"""

# The job an update already has. By index one_update.
FIND_UPDATE = """
SELECT id
FROM {jobs}
WHERE update_id = :update_id
LIMIT 1
"""

# What is due, by index turn: a range for each of the three priorities, each in the order of the index.
IS_DUE = """status = 'pending'
  AND parked = 0
  AND priority IN (0, 1, 2)
  AND available_at <= {now}"""

# An earlier job of the lane that waits or runs, any will do: by index open_lane, one row read. No ORDER BY: MySQL would
# sort the lane for it. A later one may be running instead, when this one was requeued: the unique index refuses to take
# it then.
_BLOCKER = """(SELECT ahead.id FROM {jobs} AS ahead {use:open_lane}
        WHERE {open:ahead} = job.lane AND ahead.id < job.id
        LIMIT 1)"""

# An operator paused the queue, see notes.py. By primary key, read once for the whole statement and never locked.
PAUSED = "EXISTS (SELECT 1 FROM {jobs}_meta WHERE name = 'paused')"
# Or the bot's side is down, see outages.py: then only probes are claimed.
CLAIMS_STOPPED = "EXISTS (SELECT 1 FROM {jobs}_meta WHERE name IN ('paused', 'breaker'))"

# How long a job has waited. What was parked is due from the end of the job before it on: its first run waited from its
# arrival on. A run that ended, and a requeue, are in the history.
WAITED = "CASE WHEN lane IS NOT NULL AND history IS NULL THEN {age:created_at} ELSE {age:available_at} END"

# Who may be taken: the most pressing first, then those that have waited longest. {lock} keeps other claimers from
# waiting for them.
CANDIDATES = f"""
SELECT id, payload, attempts, update_id, update_type, lane, {WAITED} AS waited, has_followers, {_BLOCKER} AS blocker
FROM {{jobs}} AS job {{use:turn}}
WHERE {IS_DUE}
  AND (expires_at IS NULL OR expires_at > {{now}})
  AND NOT {CLAIMS_STOPPED}
ORDER BY priority, available_at, id
LIMIT :limit
{{lock}}
"""

# The same without those that have no deadline.
URGENT_CANDIDATES = CANDIDATES.replace("(0, 1, 2)", "(0, 1)")

# For a probe while the bot's side is down: not one of these, which were probed already.
PROBE_CANDIDATES = CANDIDATES.replace(CLAIMS_STOPPED, f"{PAUSED}\n  AND id NOT IN ({{ids}})")

# Of these, those that never failed; what was given back not run did not. What a bot said is escaped in a history.
PROBE_CANDIDATES_THAT_NEVER_FAILED = PROBE_CANDIDATES.replace(
    "\nORDER BY",
    """
  AND attempts = 0
  AND (history IS NULL OR NOT ({contains:history:retried} OR {contains:history:outage} OR {contains:history:requeued}))
ORDER BY""",
)

# Due jobs with their lane: those that CANDIDATES would read in vain are to be parked.
DUE = f"""
SELECT id, lane
FROM {{jobs}} AS job {{use:turn}}
WHERE {IS_DUE}
ORDER BY priority, available_at, id
LIMIT :limit
"""

# One of a lane that waits or runs: the first, in the order of the index open_lane. Once for a lane, not for each job:
# what has just ended stands before it until the server has cleaned up, and is read over. For several, other numbers.
OPEN_IN_LANE = """
SELECT * FROM (
    SELECT ahead.lane, ahead.id
    FROM {jobs} AS ahead {use:open_lane}
    WHERE {open:ahead} = :lane_0
    LIMIT 1) AS found_0"""

# The one that runs in a lane. By index one_running_per_lane.
RUNNING_IN_LANE = """
SELECT running.id
FROM {jobs} AS running
WHERE {running:running} = :lane
LIMIT 1
"""

# Parks jobs behind another one, as one transaction of the two. By primary key. Marking the blocker comes first: it
# waits for a blocker that is just ending, and then finds it ended; or the blocker's end finds the mark, and unparks.
# One that was given back meanwhile does not block what comes before it: `:first` is the first of the jobs to park.
# `updated_at` stays: while a job runs, it is the time of the last heartbeat. The mark changes every time, 1, 2, 1, 2:
# between nodes of a Galera cluster only rows that change are in each other's way.
MARK_BLOCKER = """
UPDATE {jobs}
SET has_followers = CASE has_followers WHEN 1 THEN 2 ELSE 1 END, updated_at = updated_at
WHERE id = :id
  AND (status = 'processing' OR (status = 'pending' AND id < :first))
"""

PARK = """
UPDATE {jobs}
SET parked = 1, updated_at = {now}
WHERE id IN ({ids})
  AND status = 'pending'
"""

# The first one that waits in the lane of a job that ended. By index open_lane. For several, with other numbers.
NEXT_IN_LANE = """
SELECT * FROM (
    SELECT waiting.id
    FROM {jobs} AS ended
    JOIN {jobs} AS waiting {use:open_lane} ON {open:waiting} = ended.lane AND waiting.status = 'pending'
    WHERE ended.id = :id_0
    ORDER BY waiting.id
    LIMIT 1) AS next_0"""

# They may run now, and unpark the next one of their lane when they end. By primary key. One that was parked is due from
# now on, behind those that have waited for a worker: a lane with many jobs takes turns with all others.
UNPARK = """
UPDATE {jobs}
SET available_at = CASE WHEN parked = 1 AND available_at < {now} THEN {now} ELSE available_at END,
    parked = 0, has_followers = 1, updated_at = {now}
WHERE id IN ({ids})
  AND status = 'pending'
"""

# Takes candidates. By primary key; a second claimer finds them no longer pending, or parked. The unique index
# one_running_per_lane refuses a second running job of a lane, whatever was read before; then none of them is taken.
TAKE = """
UPDATE {jobs}
SET status = 'processing', attempts = attempts + 1, reserved_at = {now}, updated_at = {now},
    reserved_by = :worker, lease_token = :token, lease_expires_at = {in:seconds}
WHERE id IN ({ids})
  AND status = 'pending'
  AND parked = 0
"""

# Which of them were taken, when not all of them were. By primary key.
TAKEN = """
SELECT id
FROM {jobs}
WHERE id IN ({ids})
  AND status = 'processing'
  AND lease_token = :token
LIMIT :limit
"""

# Extends a lease that is still held. By primary key.
RENEW = """
UPDATE {jobs}
SET lease_expires_at = {in:seconds}, updated_at = {now}
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
"""

# The end of a job. By primary key; only for the lease that holds it. {alone} is ALONE, or nothing.
COMPLETE = """
UPDATE {jobs}
SET status = 'done', processed_at = {now}, updated_at = {now}, error_message = :note, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

FAIL = """
UPDATE {jobs}
SET history = {history:entry}, status = 'failed', processed_at = {now}, updated_at = {now}, error_message = :error,
    lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

# First try, one statement: it changes only a job that no other is parked behind. With followers, it is a transaction.
ALONE = "AND has_followers = 0"

# Back to pending after a failed attempt, due in `:seconds`. By primary key; only for the lease that holds it. It may
# have followers that go before it: failed once, and requeued while it ran.
RETRY = """
UPDATE {jobs}
SET history = {history:entry}, status = 'pending', available_at = {in:seconds}, updated_at = {now},
    error_message = :error, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

# Back to pending, not run, or run in vain (`:error`): the attempt is given back, and so is its place in the queue,
# without `:seconds`. By primary key; only for the lease that holds it. The history comes first, because MySQL changes
# one column after the other.
RELEASE = """
UPDATE {jobs}
SET history = {history:entry}, status = 'pending', updated_at = {now}, attempts = attempts - 1, lease_expires_at = NULL,
    available_at = COALESCE({in:seconds}, available_at), error_message = COALESCE(:error, error_message)
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

# Tells a finish that was repeated after a lost connection from a lease that is gone. By primary key. A waiting job
# with a lease is held by that of another one, see held_jobs.py.
STATE = """
SELECT CASE WHEN status = 'pending' AND lease_expires_at IS NOT NULL THEN 'held' ELSE status END, lease_token
FROM {jobs}
WHERE id = :id
LIMIT 1
"""

# How many jobs are in each state. Reads an index from end to end.
COUNTS = """
SELECT status, COUNT(*)
FROM {jobs}
GROUP BY status
LIMIT 10
"""

# The newest jobs, by primary key from the end.
NEWEST = f"""
SELECT {SUMMARY}
FROM {{jobs}}
ORDER BY id DESC
LIMIT :limit
"""

FIND = f"""
SELECT {SUMMARY}
FROM {{jobs}}
WHERE id = :id
LIMIT 1
"""

PAYLOAD = """
SELECT payload
FROM {jobs}
WHERE id = :id
LIMIT 1
"""
