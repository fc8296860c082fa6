"""Maintenance on a real SQLite queue: what is counted, what is forgotten, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.queue.views.minutes import Minute
from scalable.lib.worker.maintenance import PRUNE_SECONDS, REAP_SECONDS, Maintenance
from tests.support.fakes.worker_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def minutes(bench: Bench) -> list[Minute]:
    return bench.queue.minutes.read(86_400)


def total(bench: Bench, name: str) -> int:
    return sum(getattr(minute, name) for minute in minutes(bench))


def test_what_expired_and_what_was_reaped_is_counted_and_dead_workers_are_forgotten(bench: Bench):
    maintenance = Maintenance(bench.queue, 3600, 3600, bench.clock)
    bench.enqueue(3)
    bench.queue.claim("killed", 45)
    over = "lease_expires_at = '2000-01-01', lease_missed_at = '2000-01-02'"
    bench.sql(f"UPDATE bot_jobs SET {over} WHERE status = 'processing'")
    bench.sql("UPDATE bot_jobs SET priority = 0, expires_at = '2000-01-01' WHERE status = 'pending'")
    bench.worker.heartbeat.beat_and_flush_if_due()

    maintenance.every_5_seconds()
    maintenance.reap_worker("worker-1")

    assert (total(bench, "retried"), total(bench, "expired")) == (1, 2)
    assert bench.queue.workers.alive() == []


def test_what_was_enqueued_is_counted_before_anything_is_deleted(bench: Bench):
    bench.enqueue(2)
    old = "strftime('%Y-%m-%d %H:%M:%f', 'now', '-3 minutes')"
    bench.sql(f"UPDATE bot_jobs SET status = 'done', created_at = {old}, processed_at = {old}")

    Maintenance(bench.queue, 60, 60, bench.clock).every_minute()

    assert bench.queue.counts().total == 0
    assert sum(minute.enqueued or 0 for minute in minutes(bench)) == 2


def test_a_worker_without_a_pool_does_each_part_of_it_when_its_time_has_come(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    maintenance = Maintenance(bench.queue, 60, 60, bench.clock)
    done: list[str] = []
    monkeypatch.setattr(maintenance, "every_5_seconds", lambda: done.append("reap"))
    monkeypatch.setattr(maintenance, "every_minute", lambda: done.append("prune"))

    maintenance.run_if_due()
    maintenance.run_if_due()
    assert done == ["reap", "prune"]

    for _ in range(int(PRUNE_SECONDS / REAP_SECONDS)):
        bench.clock.advance(REAP_SECONDS)
        maintenance.run_if_due()
    assert done == ["reap", "prune"] + ["reap"] * 12 + ["prune"]
