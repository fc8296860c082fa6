"""A queue with a past: a week of minutes and some dozens of jobs of invented people, to look at and to photograph.

The jobs go through the queue's own verbs; only their times are moved, and the minutes are written as they would be.
"""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from random import Random

from scalable.lib.queue.counters import bucket_of
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.dialects.tables import COUNTERS, RUN_BUCKETS, WAIT_BUCKETS
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.telegram.update import Update, read_update

LEASE_SECONDS = 600
PEOPLE = (
    (5550100, "Ayu", "Lestari"),
    (5550101, "Budi", "Santoso"),
    (5550102, "Ana", "Silva"),
    (5550103, "Jun", "Tanaka"),
    (5550104, "Mariam", "Hassan"),
    (5550105, "Lars", "Berg"),
)
TEXTS = ("/start", "/order 3 coffee", "Is it still open today?", "Terima kasih!", "/status", "😀", "/help", "/cancel")
ERRORS = (
    "exit code 255\nPHP Fatal error:  Uncaught PDOException: SQLSTATE[HY000] [2002] Connection refused in "
    "/home/bot/public_html/bot.php:41\nStack trace:\n#0 /home/bot/public_html/bot.php(41): PDO->__construct()\n"
    "#1 {main}",
    "exit code 1\nBad Request: chat not found",
    "stopped after 60 s (BOT_LEGACY_TIMEOUT)",
)


def update(number: int, chance: Random) -> str:
    """An update of one of the people, as Telegram sends it."""
    user_id, first_name, last_name = chance.choice(PEOPLE)
    person = {"id": user_id, "is_bot": False, "first_name": first_name, "last_name": last_name, "language_code": "id"}
    chat = {"id": user_id, "first_name": first_name, "last_name": last_name, "type": "private"}
    message = {"message_id": number, "from": person, "chat": chat, "date": 1767225600, "text": chance.choice(TEXTS)}
    if number % 5 == 0:
        query = {"id": f"{number}77", "from": person, "chat_instance": "42", "data": "order:3", "message": message}
        return json.dumps({"update_id": 700_000_000 + number, "callback_query": query}, ensure_ascii=False)
    return json.dumps({"update_id": 700_000_000 + number, "message": message}, ensure_ascii=False)


def enqueue(queue: DatabaseQueue, numbers: range, chance: Random) -> None:
    """Jobs of these updates."""
    for number in numbers:
        read = read_update(update(number, chance).encode())
        queue.enqueue(Update(read.payload, read.update_id, read.update_type, read.lane, None, None))


def fill_jobs(queue: DatabaseQueue, seed: int = 1) -> None:
    """Some dozens of jobs: most are done, some failed, one is tried again, one runs, some wait."""
    chance = Random(seed)
    enqueue(queue, range(1, 41), chance)
    for _ in range(36):
        for job in queue.claim("web1:4711-c0de/1.1", LEASE_SECONDS):
            _end(queue, job, chance)
    _spread(queue, timedelta(minutes=50))
    enqueue(queue, range(41, 49), chance)
    (running,) = queue.claim("web1:4711-c0de/2.1", LEASE_SECONDS)
    (retried,) = queue.claim("web1:4711-c0de/1.1", LEASE_SECONDS)
    queue.retry(retried.lease, ERRORS[1], 240)
    assert running.id != retried.id


def _end(queue: DatabaseQueue, job: ClaimedJob, chance: Random) -> None:
    if job.id % 9 == 0:
        for _ in range(2):
            queue.retry(job.lease, ERRORS[0], 0)
            (job,) = queue.claim(f"web1:4711-c0de/{chance.randint(1, 4)}.1", LEASE_SECONDS)
        queue.fail(job.lease, chance.choice(ERRORS))
    else:
        queue.complete(job.lease)


def _spread(queue: DatabaseQueue, over: timedelta) -> None:
    """Let the jobs have come one after the other through that time."""
    rows = queue.database.run(lambda session: session.rows("SELECT id FROM bot_jobs ORDER BY id"))
    now = datetime.now(timezone.utc)

    def work(session: Session) -> None:
        for place, (job_id,) in enumerate(rows):
            at = now - over * (1 - place / len(rows))
            text = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"
            session.execute(
                "UPDATE bot_jobs SET created_at = :at, available_at = :at, updated_at = updated_at WHERE id = :id",
                at=text,
                id=job_id,
            )

    queue.database.run(work, transaction=True)


def fill_minutes(queue: DatabaseQueue, days: float = 7.0, seed: int = 1) -> None:
    """A week in which people write by day, and once something broke for an hour."""
    chance = Random(seed)
    now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    names = ("minute", "enqueued", *COUNTERS, *WAIT_BUCKETS, *RUN_BUCKETS)
    insert = f"INSERT INTO bot_jobs_minutes ({', '.join(names)}) VALUES ({', '.join(':' + name for name in names)})"

    def work(session: Session) -> None:
        session.execute("DELETE FROM bot_jobs_minutes")
        for ago in range(int(days * 1440), 0, -1):
            values = _minute(now - timedelta(minutes=ago), ago, chance)
            row = {name: values.get(name, 0) for name in names}
            if session.execute_unless_duplicate(insert, **row) is None:  # a pool has counted it meanwhile
                session.execute("DELETE FROM bot_jobs_minutes WHERE minute = :minute", minute=row["minute"])
                session.execute(insert, **row)

    queue.database.run(work, transaction=True)


def _minute(at: datetime, ago: int, chance: Random) -> dict[str, object]:
    by_day = 1 + math.sin((at.hour + at.minute / 60 - 8) / 24 * 2 * math.pi)
    came = max(0, round(chance.gauss(9 * by_day + 2, 2)))
    broken = 1_500 < ago < 1_560
    failed = round(came * (0.5 if broken else 0.012))
    values: dict[str, object] = {
        "minute": f"{at:%Y-%m-%d %H:%M}:00.000",
        "enqueued": came,
        "done": came - failed,
        "failed": failed,
        "retried": failed * 2 + (chance.random() < 0.1),
    }
    waits, runs = [0] * len(WAIT_BUCKETS), [0] * len(RUN_BUCKETS)
    for _ in range(came):
        waits[bucket_of(chance.expovariate(1 / (4 if broken else 0.04)))] += 1
        runs[bucket_of(chance.lognormvariate(-1.4, 0.7))] += 1
    values.update(zip(WAIT_BUCKETS, waits))
    values.update(zip(RUN_BUCKETS, runs))
    return values
