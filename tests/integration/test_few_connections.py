"""A server that allows ten connections, and Telegram on forty: the workers get theirs, and no update is refused."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stress.arrivals import arrivals
from tests.stress.senders import Senders
from tests.support.generators.bots import python_bot
from tests.support.need import need
from tests.support.servers.database_servers import DatabaseServer, available, start_server
from tests.support.servers.served_installation import ServedSite

SERVER, CONNECTIONS, OF_TELEGRAM, UPDATES = "mariadb-10.11", 10, 40, 1_500


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[DatabaseServer]:
    need(available(SERVER))
    server = start_server(SERVER, tmp_path / "server", extra_args=(f"--max-connections={CONNECTIONS}",))
    yield server
    server.stop()


def test_a_rush_of_updates_leaves_connections_to_the_workers_and_no_line_for_each_in_the_log(
    tmp_path: Path, small_server: DatabaseServer
) -> None:
    bot = python_bot(tmp_path, "def handle(update): pass", "bot.py")
    with ServedSite(
        tmp_path,
        Path(f"{bot}:handle"),
        BOT_DB_HOST=f"127.0.0.1:{small_server.port}",
        BOT_DB_NAME=small_server.create_database(),
        BOT_DB_USER=small_server.user,
        BOT_DB_PASS=small_server.password,
        BOT_WORKER_POOL_SIZE="5",
    ) as site:
        senders = Senders([site.webhook_url] * OF_TELEGRAM)
        senders.run(arrivals(UPDATES, random.Random(1), fails_one_in=10**9), rate=10_000)
        accepted = senders.finish(30)
        site.wait_for_counts(pending=0, processing=0)

    log = site.log.read_text()
    assert len(accepted) == UPDATES
    assert senders.refusals() == {}
    assert "Too many connections" not in log
    assert "Task queue depth" not in log
