"""Every statement on the jobs table, in the words both dialects share.

{jobs} is the table, {now} the database's clock, {in:x} and {ago:x} are that clock plus and minus `:x` seconds (NULL for
NULL), {minute_ago:x} is the beginning of the minute `:x` whole seconds ago, {age:x} is how many seconds ago the
time in column x was, {lock} is SKIP LOCKED where it exists. {use:x} names the index: the statistics of a table that
fills and empties all day are always wrong, and a plan must not change because of them.
Every change of state names the state it starts from, and the lease where one is needed; the caller checks the row
count. That is what makes two of them at once safe: the second one matches no row.
"""

# A new pending job. The unique index one_update refuses a second delivery of the same update.
ENQUEUE = """
INSERT INTO {jobs} (payload, update_id, update_type, lane, urgent_until, expires_at, available_at, created_at)
VALUES (:payload, :update_id, :update_type, :lane, {in:urgent_seconds}, {in:expires_seconds}, {now}, {now})
"""

# The job an update already has. By index one_update.
FIND_UPDATE = """
SELECT id
FROM {jobs}
WHERE update_id = :update_id
LIMIT 1
"""

# What keeps a job of a lane from running: the one of its lane that runs, else one that waits before it; any will do.
# By index lane_status, one row read each. No ORDER BY: MySQL would sort the whole lane for it.
_BLOCKER = """COALESCE(
    (SELECT running.id FROM {jobs} AS running {use:lane_status}
     WHERE running.lane = job.lane AND running.status = 'processing' LIMIT 1),
    (SELECT waiting.id FROM {jobs} AS waiting {use:lane_status}
     WHERE waiting.lane = job.lane AND waiting.status = 'pending' AND waiting.id < job.id
     LIMIT 1))"""

_DUE = """status = 'pending'
  AND parked = 0
  AND available_at <= {now}"""

# Those whose answer is still worth something soon, by index urgent; then those that have waited longest, by index
# claim. Both orders are those of the index, which ends in the id. {lock} keeps other claimers from waiting for them.
CANDIDATES = f"""
(SELECT id, payload, attempts, update_id, update_type, lane, {{age:available_at}} AS waited,
        {_BLOCKER} AS blocker
FROM {{jobs}} AS job {{use:urgent}}
WHERE {_DUE}
  AND urgent_until > {{now}}
ORDER BY urgent_until, id
LIMIT :limit
{{lock}})
UNION ALL
(SELECT id, payload, attempts, update_id, update_type, lane, {{age:available_at}} AS waited,
        {_BLOCKER} AS blocker
FROM {{jobs}} AS job {{use:claim}}
WHERE {_DUE}
  AND (expires_at IS NULL OR expires_at > {{now}})
ORDER BY available_at, id
LIMIT :limit
{{lock}})
"""

# More jobs that only wait for another one of their lane: what CANDIDATES would look at in vain. By index claim.
BLOCKED = f"""
SELECT id, {_BLOCKER} AS blocker
FROM {{jobs}} AS job {{use:claim}}
WHERE {_DUE}
ORDER BY available_at, id
LIMIT :limit
"""

# Parks jobs behind another one, as one transaction of the two. By primary key. Marking the blocker comes first: it
# waits for a blocker that is just ending, and then finds it ended; or the blocker's end finds the mark, and unparks.
# One that was given back meanwhile does not block what comes before it: `:first` is the first of the jobs to park.
MARK_BLOCKER = """
UPDATE {jobs}
SET has_followers = 1, updated_at = {now}
WHERE id = :id
  AND (status = 'processing' OR (status = 'pending' AND id < :first))
"""

PARK = """
UPDATE {jobs}
SET parked = 1, updated_at = {now}
WHERE id IN ({ids})
  AND status = 'pending'
"""

# The first one that waits in the lane of a job that ended. By index lane_status.
NEXT_IN_LANE = """
SELECT waiting.id
FROM {jobs} AS ended
JOIN {jobs} AS waiting ON waiting.lane = ended.lane AND waiting.status = 'pending'
WHERE ended.id = :id
ORDER BY waiting.id
LIMIT 1
"""

# It may run now, and unparks the next one when it ends in its turn. By primary key.
UNPARK = """
UPDATE {jobs}
SET parked = 0, has_followers = 1, updated_at = {now}
WHERE id = :id
  AND status = 'pending'
"""

# Takes one candidate. By primary key; whoever comes second finds it no longer pending, or parked. The unique index
# one_running_per_lane refuses a second running job of the lane, whatever was read before.
TAKE = """
UPDATE {jobs}
SET status = 'processing', attempts = attempts + 1, reserved_at = {now}, updated_at = {now},
    reserved_by = :worker, lease_token = :token, lease_expires_at = {in:seconds}
WHERE id = :id
  AND status = 'pending'
  AND parked = 0
"""

# Extends a lease that is still held. By primary key.
HEARTBEAT = """
UPDATE {jobs}
SET lease_expires_at = {in:seconds}, updated_at = {now}
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
"""

# The end of a job. By primary key; only for the lease that holds it. {alone} is ALONE, or nothing.
COMPLETE = """
UPDATE {jobs}
SET status = 'done', processed_at = {now}, updated_at = {now}, error_message = NULL, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

FAIL = """
UPDATE {jobs}
SET status = 'failed', processed_at = {now}, updated_at = {now}, error_message = :error, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

# First try, one statement: it changes only a job that nobody is parked behind. With followers, it is a transaction.
ALONE = "AND has_followers = 0"

# Back to pending after a failed attempt, due in `:seconds`. By primary key; only for the lease that holds it. It may
# have followers that go before it: failed once, and requeued while it ran.
RETRY = """
UPDATE {jobs}
SET status = 'pending', available_at = {in:seconds}, updated_at = {now}, error_message = :error, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

# Back to pending, not run: the attempt is given back. By primary key; only for the lease that holds it.
RELEASE = """
UPDATE {jobs}
SET status = 'pending', available_at = {now}, updated_at = {now}, attempts = attempts - 1, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

# Tells a finish that was repeated after a lost connection from a lease that is gone. By primary key.
STATE = """
SELECT status, lease_token
FROM {jobs}
WHERE id = :id
LIMIT 1
"""

# Leases that ran out. By index claim: the rows that are processing are as many as the workers.
EXPIRED_LEASES = """
SELECT id, attempts, lease_token, reserved_by
FROM {jobs} {use:claim}
WHERE status = 'processing'
  AND lease_expires_at < {now}
LIMIT :limit
"""

# Leases of one worker that is known to be dead. By index claim, as above.
LEASES_OF_WORKER = """
SELECT id, attempts, lease_token, reserved_by
FROM {jobs} {use:claim}
WHERE status = 'processing'
  AND reserved_by = :worker
LIMIT :limit
"""

# Takes a lease away, so that its late owner can change nothing. By primary key; two reapers: the second finds no row.
REVOKE_TO_PENDING = """
UPDATE {jobs}
SET status = 'pending', available_at = {in:seconds}, updated_at = {now}, error_message = :error,
    lease_token = NULL, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

REVOKE_TO_FAILED = """
UPDATE {jobs}
SET status = 'failed', processed_at = {now}, updated_at = {now}, error_message = :error,
    lease_token = NULL, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
  {alone}
"""

# Jobs that are not worth running any more. By index urgent: only short-lived updates are in it with a time.
OVERDUE = """
SELECT id
FROM {jobs} {use:urgent}
WHERE status = 'pending'
  AND parked IN (0, 1)
  AND urgent_until <= {now}
  AND expires_at <= {now}
LIMIT :limit
"""

EXPIRE = """
UPDATE {jobs}
SET status = 'expired', processed_at = {now}, updated_at = {now}, error_message = :error
WHERE id = :id
  AND status = 'pending'
  AND expires_at <= {now}
  {alone}
"""

# Jobs finished longer than `:seconds` ago. By index status_created: they were made before that.
OLD = """
SELECT id
FROM {jobs} {use:status_created}
WHERE status = :status
  AND created_at < {ago:seconds}
  AND processed_at < {ago:seconds}
ORDER BY created_at, id
LIMIT :limit
"""

# By primary key, and only what is still finished: somebody may have run it again by hand.
DELETE = """
DELETE FROM {jobs}
WHERE id IN ({ids})
  AND status = :status
  AND processed_at < {ago:seconds}
"""

# Running jobs without a lease: another program took them, the PHP version before it was replaced. By index claim.
ADOPT_RUNNING = """
UPDATE {jobs}
SET lease_token = :token, lease_expires_at = {in:seconds}, reserved_by = :worker, updated_at = {now}
WHERE status = 'processing'
  AND parked IN (0, 1)
  AND lease_expires_at IS NULL
"""

# Parked jobs whose lane has nobody left to unpark them: somebody deleted the one they waited for. By indexes claim and
# lane_status; one condition with OR would make SQLite read the whole lane for every job of it.
STRANDED = """
SELECT id
FROM {jobs} AS job {use:claim}
WHERE status = 'pending'
  AND parked = 1
  AND available_at <= {now}
  AND NOT EXISTS (
    SELECT 1 FROM {jobs} AS running {use:lane_status}
    WHERE running.lane = job.lane AND running.status = 'processing')
  AND NOT EXISTS (
    SELECT 1 FROM {jobs} AS waiting {use:lane_status}
    WHERE waiting.lane = job.lane AND waiting.status = 'pending' AND waiting.parked = 0)
ORDER BY available_at, id
LIMIT :limit
"""

# Waiting jobs that are due later than any delay of ours: written in another time zone. By index claim.
DUE_TOO_LATE = """
SELECT id
FROM {jobs} {use:claim}
WHERE status = 'pending'
  AND parked IN (0, 1)
  AND available_at > {in:seconds}
LIMIT :limit
"""

MAKE_DUE = """
UPDATE {jobs}
SET available_at = {now}, updated_at = {now}
WHERE id IN ({ids})
  AND status = 'pending'
  AND available_at > {in:seconds}
"""

# A failed or expired job starts anew, with all its attempts, and is not expired a second time. By primary key.
REQUEUE = """
UPDATE {jobs}
SET status = 'pending', attempts = 0, available_at = {now}, updated_at = {now}, processed_at = NULL,
    parked = 0, urgent_until = NULL, expires_at = NULL
WHERE id = :id
  AND status IN ('failed', 'expired')
"""

# The first jobs of a state, and those after a given one. By index status_created, which ends in the id. Walking on from
# the last row seen ends even when jobs come back into the state behind it.
FIRST_IN_STATE = """
SELECT id, created_at
FROM {jobs} {use:status_created}
WHERE status = :status
ORDER BY created_at, id
LIMIT :limit
"""

NEXT_IN_STATE = """
SELECT id, created_at
FROM {jobs} {use:status_created}
WHERE status = :status
  AND created_at >= :created_at
  AND (created_at > :created_at OR id > :id)
ORDER BY created_at, id
LIMIT :limit
"""

# How many jobs are in each state. Reads an index from end to end.
COUNTS = """
SELECT status, COUNT(*)
FROM {jobs}
GROUP BY status
LIMIT 10
"""

# The newest jobs, by primary key from the end.
NEWEST = """
SELECT id, status, update_id, update_type, attempts, available_at, reserved_at, reserved_by, processed_at, created_at,
       error_message
FROM {jobs}
ORDER BY id DESC
LIMIT :limit
"""

FIND = """
SELECT id, status, update_id, update_type, attempts, available_at, reserved_at, reserved_by, processed_at, created_at,
       error_message
FROM {jobs}
WHERE id = :id
LIMIT 1
"""

PAYLOAD = """
SELECT payload
FROM {jobs}
WHERE id = :id
LIMIT 1
"""
