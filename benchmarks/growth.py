"""Whether a job costs the same however many jobs there are: one worker, claim and complete, one at a time.

All tables are filled first and then measured in turns, so that a noisy moment of the machine falls on every case alike;
and over one connection, because which core the kernel gives a connection's two ends moves a figure by half.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.failed import BenchmarkFailed
from benchmarks.figures import percentile, ratios, table, verdict
from benchmarks.jobs import Rows, fill
from benchmarks.server import DURABLE, IN_MEMORY, Server, make_queue
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.database import Database

GOAL = 1.5
ROUNDS, JOBS_PER_ROUND = 40, 25
FLOOD_LANE = "flood:0"
WORKER, LEASE_SECONDS = "benchmark", 600.0


@dataclass(frozen=True)
class Case:
    """A table to measure; its last rows are the ones to be claimed, the others are what may be in the way."""

    name: str
    table: str
    rows: tuple[Rows, ...]
    head_runs: bool = False

    @property
    def lanes(self) -> int:
        """Lanes of the jobs to be claimed."""
        return self.rows[-1].lanes


@dataclass
class Sample:
    """What was measured of one case: seconds of the first job, and of the others by round."""

    first: float = 0.0
    rounds: list[list[float]] = field(default_factory=list)

    @property
    def all(self) -> list[float]:
        """Every job but the first."""
        return [seconds for one_round in self.rounds for seconds in one_round]

    @property
    def medians(self) -> list[float]:
        """One per round."""
        return [statistics.median(one_round) for one_round in self.rounds]


def due(count: int) -> Rows:
    """Pending jobs that are due, four to a lane, as in a backlog of many chats."""
    return Rows(count, lanes=count // 4)


CASES = (
    Case("1 k pending", "jobs_1k", (due(1_000),)),
    Case("100 k pending", "jobs_100k", (due(100_000),)),
    Case("1 M pending", "jobs_1m", (due(1_000_000),)),
    Case("1 M done + 1 k pending", "jobs_done", (Rows(1_000_000, status="done", lanes=250_000), due(1_000))),
    Case(
        "100 k in back-off + 1 k pending",
        "jobs_backoff",
        (Rows(100_000, lanes=25_000, lane_name="waiting", due_in_seconds=86_400), due(1_000)),
    ),
    Case(
        "100 k behind a running job of their lane + 1 k pending",
        "jobs_lane",
        (Rows(100_000, lanes=1, lane_name="flood"), due(1_000)),
        head_runs=True,
    ),
)


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: the cost in each case and its ratio to the first, with and without the disk."""
    database = open_database(server.address)
    queues = {case: _prepared(server, database, case, say) for case in CASES}
    try:
        parts = []
        for title, durability in (("every commit on disk", DURABLE), ("commits in memory only", IN_MEMORY)):
            server.set_durability(durability)
            say(f"growth: measuring, {title}")
            parts.append(f"{title[0].upper()}{title[1:]}:\n\n{_report(_measured(server, queues))}")
        return "\n\n".join(parts)
    finally:
        database.close()
        server.set_durability(DURABLE)
        server.drop(*[case.table for case in CASES])


def _prepared(server: Server, database: Database, case: Case, say: Callable[[str], None]) -> DatabaseQueue:
    started = time.monotonic()
    queue = make_queue(database, case.table)
    with server.connect() as connection:
        for rows in case.rows:
            fill(connection, case.table, rows)
    server.analyze(case.table)
    if case.head_runs:
        [job] = queue.claim("holder", LEASE_SECONDS)
        if job.lane != FLOOD_LANE:
            raise BenchmarkFailed(f"{case.name}: expected the head of {FLOOD_LANE}, claimed a job of {job.lane}")
    say(f"growth: {case.name}, filled in {time.monotonic() - started:.0f} s")
    return queue


def _measured(server: Server, queues: dict[Case, DatabaseQueue]) -> dict[Case, Sample]:
    samples = {case: Sample(first=_one_job(case, queue)) for case, queue in queues.items()}
    with server.connect() as connection:
        for _ in range(ROUNDS):
            for case, queue in queues.items():
                samples[case].rounds.append([_one_job(case, queue) for _ in range(JOBS_PER_ROUND)])
            for case in queues:  # as many come as went
                fill(connection, case.table, Rows(JOBS_PER_ROUND, lanes=case.lanes))
    return samples


def _one_job(case: Case, queue: DatabaseQueue) -> float:
    started = time.perf_counter()
    jobs = queue.claim(WORKER, LEASE_SECONDS)
    if len(jobs) != 1 or jobs[0].lane == FLOOD_LANE:
        raise BenchmarkFailed(f"{case.name}: expected one due job, claimed {jobs}")
    queue.complete(jobs[0].lease)
    return time.perf_counter() - started


def _report(samples: dict[Case, Sample]) -> str:
    base = samples[CASES[0]]
    rows = []
    for case, sample in samples.items():
        ratio = ratios(sample.medians, base.medians)
        rows.append(
            [
                case.name,
                f"{statistics.median(sample.all) * 1000:.2f}",
                f"{percentile(sample.all, 95) * 1000:.2f}",
                f"{sample.first * 1000:.1f}",
                ratio.text(),
                f"{percentile(sample.all, 95) / percentile(base.all, 95):.2f}",
                "" if sample is base else verdict(ratio.median, at_most=GOAL),
            ]
        )
    heads = [
        "jobs in the table",
        "median ms",
        "p95 ms",
        "first job ms",
        "ratio of medians (rounds)",
        "ratio of p95",
        f"goal ≤ {GOAL}",
    ]
    return table(heads, rows)
