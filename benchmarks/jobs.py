"""The jobs all benchmarks run on: built one by one for `enqueue`, or laid down in bulk by the server itself.

The one place that knows how a Update is made and which columns a job has that was enqueued a while ago.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pymysql

from scalable.lib.telegram.update import Update

CHUNK = 50_000  # rows per INSERT: a transaction of a few seconds at most
NUMBER_MARK = "123454321"
CHAT_ID = -1001234567890
UPDATE = {
    "update_id": int(NUMBER_MARK),
    "message": {
        "message_id": 90210,
        "from": {
            "id": 5550001234,
            "is_bot": False,
            "first_name": "Ada",
            "last_name": "Lovelace",
            "username": "ada_lovelace",
            "language_code": "en",
            "is_premium": True,
        },
        "chat": {
            "id": CHAT_ID,
            "title": "Analytical engines",
            "username": "analytical_engines",
            "type": "supergroup",
        },
        "date": 1767225600,
        "text": "/remind tomorrow 09:00 Read the notes about the numbers once more, and answer the two letters.",
        "entities": [{"offset": 0, "length": 7, "type": "bot_command"}],
    },
}
HEAD, TAIL = json.dumps(UPDATE, separators=(",", ":")).split(NUMBER_MARK)


def payload(number: int) -> str:
    """An update of a group chat as Telegram sends it, about 500 bytes."""
    return f"{HEAD}{number}{TAIL}"


def new_job(number: int, lanes: int = 0) -> Update:
    """Job `number`, in one of `lanes` lanes by turns; in none when there are 0."""
    lane = f"chat:{number % lanes}" if lanes else None
    return Update(payload(number), update_id=number, update_type="message", lane=lane)


@dataclass(frozen=True)
class Rows:
    """`count` jobs like those of new_job, one per millisecond, the last of them now.

    In `lanes` lanes by turns, called `chat:0`, `chat:1` … or as `lane_name` says; in none when there are 0.
    `due_in_seconds` > 0 puts them into back-off.
    """

    count: int
    status: str = "pending"
    lanes: int = 0
    lane_name: str = "chat"
    due_in_seconds: int = 0


# The sequence engine is MariaDB's; the rest of a division by NULL is NULL: no lane. The values are those that ENQUEUE
# of scalable/lib/queue/statements.py stores, and what COMPLETE, FAIL or RETRY made of them.
FILL = """
INSERT INTO `{table}` (payload, update_id, update_type, lane, status, attempts, available_at, processed_at,
                       error_message, created_at)
SELECT CONCAT(%(head)s, seq, %(tail)s), seq, 'message',
       CONCAT(%(lane_name)s, ':', seq MOD NULLIF(%(lanes)s, 0)),
       %(status)s, %(attempts)s,
       NOW(3) + INTERVAL %(due_in_seconds)s SECOND - INTERVAL (%(last)s - seq) * 1000 MICROSECOND,
       CASE WHEN %(status)s IN ('done', 'failed') THEN NOW(3) END,
       CASE WHEN %(status)s = 'failed' THEN 'exit code 1\nno such chat' END,
       NOW(3) - INTERVAL (%(last)s - seq) * 1000 MICROSECOND
FROM seq_{first}_to_{until}
"""


def fill(connection: pymysql.connections.Connection[Any], table: str, rows: Rows) -> None:
    """Put these rows at the end of the table, their update_id counted on from the highest that is there."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COALESCE(MAX(update_id), 0) FROM `{table}`")
        [(start,)] = cursor.fetchall()
        last = start + rows.count
        values = {
            **vars(rows),
            "head": HEAD,
            "tail": TAIL,
            "last": last,
            "attempts": int(rows.status in ("done", "failed") or rows.due_in_seconds > 0),
        }
        for first in range(start + 1, last + 1, CHUNK):
            until = min(first + CHUNK - 1, last)
            cursor.execute(FILL.format(table=table, first=first, until=until), values)
