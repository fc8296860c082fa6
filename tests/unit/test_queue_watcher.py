"""QueueWatcher on a real SQLite queue: which workers are woken, and when maintenance is due."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.ingest.pool_notification import NotificationSocket, notify_pool
from scalable.lib.pool.poll_schedule import PollSchedule
from scalable.lib.pool.queue_watcher import QueueWatcher
from scalable.lib.telegram.update import Update
from scalable.lib.worker.wakeup import WakeupPipe
from tests.support.fakes.worker_bench import Bench
from tests.support.waiting import eventually

WORKERS = 3
NEVER_SECONDS = 3600.0


class Room:
    """A queue, a wake-up pipe, and a watcher that polls only when it starts, unless a job is due later."""

    def __init__(self, folder: Path, step_seconds: float = NEVER_SECONDS) -> None:
        self.bench = Bench(folder)
        self.wakeup_pipe = WakeupPipe(WORKERS)
        self.path = folder / "notifications"
        self.notifications = NotificationSocket(self.path)
        self.maintenances = 0
        self.watcher = QueueWatcher(
            self.bench.queue, PollSchedule(step_seconds), self.wakeup_pipe, self.notifications, self._maintain
        )

    def _maintain(self) -> None:
        self.maintenances += 1

    def woken(self) -> int:
        """How many workers were woken since the last time."""
        try:
            return len(os.read(self.wakeup_pipe.reader, 1000))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self.watcher.stop()
        self.notifications.close()
        self.wakeup_pipe.close()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.close()


def test_the_first_snapshot_is_at_once_and_wakes_every_worker_when_jobs_are_due(room: Room):
    room.bench.enqueue()

    room.watcher.start()

    eventually(lambda: room.woken() == WORKERS)


def test_each_notification_wakes_one_worker(room: Room):
    room.watcher.start()
    for _ in range(5):
        notify_pool(room.path)
        eventually(lambda: room.woken() == 1)


def test_a_job_in_back_off_wakes_workers_when_it_is_due(room: Room):
    room.bench.enqueue()
    (job,) = room.bench.queue.claim("worker", 45)
    room.bench.queue.retry(job.lease, "exit code 1", 0.3)

    room.watcher.start()

    eventually(lambda: room.woken() == WORKERS)


def test_a_lease_that_ran_out_asks_for_maintenance(room: Room):
    room.bench.queue.enqueue(Update("{}"))
    room.bench.queue.claim("a worker that died", 45)
    room.bench.sql("UPDATE bot_jobs SET lease_expires_at = '2000-01-01 00:00:00.000'")

    room.watcher.start()

    eventually(lambda: room.maintenances == 1)
    assert room.woken() == 0


def test_after_an_outage_it_asks_for_maintenance_because_a_worker_may_have_died_in_it(tmp_path: Path):
    room = Room(tmp_path, step_seconds=0.05)
    away = True
    room.bench.database.away = lambda: away
    room.watcher.start()
    eventually(lambda: room.watcher._was_away)
    away = False

    eventually(lambda: room.maintenances == 1)
    room.close()


def test_while_the_database_is_away_notifications_are_heard_and_polls_go_on_when_it_is_back(tmp_path: Path):
    room = Room(tmp_path, step_seconds=0.05)
    away = True
    room.bench.database.away = lambda: away
    room.watcher.start()
    notify_pool(room.path)
    eventually(lambda: room.woken() == 1)

    away = False
    room.bench.enqueue()

    eventually(lambda: room.woken() == WORKERS)
    room.close()


def test_without_a_socket_it_polls(tmp_path: Path):
    room = Room(tmp_path)
    room.watcher = QueueWatcher(
        room.bench.queue, PollSchedule(0.05, receives_notifications=False), room.wakeup_pipe, None, lambda: None
    )
    room.watcher.start()
    room.bench.enqueue()

    eventually(lambda: room.woken() == WORKERS)
    room.close()
