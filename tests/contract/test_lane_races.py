"""Lanes under load: real processes behind a barrier claim from the same lanes while another one goes on enqueueing.

What is checked is what the claimers themselves wrote down: every job ran once, and the runs of a lane came one after
the other in the order of arrival.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress, SqliteAddress
from scalable.lib.queue.dialects.mysql import MySqlDatabase
from scalable.lib.queue.job import Counts
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from tests.support.generators import forked
from tests.support.generators.long_tests import sized
from tests.support.servers.databases import Servers
from tests.support.waiting import PATIENCE_SECONDS

# One job in so many has no lane.
WITHOUT_LANE = 10
IDLE_SECONDS = 0.005


@dataclass(frozen=True)
class Load:
    """How much one test does. Half of the jobs are there at the start, the others arrive while claimers run."""

    claimers: int
    jobs: int
    lanes: int
    limit: int = 1


@dataclass(frozen=True)
class Run:
    """One run of a job, by the clock all processes of a machine share (CLOCK_MONOTONIC)."""

    job_id: int
    lane: str | None
    start: float
    end: float


SERVERS_LOAD = Load(claimers=sized(12, 32), jobs=sized(500, 5000), lanes=sized(40, 300))
SQLITE_LOAD = Load(claimers=8, jobs=sized(300, 600), lanes=sized(30, 60))


def open_queue(address: DatabaseAddress, without_locks: bool) -> DatabaseQueue:
    database = open_database(address)
    if without_locks:
        assert isinstance(database, MySqlDatabase)
        database._skip_locked = False  # as on a server without SKIP LOCKED, and on a Galera node
    return DatabaseQueue(database, "bot_jobs", RetryPolicy())


def work(
    address: DatabaseAddress, without_locks: bool, limit: int, barrier: Barrier, no_more: Event, reports: Queue[object]
) -> None:
    """Claim and complete until all is done; report the runs, or the error that stopped it."""
    runs: list[Run] = []
    try:
        queue = open_queue(address, without_locks)
        queue.counts()
        name = f"claimer {multiprocessing.current_process().pid}"
        barrier.wait(PATIENCE_SECONDS)
        while True:
            ended = no_more.is_set()
            jobs = queue.claim(name, 45, limit)
            for job in jobs:
                start = time.monotonic()
                time.sleep(random.random() * 0.002)
                runs.append(Run(job.id, job.lane, start, time.monotonic()))
                queue.complete(job.lease)
            if not jobs:
                if ended and not queue.counts().pending:
                    break
                time.sleep(IDLE_SECONDS)
        reports.put(runs)
    except BaseException as error:  # noqa: BLE001 - reported to the test, which fails on it
        reports.put(repr(error))


def arrive(address: DatabaseAddress, load: Load, barrier: Barrier, no_more: Event, reports: Queue[object]) -> None:
    """Enqueue the second half, as one webhook does: one after the other, so that a lane's ids grow with time."""
    try:
        queue = open_queue(address, False)
        queue.counts()
        barrier.wait(PATIENCE_SECONDS)
        for number in range(load.jobs // 2, load.jobs):
            put(queue, number, load.lanes)
        reports.put([])
    except BaseException as error:  # noqa: BLE001 - reported to the test, which fails on it
        reports.put(repr(error))
    finally:
        no_more.set()


def put(queue: DatabaseQueue, number: int, lanes: int) -> None:
    lane = None if number % WITHOUT_LANE == 0 else f"chat:{random.Random(number).randrange(lanes)}"
    queue.enqueue(Update("{}", number, "message", lane))


def run_all(address: DatabaseAddress, load: Load, without_locks: bool) -> list[object]:
    """What each process reported."""
    context = forked.context()
    barrier, no_more = context.Barrier(load.claimers + 1), context.Event()
    reports: Queue[object] = context.Queue()
    claimer = (address, without_locks, load.limit, barrier, no_more, reports)
    processes = [context.Process(target=work, args=claimer, daemon=True) for _ in range(load.claimers)]
    processes.append(context.Process(target=arrive, args=(address, load, barrier, no_more, reports), daemon=True))
    for process in processes:
        process.start()
    try:
        return [reports.get(timeout=sized(200, 500)) for _ in processes]
    finally:
        for process in processes:
            process.join(60)


def out_of_order(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Neighbours in a lane of which the later one started before the earlier one had ended."""
    lanes: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.job_id):
        if run.lane is not None:
            lanes[run.lane].append(run)
    return [pair for lane in lanes.values() for pair in zip(lane, lane[1:]) if pair[1].start < pair[0].end]


def test_the_check_sees_an_overlap_and_an_inversion() -> None:
    first, second = Run(1, "chat:1", 10.0, 11.0), Run(2, "chat:1", 11.0, 12.0)

    assert out_of_order([second, first]) == []
    assert out_of_order([first, Run(2, "chat:1", 10.9, 12.0)]) != []
    assert out_of_order([first, Run(2, "chat:1", 8.0, 9.0)]) != []
    assert out_of_order([first, Run(2, "chat:2", 8.0, 9.0), Run(3, None, 8.0, 9.0)]) == []


@pytest.mark.timeout(sized(300, 1200))
@pytest.mark.parametrize("limit", [1, 3], ids=["one by one", "in threes"])
@pytest.mark.parametrize(
    ("name", "without_locks"),
    [
        ("sqlite", False),
        ("mariadb-10.5", False),
        ("mariadb-10.11", False),
        ("mariadb-10.11", True),
        ("mysql-9.7", False),
    ],
    ids=["sqlite", "mariadb-10.5", "mariadb-10.11", "mariadb-10.11 without SKIP LOCKED", "mysql-9.7"],
)
def test_every_job_runs_once_and_every_lane_in_order(
    name: str, without_locks: bool, limit: int, servers: Servers, tmp_path: Path
) -> None:
    address = SqliteAddress(tmp_path / "queue.sqlite3") if name == "sqlite" else servers.fresh_database(name)
    base = SQLITE_LOAD if name == "sqlite" else SERVERS_LOAD
    load = Load(base.claimers, base.jobs, base.lanes, limit)
    queue = open_queue(address, False)
    queue.ensure_schema()
    for number in range(load.jobs // 2):
        put(queue, number, load.lanes)

    reports = run_all(address, load, without_locks)

    assert [report for report in reports if isinstance(report, str)] == []
    runs: list[Run] = [run for report in reports for run in report]  # type: ignore[attr-defined]
    times = Counter(run.job_id for run in runs)
    assert (len(times), set(times.values())) == (load.jobs, {1})
    assert out_of_order(runs) == []
    assert queue.counts() == Counts(done=load.jobs)
    seconds = max(run.end for run in runs) - min(run.start for run in runs)
    print(f"{load.claimers} claimers, {load.jobs} jobs: {load.jobs / seconds:.0f} jobs/s")
