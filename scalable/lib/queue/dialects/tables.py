"""The tables of the queue in both dialects, as columns and indexes. Data only; schema.py brings them about.

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
COUNTERS = ("done", "failed", "retried", "expired")
BUCKETS = 24
WAIT_BUCKETS = tuple(f"wait_{number:02d}" for number in range(BUCKETS))
RUN_BUCKETS = tuple(f"run_{number:02d}" for number in range(BUCKETS))
_SUMS = ",\n                ".join(
    f"{name} BIGINT NOT NULL DEFAULT 0" for name in (*COUNTERS, *WAIT_BUCKETS, *RUN_BUCKETS)
)

_ASCII = "CHARACTER SET ascii COLLATE ascii_bin"
_INNODB = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"
STATUS_TYPE = "ENUM('pending', 'processing', 'done', 'failed', 'expired') NOT NULL DEFAULT 'pending'"

MYSQL_TABLES = (
    Table(
        suffix="",
        create=f"""
            CREATE TABLE IF NOT EXISTS `{{table}}` (
                id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
                payload LONGTEXT NOT NULL,
                status {STATUS_TYPE},
                attempts INT UNSIGNED NOT NULL DEFAULT 0,
                available_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
                reserved_at DATETIME(3) NULL,
                processed_at DATETIME(3) NULL,
                error_message TEXT NULL,
                created_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
                updated_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)
            ) {_INNODB}""",
        columns={
            "update_id": "BIGINT NULL",
            "update_type": f"VARCHAR(64) {_ASCII} NULL",
            "lane": f"VARCHAR(96) {_ASCII} NULL",
            # Which jobs go first, see turns.py; back to the ordinary one after urgent_until, not run after expires_at.
            "priority": f"TINYINT NOT NULL DEFAULT {ORDINARY}",
            "urgent_until": "DATETIME(3) NULL",
            "expires_at": "DATETIME(3) NULL",
            # An earlier job of the lane has to end first: kept out of the claim's way until then.
            "parked": "TINYINT NOT NULL DEFAULT 0",
            "has_followers": "TINYINT NOT NULL DEFAULT 0",
            "reserved_by": "VARCHAR(128) NULL",
            "lease_token": f"CHAR(16) {_ASCII} NULL",
            "lease_expires_at": "DATETIME(3) NULL",
            # A line for every attempt that ended without success, see history.py.
            "history": "TEXT NULL",
            # The lane while the job waits or runs, and while it runs: whoever changes the status, these follow.
            "open_lane": f"VARCHAR(96) {_ASCII} GENERATED ALWAYS AS"
            " (CASE WHEN status IN ('pending', 'processing') THEN lane END) VIRTUAL",
            "running_lane": f"VARCHAR(96) {_ASCII} GENERATED ALWAYS AS"
            " (CASE WHEN status = 'processing' THEN lane END) VIRTUAL",
        },
        indexes={
            # The id at the end is there anyway; MySQL only uses it for ORDER BY when it is named.
            "turn": "INDEX turn (status, parked, priority, available_at, id)",
            "status_created": "INDEX status_created (status, created_at, id)",
            "open_lane": "INDEX open_lane (open_lane, id)",
            "one_update": "UNIQUE INDEX one_update (update_id)",
            "one_running_per_lane": "UNIQUE INDEX one_running_per_lane (running_lane)",
        },
    ),
    Table(
        suffix="_meta",
        create=f"""
            CREATE TABLE IF NOT EXISTS `{{table}}` (
                name VARCHAR(64) {_ASCII} NOT NULL PRIMARY KEY,
                value TEXT NOT NULL
            ) {_INNODB}""",
        # Of the leader's note: when somebody else may take the lead.
        columns={"held_until": "DATETIME(3) NULL"},
    ),
    Table(
        suffix="_workers",
        create=f"""
            CREATE TABLE IF NOT EXISTS `{{table}}` (
                name VARCHAR(128) NOT NULL PRIMARY KEY,
                host VARCHAR(64) NOT NULL,
                pid BIGINT NOT NULL,
                started_at DATETIME(3) NOT NULL,
                heartbeat_at DATETIME(3) NOT NULL,
                runs BIGINT NOT NULL DEFAULT 0,
                succeeded BIGINT NOT NULL DEFAULT 0,
                retried BIGINT NOT NULL DEFAULT 0,
                failed BIGINT NOT NULL DEFAULT 0,
                memory_kb BIGINT NULL
            ) {_INNODB}""",
    ),
    Table(
        suffix="_minutes",
        create=f"""
            CREATE TABLE IF NOT EXISTS `{{table}}` (
                minute DATETIME NOT NULL PRIMARY KEY,
                enqueued BIGINT NULL,
                {_SUMS}
            ) {_INNODB}""",
    ),
)

_SQLITE_NOW = "(strftime('%Y-%m-%d %H:%M:%f', 'now'))"

SQLITE_TABLES = (
    Table(
        suffix="",
        create=f"""
            CREATE TABLE IF NOT EXISTS "{{table}}" (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                payload TEXT NOT NULL,
                status TEXT NOT NULL DEFAULT 'pending'
                    CHECK (status IN ('pending', 'processing', 'done', 'failed', 'expired')),
                attempts INTEGER NOT NULL DEFAULT 0,
                available_at TEXT NOT NULL DEFAULT {_SQLITE_NOW},
                reserved_at TEXT NULL,
                processed_at TEXT NULL,
                error_message TEXT NULL,
                created_at TEXT NOT NULL DEFAULT {_SQLITE_NOW},
                updated_at TEXT NOT NULL DEFAULT {_SQLITE_NOW}
            )""",
        columns={
            "update_id": "INTEGER NULL",
            "update_type": "TEXT NULL",
            "lane": "TEXT NULL",
            "priority": f"INTEGER NOT NULL DEFAULT {ORDINARY}",
            "urgent_until": "TEXT NULL",
            "expires_at": "TEXT NULL",
            "parked": "INTEGER NOT NULL DEFAULT 0",
            "has_followers": "INTEGER NOT NULL DEFAULT 0",
            "reserved_by": "TEXT NULL",
            "lease_token": "TEXT NULL",
            "lease_expires_at": "TEXT NULL",
            "history": "TEXT NULL",
        },
        indexes={
            "turn": "INDEX {index} ON {table} (status, parked, priority, available_at, id)",
            "status_created": "INDEX {index} ON {table} (status, created_at, id)",
            "open_lane": "INDEX {index} ON {table} (lane, id) WHERE status IN ('pending', 'processing')",
            "one_update": "UNIQUE INDEX {index} ON {table} (update_id)",
            "one_running_per_lane": "UNIQUE INDEX {index} ON {table} (lane) WHERE status = 'processing'",
        },
    ),
    Table(
        suffix="_meta",
        create="""CREATE TABLE IF NOT EXISTS "{table}" (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)""",
        columns={"held_until": "TEXT NULL"},
    ),
    Table(
        suffix="_workers",
        create="""
            CREATE TABLE IF NOT EXISTS "{table}" (
                name TEXT NOT NULL PRIMARY KEY,
                host TEXT NOT NULL,
                pid INTEGER NOT NULL,
                started_at TEXT NOT NULL,
                heartbeat_at TEXT NOT NULL,
                runs BIGINT NOT NULL DEFAULT 0,
                succeeded BIGINT NOT NULL DEFAULT 0,
                retried BIGINT NOT NULL DEFAULT 0,
                failed BIGINT NOT NULL DEFAULT 0,
                memory_kb BIGINT NULL
            )""",
    ),
    Table(
        suffix="_minutes",
        create=f"""
            CREATE TABLE IF NOT EXISTS "{{table}}" (
                minute TEXT NOT NULL PRIMARY KEY,
                enqueued BIGINT NULL,
                {_SUMS}
            )""",
    ),
)
