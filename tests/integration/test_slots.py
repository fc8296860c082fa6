"""Slots as owners meet them: a pool that runs real bots, many updates at the same time in each worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scalable.lib.queue.database_queue import POOL_CONNECTIONS
from tests.integration.conftest import database_settings
from tests.support.fakes.worker_killer import children
from tests.support.servers.children import command_of
from tests.support.servers.databases import Servers
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import wait_until

WORKERS, SLOTS = 2, 8
MOST = WORKERS * SLOTS
# Says that it started; a payment and a quick text end at once, `hang` never, everything else when the test lets it.
PHP_BOT = """<?php
$update = json_decode(file_get_contents("php://input") ?: file_get_contents("php://stdin"), true);
file_put_contents(__DIR__ . "/started-" . $update["update_id"], getmypid() . "\\n", FILE_APPEND);
$text = $update["message"]["text"] ?? "quick";
while ($text === "hang" || ($text !== "quick" && !file_exists(__DIR__ . "/go"))) {
    usleep(20000);
}
"""
ASYNC_BOT = """
import asyncio, os, pathlib

HERE = pathlib.Path(__file__).parent

async def handle(update):
    with (HERE / f"started-{update['update_id']}").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    text = update.get("message", {}).get("text", "quick")
    while text == "hang" or (text != "quick" and not (HERE / "go").exists()):
        await asyncio.sleep(0.02)
"""
MODES = ("fastcgi", "cli", "async def")
# Every way to run a bot, and one of them on a server: how it is run and where the queue is do not meet, and what a
# database has to do with it is in tests/contract, on every one.
each_way = pytest.mark.parametrize(
    ("make", "mode"), [*(("sqlite", mode) for mode in MODES), ("mariadb-10.11", "async def")], indirect=["make"]
)
QUERIES = ("pre_checkout_query", "shipping_query", "callback_query", "inline_query", "pre_checkout_query")


class Slots:
    """A pool with a bot; what the bot has begun, and which of it the queue calls done."""

    def __init__(self, folder: Path, mode: str, **settings: str) -> None:
        self.folder = folder
        name = "bot.py" if mode == "async def" else "bot.php"
        bot = folder / name
        bot.write_text(ASYNC_BOT if mode == "async def" else PHP_BOT)
        modes = {} if mode == "async def" else {"BOT_LEGACY_MODE": mode}
        path = f"{bot}:handle" if mode == "async def" else str(bot)
        settings = {"BOT_WORKER_POOL_SIZE": str(WORKERS), "BOT_LEGACY_PATH": path, **modes, **settings}
        self.site = ServedSite(folder, bot, **settings)

    def send(self, update_id: int, text: str = "wait") -> None:
        """An update of a chat of its own."""
        chat = {"id": update_id, "type": "private"}
        self._deliver({"update_id": update_id, "message": {"message_id": 1, "date": 1, "chat": chat, "text": text}})

    def fill(self, and_waiting: int = 0) -> None:
        """Every slot runs an update that waits, and so many more are in the queue."""
        for update_id in range(1, MOST + and_waiting + 1):
            self.send(update_id)
        self.wait_for(lambda: len(self.begun()) == MOST)

    def ask(self, update_id: int, kind: str) -> None:
        """A query that somebody waits for, such as a payment, to be confirmed within ten seconds."""
        query = {"id": str(update_id), "from": {"id": update_id}, "currency": "EUR", "total_amount": 1}
        self._deliver({"update_id": update_id, kind: query})

    def _deliver(self, update: object) -> None:
        answer = self.site.send(update)
        assert answer.status == 200, answer

    def begun(self) -> set[int]:
        """The updates the bot has begun with."""
        return {int(path.name.partition("-")[2]) for path in self.folder.glob("started-*")}

    def runs(self, update_id: int) -> int:
        """How often the bot began with one."""
        return len((self.folder / f"started-{update_id}").read_text().splitlines())

    def let_go(self) -> None:
        """Every run that waits ends now."""
        (self.folder / "go").touch()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return once it is true."""
        wait_until(condition, lambda: (sorted(self.begun()), self.counts(), self.site.log.read_text()))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        return {name: count for name, count in self.site.counts().items() if count and name != "total"}


@pytest.fixture
def make(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Callable[..., Slots]]:
    """Starts a pool on either database."""
    database = database_settings(servers, getattr(request, "param", "sqlite"))
    with ExitStack() as stack:

        def make(mode: str, **settings: str) -> Slots:
            slots = Slots(tmp_path, mode, **database, **settings)
            stack.enter_context(slots.site)
            stack.callback(slots.let_go)
            return slots

        yield make


@each_way
def test_a_worker_runs_as_many_updates_at_the_same_time_as_it_has_slots(make: Callable[..., Slots], mode: str) -> None:
    slots = make(mode)
    slots.fill(and_waiting=2)

    assert slots.counts() == {"pending": 2, "processing": MOST}
    slots.let_go()

    slots.wait_for(lambda: slots.counts() == {"done": MOST + 2})
    assert [slots.runs(update_id) for update_id in slots.begun()] == [1] * (MOST + 2)


@each_way
def test_a_payment_does_not_wait_for_slots_that_are_all_busy(make: Callable[..., Slots], mode: str) -> None:
    """F11: however long the others take; nor does any other query that somebody waits for."""
    slots = make(mode)
    slots.fill(and_waiting=1)

    for number, kind in enumerate(QUERIES, 1):
        slots.ask(1000 + number, kind)
        slots.wait_for(lambda number=number: 1000 + number in slots.begun())  # type: ignore[misc]

    slots.wait_for(lambda: slots.counts() == {"pending": 1, "processing": MOST, "done": 5})


@each_way
def test_a_run_that_hangs_is_ended_and_delays_no_other(make: Callable[..., Slots], mode: str) -> None:
    slots = make(mode, BOT_LEGACY_TIMEOUT="5", BOT_JOB_MAX_ATTEMPTS="1", BOT_BREAKER="0")  # three hang alike
    for update_id in range(1, 4):
        slots.send(update_id, "hang")
    slots.wait_for(lambda: {1, 2, 3} <= slots.begun())

    for update_id in range(10, 30):
        slots.send(update_id, "quick")

    slots.wait_for(lambda: slots.counts().get("done") == 20)
    slots.wait_for(lambda: slots.counts() == {"done": 20, "failed": 3})
    assert [slots.runs(update_id) for update_id in slots.begun()] == [1] * 23


@each_way
def test_what_a_killed_worker_was_running_is_run_again_at_once(make: Callable[..., Slots], mode: str) -> None:
    """Its leases would last for a minute; the pool sees it die, and all of its bots are ended with it."""
    slots = make(mode, BOT_WORKER_POOL_SIZE="1")
    for update_id in range(1, SLOTS + 1):
        slots.send(update_id)
    slots.wait_for(lambda: len(slots.begun()) == SLOTS)
    (worker,) = [child for child in children(slots.site.pool.pid) if "worker.py" in command_of(child)]
    began = time.monotonic()

    os.kill(worker, signal.SIGKILL)

    slots.wait_for(lambda: all(slots.runs(update_id) == 2 for update_id in slots.begun()))
    assert time.monotonic() - began < 50  # a lease lasts 60 s
    slots.let_go()
    slots.wait_for(lambda: slots.counts() == {"done": SLOTS})


def test_sixteen_slots_of_two_workers_share_one_connection_each(servers: Servers, tmp_path: Path) -> None:
    """And the pool's own process has its three at most, for its web server, watcher and maintenance."""
    slots = Slots(tmp_path, "fastcgi", **database_settings(servers, "mariadb-10.11"))
    name = slots.site.environment["BOT_DB_NAME"]
    with slots.site, servers.get("mariadb-10.11").connect() as connection, connection.cursor() as cursor:
        slots.fill()

        def count() -> int:
            cursor.execute("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = %s", (name,))
            [(found,)] = cursor.fetchall()
            return int(found)

        # In the end: a server lists for a moment longer what its client has closed.
        wait_until(lambda: WORKERS <= count() <= WORKERS + POOL_CONNECTIONS, count)
        slots.let_go()
