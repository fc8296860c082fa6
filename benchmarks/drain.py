"""How fast four worker processes empty a queue whose jobs cost nothing: ours, huey's and Celery's, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import celery_workers, huey_workers, our_workers
from benchmarks.failed import BenchmarkFailed
from benchmarks.figures import ratios, spread, table, verdict
from benchmarks.jobs import Rows, fill
from benchmarks.race import Race
from benchmarks.server import DURABLE, IN_MEMORY, Server, make_queue
from scalable.lib.queue.database_queue import open_database

GOAL = 8.0
WORKERS, JOBS, LANES, ROUNDS = 4, 4_000, 1_000, 3
# Fewer, or it would take most of the time; that is kind to it, for it slows down as its table grows.
CELERY_JOBS = 1_000
TABLE = "bot_jobs"
HUEY = "huey, 4 worker processes"
CELERY = "Celery, 4 worker processes"


@dataclass(frozen=True)
class Way:
    """A way to drain our queue."""

    name: str
    work: Callable[..., None]
    limit: int
    lanes: int


@dataclass(frozen=True)
class Drained:
    """One drain: how fast, and what it asked of the server for each job."""

    jobs_per_second: float
    statements: float
    fsyncs: float


WAYS = (
    Way("ours, one at a time, no lanes", our_workers.verbs, 1, 0),
    Way("ours, one at a time, 1,000 lanes", our_workers.verbs, 1, LANES),
    Way("ours, eight at a time, 1,000 lanes", our_workers.verbs, 8, LANES),
    Way("ours, 32 at a time, no lanes", our_workers.verbs, 32, 0),
    Way("ours, 32 at a time, 1,000 lanes", our_workers.verbs, 32, LANES),
    Way("ours, the whole worker, 1,000 lanes", our_workers.whole_worker, 1, LANES),
)


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: jobs per second of every way, and how many times huey's in the same round."""
    contests: dict[str, Callable[[], Drained]] = {
        HUEY: partial(_huey, server),
        CELERY: partial(_celery, server),
        **{way.name: partial(_ours, server, way) for way in WAYS},
    }
    drained: dict[str, list[Drained]] = {name: [] for name in contests}
    for number in range(ROUNDS):
        turns = list(contests) if number % 2 == 0 else [*reversed(contests)]
        for name in turns:
            drained[name].append(contests[name]())
        rates = ", ".join(f"{results[-1].jobs_per_second:.0f}" for results in drained.values())
        say(f"drain: round {number + 1} of {ROUNDS}: {rates} jobs/s")
    server.drop(TABLE, *huey_workers.TABLES, *celery_workers.TABLES)
    return _report(drained)


def _ours(server: Server, way: Way) -> Drained:
    server.drop(TABLE)
    queue = make_queue(open_database(server.address), TABLE)
    with server.connect() as connection:
        fill(connection, TABLE, Rows(JOBS, lanes=way.lanes))
    server.analyze(TABLE)
    race = Race(WORKERS, JOBS)
    drained = _drained(server, JOBS, lambda: our_workers.drain(way.work, server.address, TABLE, way.limit, race))
    race.check()
    counts = queue.counts()
    queue.close()
    if counts.done != JOBS:
        raise BenchmarkFailed(f"{way.name}: expected {JOBS} jobs done, found {counts}")
    return drained


def _huey(server: Server) -> Drained:
    server.drop(*huey_workers.TABLES)
    huey_workers.fill(server.address, JOBS)
    server.analyze("task")
    race = Race(WORKERS, JOBS)
    drained = _drained(server, JOBS, lambda: huey_workers.drain(server.address, race))
    race.check()
    left = huey_workers.left(server.address)
    if left:
        raise BenchmarkFailed(f"huey: expected no task to be left, found {left}")
    return drained


def _celery(server: Server) -> Drained:
    server.drop(*celery_workers.TABLES)
    server.set_durability(IN_MEMORY)
    celery_workers.fill(server.address, CELERY_JOBS)
    server.set_durability(DURABLE)
    server.analyze("kombu_message")
    race = Race(1, CELERY_JOBS)
    drained = _drained(server, CELERY_JOBS, lambda: celery_workers.drain(server.address, WORKERS, race))
    race.check()
    return drained


def _drained(server: Server, jobs: int, drain: Callable[[], float]) -> Drained:
    before = server.status()
    seconds = drain()
    after = server.status()
    per_job = {name: (after[name] - before[name]) / jobs for name in ("Questions", "Innodb_data_fsyncs")}
    return Drained(jobs / seconds, per_job["Questions"], per_job["Innodb_data_fsyncs"])


def _report(drained: dict[str, list[Drained]]) -> str:
    rates = {name: [result.jobs_per_second for result in results] for name, results in drained.items()}
    rows = []
    for name in drained:
        ratio = ratios(rates[name], rates[HUEY])
        rows.append(
            [
                name,
                spread(rates[name]).text(0),
                ratio.text(),
                f"{statistics.median(result.statements for result in drained[name]):.1f}",
                f"{statistics.median(result.fsyncs for result in drained[name]):.2f}",
                "" if name in (HUEY, CELERY) else verdict(ratio.median, at_least=GOAL),
            ]
        )
    heads = [
        "queue",
        "jobs/s (rounds)",
        "times huey (rounds)",
        "statements per job",
        "fsyncs per job",
        f"goal ≥ {GOAL:.0f}",
    ]
    return table(heads, rows)
