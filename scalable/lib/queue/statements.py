"""Every statement on the jobs table, in the words both dialects share.

{jobs} is the table, {now} the database's clock, {due} that clock plus `:seconds`, {lock} SKIP LOCKED where it exists.
Every change of state names the state it starts from, and the lease where one is needed; the caller checks the row
count. That is what makes two of them at once safe: the second one matches no row.
"""

# A new pending job. The unique index one_update refuses a second delivery of the same update.
ENQUEUE = """
INSERT INTO {jobs} (payload, update_id, update_type, available_at, created_at)
VALUES (:payload, :update_id, :update_type, {now}, {now})
"""

# The job an update already has. By index one_update.
FIND_UPDATE = """
SELECT id
FROM {jobs}
WHERE update_id = :update_id
LIMIT 1
"""

# The due jobs that have waited longest, in the order of index status_available, which ends in the id.
CANDIDATES = """
SELECT id, payload, attempts, update_id, update_type
FROM {jobs}
WHERE status = 'pending'
  AND available_at <= {now}
ORDER BY available_at, id
LIMIT :limit
{lock}
"""

# Takes one candidate. By primary key; whoever comes second finds it no longer pending.
TAKE = """
UPDATE {jobs}
SET status = 'processing', attempts = attempts + 1, reserved_at = {now}, updated_at = {now},
    reserved_by = :worker, lease_token = :token, lease_expires_at = {due}
WHERE id = :id
  AND status = 'pending'
"""

# Extends a lease that is still held. By primary key.
HEARTBEAT = """
UPDATE {jobs}
SET lease_expires_at = {due}, updated_at = {now}
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
"""

# The end of a job. By primary key; only for the lease that holds it.
COMPLETE = """
UPDATE {jobs}
SET status = 'done', processed_at = {now}, updated_at = {now}, error_message = NULL, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
"""

FAIL = """
UPDATE {jobs}
SET status = 'failed', processed_at = {now}, updated_at = {now}, error_message = :error, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
"""

# Back to pending after a failed attempt, due in `:seconds`. By primary key; only for the lease that holds it.
RETRY = """
UPDATE {jobs}
SET status = 'pending', available_at = {due}, updated_at = {now}, error_message = :error, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
"""

# Back to pending, not run: the attempt is given back. By primary key; only for the lease that holds it.
RELEASE = """
UPDATE {jobs}
SET status = 'pending', available_at = {now}, updated_at = {now}, attempts = attempts - 1, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
"""

# Tells a finish that was repeated after a lost connection from a lease that is gone. By primary key.
STATE = """
SELECT status, lease_token
FROM {jobs}
WHERE id = :id
LIMIT 1
"""

# Leases that ran out. By index status_lease; at most one row per running worker is there to be read.
EXPIRED_LEASES = """
SELECT id, attempts, lease_token, reserved_by
FROM {jobs}
WHERE status = 'processing'
  AND lease_expires_at < {now}
ORDER BY lease_expires_at, id
LIMIT :limit
"""

# Leases of one worker that is known to be dead. By index status_lease: few rows are processing at any time.
LEASES_OF_WORKER = """
SELECT id, attempts, lease_token, reserved_by
FROM {jobs}
WHERE status = 'processing'
  AND reserved_by = :worker
LIMIT :limit
"""

# Takes a lease away, so that its late owner can change nothing. By primary key; two reapers: the second finds no row.
REVOKE_TO_PENDING = """
UPDATE {jobs}
SET status = 'pending', available_at = {due}, updated_at = {now}, error_message = :error,
    lease_token = NULL, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
"""

REVOKE_TO_FAILED = """
UPDATE {jobs}
SET status = 'failed', processed_at = {now}, updated_at = {now}, error_message = :error,
    lease_token = NULL, lease_expires_at = NULL
WHERE id = :id
  AND status = 'processing'
  AND lease_token = :token
"""

# A failed or expired job starts anew, with all its attempts. By primary key.
REQUEUE = """
UPDATE {jobs}
SET status = 'pending', attempts = 0, available_at = {now}, updated_at = {now}, processed_at = NULL
WHERE id = :id
  AND status IN ('failed', 'expired')
"""

# The first jobs of a state, and those after a given one. By index status_created, which ends in the id. Walking on from
# the last row seen ends even when jobs come back into the state behind it.
FIRST_IN_STATE = """
SELECT id, created_at
FROM {jobs}
WHERE status = :status
ORDER BY created_at, id
LIMIT :limit
"""

NEXT_IN_STATE = """
SELECT id, created_at
FROM {jobs}
WHERE status = :status
  AND created_at >= :created_at
  AND (created_at > :created_at OR id > :id)
ORDER BY created_at, id
LIMIT :limit
"""

# How many jobs are in each state. Reads index status_available from end to end.
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
