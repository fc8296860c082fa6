"""WorkerHeartbeat: a worker is in the registry while it lives, its counts arrive, and neither ever disturbs a job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scalable.lib.queue.counters import Counters
from scalable.lib.queue.lease_terms import LeaseTerms
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.views.minutes import Minute, merged, percentile
from scalable.lib.queue.worker_registry import RegisteredWorker, WorkerRegistry
from scalable.lib.worker.worker_heartbeat import BEAT_SECONDS
from tests.support.fakes.worker_bench import FAILED, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def alive(bench: Bench) -> list[RegisteredWorker]:
    return bench.queue.workers.alive()


def minutes(bench: Bench) -> list[Minute]:
    return bench.queue.minutes.read(86_400)


def total(bench: Bench, name: str) -> int:
    return sum(getattr(minute, name) for minute in minutes(bench))


def test_a_worker_is_registered_before_its_first_job_and_gone_after_its_last(bench: Bench):
    bench.enqueue()
    seen: list[RegisteredWorker] = []
    bench.runner.during = lambda _: seen.extend(alive(bench))

    bench.loop(drain=True)

    assert [(worker.name, worker.runs, worker.job_ids) for worker in seen] == [("worker-1", 0, (1,))]
    assert alive(bench) == []


def test_what_a_worker_did_is_counted_by_the_time_it_ends(bench: Bench):
    bench.enqueue(3)
    bench.sql("UPDATE bot_jobs SET available_at = strftime('%Y-%m-%d %H:%M:%f', 'now', '-20 seconds')")

    bench.loop(max_jobs=2)
    bench.runner.result = FAILED
    bench.make_worker()
    bench.loop(max_jobs=1)

    assert (total(bench, "done"), total(bench, "retried"), total(bench, "failed")) == (2, 1, 0)
    waits = merged(minute.waits for minute in minutes(bench))
    runs = merged(minute.runs for minute in minutes(bench))
    assert (sum(waits), sum(runs)) == (3, 3)
    assert 16.384 <= (percentile(waits, 0.5) or 0) <= 32.768
    assert 0.064 <= (percentile(runs, 0.5) or 0) <= 0.128


def test_a_job_whose_attempts_are_used_up_counts_as_failed(tmp_path: Path):
    bench = Bench(tmp_path, RetryPolicy(max_attempts=1))
    bench.enqueue()
    bench.runner.result = FAILED

    bench.loop(drain=True)

    assert (total(bench, "failed"), total(bench, "retried")) == (1, 0)


def test_jobs_that_follow_quickly_cost_no_write_each(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.enqueue(50)
    beats: list[object] = []
    flushes: list[object] = []
    monkeypatch.setattr(WorkerRegistry, "record_heartbeat", lambda _, beat: beats.append(beat))
    monkeypatch.setattr(Counters, "_write", lambda _, slot: flushes.append(slot))
    bench.runner.during = lambda _: bench.clock.advance(1)

    bench.loop(drain=True)

    assert len(beats) == 50 / BEAT_SECONDS + 1
    assert len(flushes) <= 50 / BEAT_SECONDS + 1


def test_a_worker_beats_while_its_bot_runs_long(bench: Bench):
    bench.enqueue()
    beaten: list[float] = []

    def during(tick: Callable[[], None]) -> None:
        bench.sql("UPDATE bot_jobs_workers SET heartbeat_at = '2000-01-01 00:00:00.000'")
        assert alive(bench) == []
        bench.clock.advance(LeaseTerms().renew_seconds)
        tick()
        beaten.extend((worker.heartbeat_at - worker.started_at).total_seconds() for worker in alive(bench))

    bench.runner.during = during

    bench.loop(drain=True)

    assert beaten == [LeaseTerms().renew_seconds]


def test_an_idle_worker_stays_alive(bench: Bench):
    seen: list[int] = []

    def during_wait() -> None:
        if len(bench.stop.waits) % 15 == 0:
            seen.append(len(alive(bench)))
            bench.sql("UPDATE bot_jobs_workers SET heartbeat_at = '2000-01-01 00:00:00.000'")

    bench.stop.during_wait = during_wait

    bench.loop(max_seconds=100)

    assert len(seen) >= 5
    assert set(seen) == {1}


def test_an_idle_worker_that_is_woken_rarely_writes_its_last_counts_in_time(bench: Bench):
    """They would stay in it until the next update, and the page would tell of a quiet bot what was an hour ago."""
    seen: list[tuple[float, int]] = []
    bench.stop.during_wait = lambda: seen.append((sum(bench.stop.waits), sum(each.done for each in minutes(bench))))
    bench.enqueue()

    bench.loop(max_seconds=300, sleep_seconds=100.0)

    (first, before), (_, after) = seen[:2]
    assert (first <= BEAT_SECONDS, before, after) == (True, 0, 1), "written between these two waits"


def test_counts_of_a_job_that_ended_while_the_database_was_away_arrive_later(bench: Bench):
    bench.enqueue()
    back_at = bench.clock.now + 100

    def during(_: Callable[[], None]) -> None:
        bench.database.away = lambda: bench.clock.now < back_at

    bench.runner.during = during

    bench.loop(max_jobs=1)

    assert (total(bench, "done"), bench.clock.now >= back_at) == (1, True)


@pytest.mark.parametrize("table", ["bot_jobs_workers", "bot_jobs_minutes"])
def test_tables_that_are_gone_keep_no_bot_from_running(bench: Bench, table: str):
    bench.sql(f"DROP TABLE {table}")
    bench.enqueue(2)
    bench.runner.during = lambda _: bench.clock.advance(BEAT_SECONDS)

    assert bench.loop(drain=True).succeeded == 2
    assert [bench.job(number).status for number in (1, 2)] == ["done", "done"]
