"""A pool on the machine whose clock was set: its rounds go on at once, and so does what waits (SQLite)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from scalable.lib.pool.maintenance_schedule import MaintenanceSchedule
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.queue.notes import TOTALS
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from scalable.lib.worker.maintenance import Maintenance
from tests.support.servers.databases import set_clock_back
from tests.support.servers.site import wait_until

HOUR = 3600.0


class Clock:
    """The machine's clock, as somebody set it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Bench:
    """A schedule that runs on a queue of its own, and how often it sent alerts."""

    def __init__(self, folder: Path) -> None:
        self.queue = DatabaseQueue(open_database(SqliteAddress(folder / "queue")), "bot_jobs", RetryPolicy())
        self.queue.ensure_schema()
        self.clock = Clock()
        self.alerts = 0
        self.is_quiet = False
        maintenance = Maintenance(self.queue, HOUR, HOUR)
        self.schedule = MaintenanceSchedule(
            self.queue, maintenance, "pool", lambda: self.is_quiet, (self._alert,), wall_clock=self.clock
        )

    def _alert(self) -> None:
        self.alerts += 1

    def set_back(self, seconds: float) -> None:
        """What the clock of the machine does to SQLite's times, and to the times of APScheduler."""
        self.clock.ahead -= seconds
        set_clock_back(self.queue, seconds)
        for job in self.schedule._scheduler.get_jobs():
            job.modify(next_run_time=job.next_run_time + timedelta(seconds=seconds))

    def totals_age(self) -> float:
        note = self.queue.notes.read().get(TOTALS)
        return HOUR if note is None else note.age_seconds


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.schedule.start()
    wait_until(lambda: bench.totals_age() < HOUR, bench.totals_age)
    yield bench
    bench.schedule.stop()
    bench.queue.close()


@pytest.mark.parametrize("is_quiet", [False, True])
def test_what_waits_runs_and_totals_and_alerts_go_on_although_the_clock_went_back(
    bench: Bench, is_quiet: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(12):
        bench.queue.enqueue(Update("{}", number, "message", f"chat:{number}"))
    bench.is_quiet = is_quiet
    bench.set_back(2 * HOUR)
    assert bench.queue.claim("worker", 60, 12) == []

    with caplog.at_level(logging.WARNING):
        bench.schedule.check_clock()

    claimed: list[ClaimedJob] = []
    wait_until(lambda: claimed.extend(bench.queue.claim("worker", 60, 12)) or len(claimed) == 12, bench.queue.counts)
    wait_until(lambda: bench.totals_age() < 30, bench.totals_age)
    wait_until(lambda: bench.alerts > 0, lambda: bench.alerts)
    assert "clock was set seconds=-7200" in caplog.text


@pytest.mark.parametrize("ahead", [0.0, 3.0, -3.0])
def test_a_clock_that_is_only_a_little_off_changes_nothing(
    bench: Bench, ahead: float, caplog: pytest.LogCaptureFixture
) -> None:
    before = [job.next_run_time for job in bench.schedule._scheduler.get_jobs()]
    for _ in range(4):  # each look begins from the last one
        bench.clock.ahead += ahead
        bench.schedule.check_clock()

    assert [job.next_run_time for job in bench.schedule._scheduler.get_jobs()] == before
    assert "clock was set" not in caplog.text


def test_a_clock_that_goes_forward_is_said_and_begins_a_round(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        bench.clock.ahead = HOUR
        bench.schedule.check_clock()
        bench.schedule.check_clock()

    assert caplog.text.count("clock was set seconds=3600") == 1
    wait_until(lambda: bench.alerts > 0, lambda: bench.alerts)
