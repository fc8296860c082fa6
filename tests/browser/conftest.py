"""A browser, and dashboards to open in it: by the pool's own server and under Apache's CGI, both on MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from tests.integration.conftest import make_site  # noqa: F401 - a fixture
from tests.support.need import need
from tests.support.servers.chromium import DESKTOP, Tab, chromium_available, running_chromium
from tests.support.servers.databases import Servers
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import Answer, Site

DATABASE = "mariadb-10.11"
TOKEN, READ_TOKEN = "let-me-in", "let-me-look"
# Of every wait; a busy machine under CGI needs it.
PATIENCE_MS = 60_000
# Fails on "fail" until the file says that it was repaired.
BOT = """
import json, pathlib, sys
update = json.load(sys.stdin)
if update["message"]["text"] == "fail" and not (pathlib.Path(__file__).parent / ".ht-repaired").exists():
    sys.exit("no such chat")
"""


class Place:
    """An installation as a test uses it: updates go in, the queue can be looked at from behind."""

    def __init__(self, site: Any, folder: Path, queue: DatabaseQueue) -> None:
        self.url: str = site.dashboard_url.split("?")[0]
        self.queue = queue
        queue.ensure_schema()
        self._site = site
        self._folder = folder
        self._sent = 0

    def send(self, text: str = "hello", chat: int = 5550100) -> int:
        """One message; the id of its job."""
        self._sent += 1
        chat_and_name = {"id": chat, "type": "private", "first_name": "Ayu"}
        update = {"update_id": self._sent, "message": {"message_id": 1, "chat": chat_and_name, "text": text}}
        answer: Answer = self._site.send(update)
        job_id: int = answer.json()["queued_job_id"]
        return job_id

    def repair(self) -> None:
        """From now on the bot does not fail."""
        (self._folder / ".ht-repaired").touch()

    def wait_for_counts(self, **expected: int) -> None:
        """Return once there are so many jobs in these states."""
        self._site.wait_for_counts(**expected)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser of the whole run."""
    need(chromium_available())
    expect.set_options(timeout=PATIENCE_MS)
    with running_chromium() as browser:
        yield browser


# Its bot fails on purpose in many chats, which otherwise is an outage.
SETTINGS = {
    "BOT_MONITOR_TOKEN": TOKEN,
    "BOT_MONITOR_READ_TOKEN": READ_TOKEN,
    "BOT_JOB_MAX_ATTEMPTS": "1",
    "BOT_BREAKER": "0",
}


@pytest.fixture(params=["pool", "apache"])
def place(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Place]:
    """A dashboard in both ways to serve it, its workers running."""
    yield from (_under_apache if request.param == "apache" else _by_the_pool)(request, servers, tmp_path)


@pytest.fixture
def pool_place(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Place]:
    """One served by the pool: for what does not depend on the server."""
    yield from _by_the_pool(request, servers, tmp_path)


def _by_the_pool(request: pytest.FixtureRequest, servers: Servers, folder: Path) -> Iterator[Place]:
    address = servers.fresh_database(DATABASE)
    bot = folder / "bot.py"
    bot.write_text(BOT)
    database = {
        "BOT_DB_HOST": address.socket or "",
        "BOT_DB_NAME": address.database,
        "BOT_DB_USER": address.user,
        "BOT_DB_PASS": address.password,
    }
    with ServedSite(folder, bot, **database, **SETTINGS) as site:
        site.query = f"&token={TOKEN}"
        yield Place(site, folder, DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy()))


def _under_apache(request: pytest.FixtureRequest, servers: Servers, folder: Path) -> Iterator[Place]:
    bot = folder / "bot.py"
    bot.write_text(BOT)
    make: Callable[..., Site] = request.getfixturevalue("make_site")
    site = make(bot, DATABASE, **SETTINGS)
    settings = dict(line.split("=", 1) for line in (site.plugin / ".htenv").read_text().splitlines())
    site.start_pool()
    database = settings["BOT_DB_NAME"].strip("'")
    server = servers.get(DATABASE)
    address = MySqlAddress("localhost", server.port, str(server.socket), database, server.user, server.password)
    site.wait_for_counts(total=0)
    yield Place(site, site.root, DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy()))


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Opens pages: open_page(url, token, expected_statuses=(403,), viewport=PHONE, locale="id-ID" …).

    A page that reports an error, shows a dialog or asks another machine for something fails its test.
    """
    tabs: list[tuple[Any, Tab]] = []

    def open_it(
        url: str, token: str | None = TOKEN, *, expected_statuses: tuple[int, ...] = (), **options: Any
    ) -> Page:
        settings = {"viewport": DESKTOP, "locale": "en-GB", "timezone_id": "Asia/Jakarta", **options}
        context = chromium.new_context(**settings)
        context.set_default_timeout(PATIENCE_MS)
        tab = Tab(context, expected_statuses)
        tabs.append((context, tab))
        if token is not None:
            tab.page.goto(f"{url.split('.py')[0]}.py?token={token}")
        tab.page.goto(url)
        return tab.page

    yield open_it
    for context, tab in tabs:
        context.close()
        tab.check()
