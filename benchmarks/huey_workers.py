"""Processes that drain huey's queue in the same database: its own consumer, as huey_consumer runs it."""

from __future__ import annotations

import signal
from typing import Callable

from huey.contrib.sql_huey import SqlHuey
from peewee import MySQLDatabase

from benchmarks.jobs import payload
from benchmarks.race import CONTEXT, Race
from scalable.lib.queue.dialects.address import MySqlAddress

TABLES = ("task", "schedule", "kv", "counter")
LONGEST_SECONDS = 120.0
# As on the command line: huey_consumer --workers 4 --worker-type process --no-periodic --quiet. The polling delays are
# the defaults; while there is work nobody waits for them.
OPTIONS = {"worker_type": "process", "periodic": False}


def make_huey(address: MySqlAddress, finished: Callable[[], None] = lambda: None) -> SqlHuey:
    """A huey on the database, without results, and its one task."""
    database = MySQLDatabase(
        address.database, unix_socket=address.socket, user=address.user, password=address.password, ssl_disabled=True
    )
    huey = SqlHuey("updates", database=database, results=False)

    def update(_update: str) -> None:
        finished()

    huey.update = huey.task(name="update")(update)
    return huey


def fill(address: MySqlAddress, jobs: int) -> None:
    """Enqueue so many tasks by huey's own means, in one transaction."""
    huey = make_huey(address)
    with huey.storage.database.connection_context(), huey.storage.database.atomic():
        for number in range(jobs):
            huey.update(payload(number))


def left(address: MySqlAddress) -> int:
    """How many tasks are still there."""
    huey = make_huey(address)
    with huey.storage.database.connection_context():
        return int(huey.storage.queue_size())


def drain(address: MySqlAddress, race: Race) -> float:
    """Seconds until all tasks were run, by a consumer of that many worker processes."""
    consumer = CONTEXT.Process(target=_consume, args=(address, race))
    return race.by(consumer, signal.SIGINT, LONGEST_SECONDS)  # huey's word for: finish what you are doing and end


def _consume(address: MySqlAddress, race: Race) -> None:
    huey = make_huey(address, race.finished)

    def start_together() -> None:  # in every worker process, before its first task
        huey.storage.database.connect(reuse_if_open=True)
        race.ready()

    huey.on_startup()(start_together)
    huey.create_consumer(workers=race.workers, **OPTIONS).run()
