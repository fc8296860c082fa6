"""What one claim finds while more blocked jobs are due than are parked at once, on every database."""

from __future__ import annotations

import threading

import pytest

from scalable.lib.queue import lane_walk, parking
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress
from scalable.lib.telegram.update import Update
from tests.support.servers.databases import DATABASES, let_pass

LEASE_SECONDS = 45
FLOOD = 300


@pytest.fixture(autouse=True)
def _park_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PARK_BATCH", 10)
    monkeypatch.setattr(parking, "SMALL_PARK_BATCH", 5)


def put(queue: DatabaseQueue, lane: str | None, expires: float | None = None) -> int:
    return queue.enqueue(Update("{}", None, "message", lane, expires, expires)).job_id


def flood(queue: DatabaseQueue, lane: str = "chat:flood") -> list[int]:
    return [put(queue, lane) for _ in range(FLOOD)]


def claimed(queue: DatabaseQueue, limit: int = 8) -> list[int]:
    return [job.id for job in queue.claim("worker", LEASE_SECONDS, limit)]


def parked_jobs(queue: DatabaseQueue) -> int:
    [(count,)] = queue.database.run(lambda session: session.rows("SELECT COUNT(*) FROM bot_jobs WHERE parked = 1"))
    return int(count)


def test_one_claim_finds_the_other_chats_and_parks_no_more_than_a_part(queue: DatabaseQueue) -> None:
    """F22: the other chats do not wait; benchmarks/flood.py measures it."""
    head, *_ = flood(queue)
    others = [put(queue, f"chat:{number}") for number in range(3)]

    assert sorted(claimed(queue)) == [head, *others]
    assert 0 < parked_jobs(queue) < FLOOD // 2


def test_it_finds_them_when_the_head_of_the_flood_runs(queue: DatabaseQueue) -> None:
    """F22: of the kind, its head runs."""
    head, *_ = flood(queue)
    assert claimed(queue, 1) == [head]
    others = [put(queue, f"chat:{number}") for number in range(3)]

    assert sorted(claimed(queue)) == others


def test_those_of_a_lane_come_together_from_behind_the_flood_as_well(queue: DatabaseQueue) -> None:
    """F22: of the kind, several of one chat behind it."""
    flood(queue)
    claimed(queue, 1)
    others = [put(queue, "chat:other") for _ in range(4)]

    lanes = queue.claim_lanes("worker", LEASE_SECONDS, 8, 8)

    assert [[job.id for job in lane.jobs] for lane in lanes] == [others]


@pytest.mark.parametrize("address", DATABASES, indirect=True)
def test_nobody_waits_for_a_process_that_parks(queue: DatabaseQueue, address: DatabaseAddress) -> None:
    """F22: given one that holds the lock of parking, and keeps it until the other chat's job was claimed.

    SQLite has one writer, and no such lock.
    """
    flood(queue)
    claimed(queue, 1)
    other = put(queue, "chat:other")
    is_held, may_end = threading.Event(), threading.Event()
    parker = open_database(address)

    def hold() -> None:
        def work(session: object) -> None:
            with parker.one_at_a_time(session, f"park {queue.table.name}"):  # type: ignore[arg-type]
                is_held.set()
                assert may_end.wait(60)

        parker.run(work)
        parker.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(60)

    try:
        assert claimed(queue) == [other]
        assert parked_jobs(queue) == 0
    finally:
        may_end.set()
        thread.join()


def test_every_lane_has_its_turn(queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those whose names come last, however few lanes are looked at by one claim."""
    monkeypatch.setattr(lane_walk, "MOST_LANES", 2)
    flood(queue)
    claimed(queue, 1)
    others = [put(queue, f"chat:{number}") for number in range(7)]

    found: list[int] = []
    for _ in range(8):
        found += claimed(queue, 1)

    assert sorted(found) == others


def test_it_leaves_alone_what_may_not_run(queue: DatabaseQueue) -> None:
    """A lane whose first job is put off, one whose first job runs, one that is too late: none of their jobs."""
    put(queue, "chat:put off")
    put(queue, "chat:runs")
    put(queue, "chat:late", expires=30)
    jobs = {job.lane: job for job in queue.claim("worker", LEASE_SECONDS * 10, 3)}
    queue.retry(jobs["chat:put off"].lease, "exit code 1", 600)
    queue.retry(jobs["chat:late"].lease, "exit code 1", 0)
    head, *_ = flood(queue)
    for lane in ("chat:put off", "chat:runs", "chat:late"):
        put(queue, lane)
    let_pass(queue, 31)

    assert claimed(queue) == [head]
    assert claimed(queue) == []


def test_a_paused_queue_gives_none(queue: DatabaseQueue) -> None:
    flood(queue)
    claimed(queue, 1)
    put(queue, "chat:other")
    queue.pause("test")

    assert claimed(queue) == []


def test_a_claim_of_urgent_jobs_alone_takes_no_other(queue: DatabaseQueue) -> None:
    """Given urgent jobs that are blocked, more than are parked at once, and others in free lanes."""
    put(queue, "chat:1")
    claimed(queue, 1)
    for _ in range(30):
        put(queue, "chat:1", expires=600)
    put(queue, "chat:2")

    assert queue.claim("worker", LEASE_SECONDS, 8, urgent_only=True) == []
