"""Processes that drain Celery's queue in the same database: its own worker, with a table as the broker (SQLAlchemy)."""

from __future__ import annotations

import signal
import warnings
from typing import Any, Callable
from urllib.parse import quote

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import worker_ready

from benchmarks.failed import BenchmarkFailed
from benchmarks.jobs import payload
from benchmarks.race import CONTEXT, Race
from scalable.lib.queue.dialects.address import MySqlAddress

TABLES = ("kombu_message", "kombu_queue")
QUEUE = "updates"
LONGEST_SECONDS = 120.0
# As on the command line: celery worker --pool prefork --concurrency 4, with nothing that only costs here: no results,
# no remote control, no news among workers. Prefetching and acknowledging are the defaults.
SETTINGS = {
    "task_ignore_result": True,
    "worker_enable_remote_control": False,
    "task_default_queue": QUEUE,
    "broker_connection_retry_on_startup": False,
    "worker_hijack_root_logger": False,
}
OPTIONS = {
    "pool": "prefork",
    "loglevel": "ERROR",
    "without_gossip": True,
    "without_mingle": True,
    "without_heartbeat": True,
    "quiet": True,
}


def make_celery(address: MySqlAddress, finished: Callable[[], None] = lambda: None) -> tuple[Celery, Any]:
    """A Celery on the database, and its one task."""
    user, password, socket = (quote(str(text), safe="") for text in (address.user, address.password, address.socket))
    celery = Celery(
        "benchmark",
        broker=f"sqla+mysql+pymysql://{user}:{password}@/{address.database}?unix_socket={socket}",
    )
    celery.conf.update(SETTINGS)

    def update(_update: str) -> None:
        finished()

    return celery, celery.task(name="update")(update)


def fill(address: MySqlAddress, jobs: int) -> None:
    """Enqueue so many tasks by Celery's own means, over one connection.

    In a process of its own: what Celery leaves open would keep the tables from being dropped.
    """
    process = CONTEXT.Process(target=_fill, args=(address, jobs))
    process.start()
    process.join(LONGEST_SECONDS)
    if process.exitcode != 0:
        process.kill()
        raise BenchmarkFailed(f"Celery did not enqueue {jobs} tasks in {LONGEST_SECONDS:.0f} s ({process.exitcode})")


def _fill(address: MySqlAddress, jobs: int) -> None:
    celery, update = make_celery(address)
    with celery.connection_for_write() as connection:
        for number in range(jobs):
            update.apply_async((payload(number),), connection=connection)


def drain(address: MySqlAddress, workers: int, race: Race) -> float:
    """Seconds until all tasks were run, by a worker of that many processes; `race` is of its one consumer."""
    consumer = CONTEXT.Process(target=_consume, args=(address, workers, race))
    return race.by(consumer, signal.SIGTERM, LONGEST_SECONDS)  # Celery's word for: finish what you are doing and end


def _consume(address: MySqlAddress, workers: int, race: Race) -> None:
    celery, _ = make_celery(address, race.finished)
    # When its processes are there and it is about to take the first task.
    worker_ready.connect(lambda **_: race.ready(), weak=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # the benchmark may run as root
        celery.Worker(**OPTIONS, concurrency=workers).start()
