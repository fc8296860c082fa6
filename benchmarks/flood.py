"""How long the update of one chat waits beside 100,000 of another one, and how fast those go.

They are taken while the queue is paused, then it is resumed; or they are written into the table at once under a pool
that is idle. Then updates of other chats come by the pool's webhook, one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.failed import BenchmarkFailed
from benchmarks.figures import percentile, table, verdict
from benchmarks.nothing_bot import FIRST_WATCHED
from benchmarks.pools import BOT, START_SECONDS, enqueue, insert_bare_rows
from benchmarks.server import NAME, Server
from benchmarks.watched import seconds_to_begin
from scalable.lib.installation import open_installation
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.rows import time_of
from tests.support.servers.database_builds import SERVER_NAMES
from tests.support.servers.database_servers import start_server
from tests.support.servers.served_installation import ServedSite

WORKERS, FLOOD, OTHERS = 4, 100_000, 20
BEGIN_GOAL_SECONDS, RATE_GOAL = 1.0, 500.0
PAUSE_SECONDS = 0.25
LONGEST_SECONDS, LONGEST_FULL_SECONDS = 45.0, 120.0
# Of what is done of the flood when the last of the others has begun.
FLOODED = """
SELECT COUNT(*), MIN(reserved_at), MAX(processed_at)
FROM bot_jobs
WHERE lane = :lane
  AND status = 'done'
"""
LANE = "chat:0"


@dataclass(frozen=True)
class Flooded:
    """Seconds that each of the others waited, fewer than OTHERS when the time was over; and the flood's jobs/s."""

    waits: list[float]
    flood_rate: float
    seconds: float


@dataclass(frozen=True)
class Way:
    """How the flood comes."""

    name: str
    flood: Callable[[DatabaseQueue], None]


def _while_paused(queue: DatabaseQueue) -> None:
    queue.pause("benchmark")
    enqueue(queue, range(1, FLOOD + 1), lanes=1)
    queue.resume()


def _at_once(queue: DatabaseQueue) -> None:
    insert_bare_rows(queue, range(1, FLOOD + 1), lanes=1)


WAYS = (Way("taken while paused, then resumed", _while_paused), Way("bare rows, written at once", _at_once))


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: how long other chats wait, and how fast the flood itself is worked off."""
    return _report(_on_server(NAME, server, say, LONGEST_SECONDS))


def run_full(server: Server, say: Callable[[str], None]) -> str:
    """The same on every database."""
    rows = _on_server(NAME, server, say, LONGEST_FULL_SECONDS)
    for name in SERVER_NAMES:
        if name != NAME:
            with TemporaryDirectory(prefix="bench-flood-") as folder:
                other = start_server(name, Path(folder))
                try:
                    rows += _on_server(name, Server(other), say, LONGEST_FULL_SECONDS)
                finally:
                    other.stop()
    return _report(rows + _on_server("SQLite", None, say, LONGEST_FULL_SECONDS))


def _on_server(name: str, server: Server | None, say: Callable[[str], None], longest_seconds: float) -> list[list[str]]:
    """The lines of a database; SQLite without a server."""
    rows = []
    for way in WAYS:
        with _site(server) as site:
            flooded = _flooded(site, way, longest_seconds)
        rows.append(_row(f"{name}, {way.name}", flooded))
        say(f"flood: {' | '.join(rows[-1])}")
    return rows


@contextmanager
def _site(server: Server | None) -> Iterator[ServedSite]:
    settings = {"BOT_LEGACY_PATH": f"{BOT}:handle", "BOT_WORKER_POOL_SIZE": str(WORKERS), "BOT_WORKER_SLEEP": "1"}
    if server is not None:
        server.drop("bot_jobs", "bot_jobs_workers", "bot_jobs_minutes")
        settings |= server.settings
    with TemporaryDirectory(prefix="bench-flood-") as folder, ServedSite(Path(folder), BOT, **settings) as site:
        yield site


def _flooded(site: ServedSite, way: Way, longest_seconds: float) -> Flooded:
    queue = open_installation(site.environment).queue()
    try:
        _wait_for_workers(queue)
        way.flood(queue)
        started = time.monotonic()
        waits = list(_waits(site, started + longest_seconds))
        [(count, first, last)] = queue.table.rows(FLOODED, lane=LANE)
        flood_seconds = (time_of(last) - time_of(first)).total_seconds() if count else 1.0
        return Flooded(waits, count / flood_seconds, time.monotonic() - started)
    finally:
        queue.close()


def _wait_for_workers(queue: DatabaseQueue) -> None:
    queue.ensure_schema()
    ends = time.monotonic() + START_SECONDS
    while len(queue.workers.alive()) < WORKERS:
        if time.monotonic() > ends:
            raise BenchmarkFailed(f"expected {WORKERS} workers, found {queue.workers.alive()}")
        time.sleep(0.1)


def _waits(site: ServedSite, ends: float) -> Iterator[float]:
    """Seconds from the webhook's answer to the bot's first line, one update after the other, until the time `ends`."""
    journal = site.folder / "journal"
    for number in range(FIRST_WATCHED, FIRST_WATCHED + OTHERS):
        site.send({"update_id": number, "message": {"message_id": 1, "date": 1, "chat": {"id": number}}})
        answered_ns = time.monotonic_ns()
        waited = seconds_to_begin(journal, number, answered_ns, ends)
        if waited is None:
            return
        yield waited
        time.sleep(PAUSE_SECONDS)


def _row(name: str, flooded: Flooded) -> list[str]:
    waits = flooded.waits
    in_time = sum(seconds <= BEGIN_GOAL_SECONDS for seconds in waits)
    missed = OTHERS - len(waits)
    longest = f"more than {flooded.seconds:.0f}" if missed else f"{max(waits):.2f}"
    goal = verdict(in_time, at_least=OTHERS) + ", " + verdict(flooded.flood_rate, at_least=RATE_GOAL)
    median = f"{percentile(waits, 50):.3f}" if waits else ""
    return [name, f"{in_time} of {OTHERS}", median, longest, f"{flooded.flood_rate:,.0f}", goal]


def _report(rows: list[list[str]]) -> str:
    heads = ["database, flood", "others begun within 1 s", "median wait, s", "longest wait, s", "flood, jobs/s"]
    return table([*heads, f"goal: all within {BEGIN_GOAL_SECONDS:g} s, ≥ {RATE_GOAL:.0f} jobs/s"], rows)
