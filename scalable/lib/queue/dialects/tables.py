"""The tables of the queue, as columns and indexes, and what each dialect calls them. Data only; schema.py creates them.

`create` holds the columns of the PHP version of this system, so that its table can be taken over by adding the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scalable.lib.queue.new_row import ORDINARY


@dataclass(frozen=True)
class Table:
    """One table in one dialect: `create` makes it with its first columns, whatever is missing is added by name.

    `suffix` follows the name of the queue's table. Column and index definitions are as in ALTER TABLE … ADD.
    """

    suffix: str
    create: str
    columns: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)


# What is counted each minute, and two histograms: bucket n holds times of less than 2**n ms, the last one
# everything longer.
_FIRST_COUNTERS = ("done", "failed", "retried", "expired")
COUNTERS = (*_FIRST_COUNTERS, "warned")
BUCKETS = 24
WAIT_BUCKETS = tuple(f"wait_{number:02d}" for number in range(BUCKETS))
RUN_BUCKETS = tuple(f"run_{number:02d}" for number in range(BUCKETS))
_SUMS = ", ".join(f"{name} BIGINT NOT NULL DEFAULT 0" for name in (*_FIRST_COUNTERS, *WAIT_BUCKETS, *RUN_BUCKETS))

STATUS_TYPE = "ENUM('pending', 'processing', 'done', 'failed', 'expired') NOT NULL DEFAULT 'pending'"
EVERY_CHARACTER = "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
_ASCII = "CHARACTER SET ascii COLLATE ascii_bin"
# The types of the columns below, by the words that stand for them there.
_MYSQL_TYPES = {
    "create": "CREATE TABLE IF NOT EXISTS `{table}`",
    "options": " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci",
    "id": "BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY",
    "status": STATUS_TYPE,
    "payload": "LONGTEXT",
    "attempts": "INT UNSIGNED",
    "number": "BIGINT",
    "small": "TINYINT",
    "time": "DATETIME(3)",
    "minute": "DATETIME",
    "now": "CURRENT_TIMESTAMP(3)",
    "on_update": " ON UPDATE CURRENT_TIMESTAMP(3)",
    "word": f"VARCHAR(64) {_ASCII}",
    "lane": f"VARCHAR(96) {_ASCII}",
    "token": f"CHAR(16) {_ASCII}",
    # Said here, because a table that is taken over may have another character set.
    "worker": f"VARCHAR(128) {EVERY_CHARACTER}",
    "text": f"TEXT {EVERY_CHARACTER}",
    "host": "VARCHAR(64)",
}
_SQLITE_TYPES = {
    **dict.fromkeys(("payload", "time", "minute", "word", "lane", "token", "worker", "text", "host"), "TEXT"),
    **dict.fromkeys(("attempts", "number", "small"), "INTEGER"),
    "create": 'CREATE TABLE IF NOT EXISTS "{table}"',
    "options": "",
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "status": "TEXT NOT NULL DEFAULT 'pending'"
    " CHECK (status IN ('pending', 'processing', 'done', 'failed', 'expired'))",
    "now": "(strftime('%Y-%m-%d %H:%M:%f', 'now'))",
    "on_update": "",
}

_JOBS = """{create} (
    id {id},
    payload {payload} NOT NULL,
    status {status},
    attempts {attempts} NOT NULL DEFAULT 0,
    available_at {time} NOT NULL DEFAULT {now},
    reserved_at {time} NULL,
    processed_at {time} NULL,
    error_message TEXT NULL,
    created_at {time} NOT NULL DEFAULT {now},
    updated_at {time} NOT NULL DEFAULT {now}{on_update}
){options}"""
_JOB_COLUMNS = {
    "update_id": "{number} NULL",
    "update_type": "{word} NULL",
    "lane": "{lane} NULL",
    # Which jobs go first, see new_row.py; the ordinary one after urgent_until, not run after expires_at.
    "priority": f"{{small}} NOT NULL DEFAULT {ORDINARY}",
    "urgent_until": "{time} NULL",
    "expires_at": "{time} NULL",
    # An earlier job of the lane has to end first: claims do not read it until then.
    "parked": "{small} NOT NULL DEFAULT 0",
    "has_followers": "{small} NOT NULL DEFAULT 0",
    "reserved_by": "{worker} NULL",
    "lease_token": "{token} NULL",
    "lease_expires_at": "{time} NULL",
    # When the lease was first found to have run out; older than lease_expires_at: that of an earlier lease.
    "lease_missed_at": "{time} NULL",
    # A line for every attempt that ended without success, see history.py.
    "history": "{text} NULL",
    # Done, and the bot wrote a warning, which is the error message.
    "warned": "{small} NOT NULL DEFAULT 0",
}
_META = "{create} (name {word} NOT NULL PRIMARY KEY, value TEXT NOT NULL){options}"
# Of the leader's note: when another process may take the lead.
_META_COLUMNS = {"held_until": "{time} NULL"}
_WORKERS = """{create} (
    name {worker} NOT NULL PRIMARY KEY,
    host {host} NOT NULL,
    pid {number} NOT NULL,
    started_at {time} NOT NULL,
    heartbeat_at {time} NOT NULL,
    runs BIGINT NOT NULL DEFAULT 0,
    succeeded BIGINT NOT NULL DEFAULT 0,
    retried BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    memory_kb BIGINT NULL
){options}"""
_MINUTE_COLUMNS = {"warned": "BIGINT NOT NULL DEFAULT 0"}
_MINUTES = f"{{create}} (minute {{minute}} NOT NULL PRIMARY KEY, enqueued BIGINT NULL, {_SUMS}){{options}}"


def _tables(types: dict[str, str], generated: dict[str, str], indexes: dict[str, str]) -> tuple[Table, ...]:
    def typed(columns: dict[str, str]) -> dict[str, str]:
        return {name: text.format_map(types) for name, text in columns.items()}

    return (
        Table("", _JOBS.format_map(types), {**typed(_JOB_COLUMNS), **generated}, indexes),
        Table("_meta", _META.format_map(types), typed(_META_COLUMNS)),
        Table("_workers", _WORKERS.format_map(types)),
        Table("_minutes", _MINUTES.format_map(types), typed(_MINUTE_COLUMNS)),
    )


_IN_LANE = f"VARCHAR(96) {_ASCII} GENERATED ALWAYS AS (CASE WHEN status"
MYSQL_TABLES = _tables(
    _MYSQL_TYPES,
    generated={
        # The lane while the job waits or runs, and while it runs: these follow the status, whatever changes it.
        "open_lane": f"{_IN_LANE} IN ('pending', 'processing') THEN lane END) VIRTUAL",
        "running_lane": f"{_IN_LANE} = 'processing' THEN lane END) VIRTUAL",
    },
    indexes={
        # The id at the end is there anyway; MySQL only uses it for ORDER BY when it is named.
        "turn": "INDEX turn (status, parked, priority, available_at, id)",
        "status_created": "INDEX status_created (status, created_at, id)",
        "open_lane": "INDEX open_lane (open_lane, id)",
        "lane": "INDEX lane (lane, id)",
        "one_update": "UNIQUE INDEX one_update (update_id)",
        "one_running_per_lane": "UNIQUE INDEX one_running_per_lane (running_lane)",
    },
)
SQLITE_TABLES = _tables(
    _SQLITE_TYPES,
    generated={},  # partial indexes do the same
    indexes={
        "turn": "INDEX {index} ON {table} (status, parked, priority, available_at, id)",
        "status_created": "INDEX {index} ON {table} (status, created_at, id)",
        "open_lane": "INDEX {index} ON {table} (lane, id) WHERE status IN ('pending', 'processing')",
        "lane": "INDEX {index} ON {table} (lane, id)",
        "one_update": "UNIQUE INDEX {index} ON {table} (update_id)",
        "one_running_per_lane": "UNIQUE INDEX {index} ON {table} (lane) WHERE status = 'processing'",
    },
)
