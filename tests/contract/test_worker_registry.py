"""Who is there: each worker's own row, alive by the database's clock, on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.schema import SCHEMA_VERSION, missing_statements, stored_version
from scalable.lib.queue.worker_registry import ALIVE_SECONDS, Heartbeat, WorkerRegistry
from scalable.lib.telegram.update import Update

LEASE_SECONDS = 45
HEARTBEAT = Heartbeat("host:1-ab/1.0", "host", 4711, 120.0, runs=9, succeeded=6, retried=2, failed=1, memory_kb=20_000)


@pytest.fixture
def registry(queue: DatabaseQueue) -> WorkerRegistry:
    return queue.workers


def be_silent(queue: DatabaseQueue, worker: str, seconds: float) -> None:
    """As if the worker had been killed that long ago, by the database's clock."""
    statement = queue.table.sql("UPDATE {jobs}_workers SET heartbeat_at = {ago:seconds} WHERE name = :name")
    queue.database.run(lambda session: session.execute(statement, name=worker, seconds=seconds))


def test_a_worker_is_there_with_all_it_says_of_itself(registry: WorkerRegistry) -> None:
    registry.record_heartbeat(HEARTBEAT)

    (worker,) = registry.alive()
    assert (worker.name, worker.host, worker.pid, worker.memory_kb) == (HEARTBEAT.name, "host", 4711, 20_000)
    assert (worker.runs, worker.succeeded, worker.retried, worker.failed) == (9, 6, 2, 1)
    assert worker.heartbeat_at - worker.started_at == timedelta(seconds=120)
    assert worker.job_ids == ()


def test_a_pool_keeps_its_own_workers_alive_and_no_others(queue: DatabaseQueue, registry: WorkerRegistry) -> None:
    """Idle workers say nothing for minutes; their pool sees that their processes are there."""
    ours, theirs = ("host:7-ab/1.1", "host:7-ab/2.4"), ("host:7-a/1.1", "host:7-abc/1.1", "host:71-ab/1.1", "host:7-ab")
    for name in (*ours, *theirs):
        registry.record_heartbeat(replace(HEARTBEAT, name=name))
        be_silent(queue, name, ALIVE_SECONDS + 60)

    registry.refresh("host:7-ab")

    assert [worker.name for worker in registry.alive()] == sorted(ours)


def test_a_later_beat_replaces_the_earlier_one(registry: WorkerRegistry) -> None:
    registry.record_heartbeat(HEARTBEAT)

    registry.record_heartbeat(replace(HEARTBEAT, runs=10, memory_kb=None))

    (worker,) = registry.alive()
    assert (worker.runs, worker.memory_kb) == (10, None)


def test_a_worker_is_shown_with_the_jobs_it_runs_at_this_moment(queue: DatabaseQueue, registry: WorkerRegistry) -> None:
    """A worker has several slots: what one of them runs is not all of it."""
    for _ in range(3):
        queue.enqueue(Update("{}"))
    registry.record_heartbeat(HEARTBEAT)
    registry.record_heartbeat(replace(HEARTBEAT, name="another"))

    jobs = queue.claim(HEARTBEAT.name, LEASE_SECONDS, 3)
    running = {worker.name: sorted(worker.job_ids) for worker in registry.alive()}
    assert running == {HEARTBEAT.name: [job.id for job in jobs], "another": []}

    queue.complete_many([job.lease for job in jobs])
    assert [worker.job_ids for worker in registry.alive()] == [(), ()]


def test_a_killed_worker_is_not_alive_any_more_after_its_time(queue: DatabaseQueue, registry: WorkerRegistry) -> None:
    for name in ("killed", "at work"):
        registry.record_heartbeat(replace(HEARTBEAT, name=name))

    be_silent(queue, "killed", ALIVE_SECONDS - 5)
    assert [worker.name for worker in registry.alive()] == ["at work", "killed"]
    assert [worker.name for worker in registry.alive(within_seconds=30)] == ["at work"]

    be_silent(queue, "killed", ALIVE_SECONDS + 1)
    assert [worker.name for worker in registry.alive()] == ["at work"]


def test_a_worker_that_was_taken_for_dead_is_back_with_its_next_beat(
    queue: DatabaseQueue, registry: WorkerRegistry
) -> None:
    registry.record_heartbeat(HEARTBEAT)
    be_silent(queue, HEARTBEAT.name, 1000)
    assert registry.forget_gone(silent_seconds=999) == 1

    registry.record_heartbeat(HEARTBEAT)

    assert [worker.runs for worker in registry.alive()] == [9]


def test_a_worker_that_ends_is_forgotten_and_may_be_twice(registry: WorkerRegistry) -> None:
    registry.record_heartbeat(HEARTBEAT)

    registry.remove(HEARTBEAT.name)
    registry.remove(HEARTBEAT.name)

    assert registry.alive() == []


def test_only_workers_silent_for_a_day_are_deleted(queue: DatabaseQueue, registry: WorkerRegistry) -> None:
    for name in ("gone", "killed today", "at work"):
        registry.record_heartbeat(replace(HEARTBEAT, name=name))
    be_silent(queue, "gone", 86_401)
    be_silent(queue, "killed today", 80_000)

    assert registry.forget_gone() == 1
    assert [worker.name for worker in registry.alive(within_seconds=1e6)] == ["at work", "killed today"]


def test_tables_of_version_1_get_the_new_ones_and_keep_their_rows(
    queue: DatabaseQueue, registry: WorkerRegistry
) -> None:
    job_id = queue.enqueue(Update("{}", 7, "message")).job_id
    for statement in (
        "DROP TABLE bot_jobs_workers",
        "DROP TABLE bot_jobs_minutes",
        "UPDATE bot_jobs_meta SET value = '1'",
    ):
        queue.database.run(lambda session, statement=statement: session.execute(statement))

    queue.ensure_schema()

    assert queue.database.run(lambda session: missing_statements(queue.table, session)) == []
    assert stored_version(queue.table) == SCHEMA_VERSION
    assert queue.find(job_id).update_id == 7
    registry.record_heartbeat(HEARTBEAT)
    assert len(registry.alive()) == 1
