"""webhook_queue.py poll: updates by getUpdates, over real HTTP, from a Bot API server of the tests' own."""

from __future__ import annotations

import json
import signal
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes.bot_api import TOKEN, FakeBotApi, drops_in_answer, fails, is_busy, refuses, says, stalls
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.children import Child, tail
from tests.support.servers.database_servers import available, start_server
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import wait_until
from tests.support.waiting import PATIENCE_SECONDS, SOON_SECONDS

PY_BOT = REPOSITORY / "examples" / "bot.py"
OTHER_POLLER = refuses(
    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running", 409
)


def update(number: int, text: str = "hi") -> dict[str, Any]:
    chat = {"id": number % 3 + 1, "type": "private"}
    return {"update_id": number, "message": {"message_id": number, "date": 1, "chat": chat, "text": text}}


@pytest.fixture
def telegram() -> Iterator[FakeBotApi]:
    with FakeBotApi() as api:
        yield api


@pytest.fixture
def site(tmp_path: Path, telegram: FakeBotApi) -> ServedSite:
    """Its settings; of its processes a test starts those it needs."""
    return ServedSite(tmp_path, PY_BOT, BOT_TOKEN=TOKEN, BOT_API_URL=telegram.url, BOT_LOG_LEVEL="DEBUG")


@pytest.fixture
def poll(site: ServedSite) -> Iterator[Child]:
    """The poller, not started yet; its log must not hold the token."""
    child = Child(site.command("webhook_queue.py", "poll"), log=site.folder / "poll.log", environment=site.environment)
    yield child
    child.close()
    assert TOKEN.partition(":")[2] not in said(site)
    assert stat.S_IMODE((site.folder / "poll.log").stat().st_mode) == 0o600


def said(site: ServedSite) -> str:
    return tail(site.folder / "poll.log", 100_000)


def jobs(site: ServedSite) -> list[int]:
    """The update_id of every job, in the order they were stored."""
    done = site.run("dashboard.py", "list", "--json")
    return [job["update_id"] for job in reversed(json.loads(done.stdout)["jobs"])]


def waits(site: ServedSite, text: str, times: int = 1) -> None:
    wait_until(lambda: said(site).count(text) >= times, lambda: said(site))


def ends(poll: Child, site: ServedSite, within_seconds: float = PATIENCE_SECONDS) -> int | None:
    wait_until(lambda: not poll.is_running(), lambda: said(site), within_seconds)
    return poll.exit_code


def asked(telegram: FakeBotApi) -> list[int | None]:
    """The offset of every getUpdates so far."""
    return [call.parameters.get("offset") for call in telegram.calls if call.method == "getupdates"]


def test_updates_go_through_the_queue_to_the_bot_as_they_are(
    site: ServedSite, telegram: FakeBotApi, poll: Child
) -> None:
    odd = {"update_id": 7, "message": {"text": "Grüße 👋\u0000\ud83d", "chat": {"id": 2**53 - 1}, "x": 1.25e-7}}
    telegram.bring(*(update(number) for number in range(1, 6)), odd)
    with site:
        wait_until(lambda: len(site.overview()["workers"]) == 2, site.overview)
        poll.start()
        site.wait_for_counts(done=6)
        telegram.bring(update(8))
        site.wait_for_counts(done=7)
        detail = site.run("dashboard.py", "show", "6").stdout

    assert jobs(site) == [1, 2, 3, 4, 5, 7, 8]
    assert "no worker runs" not in said(site)
    with sqlite3.connect(site.folder / "data" / ".ht-queue.sqlite3") as database:
        [(payload,)] = database.execute("SELECT payload FROM bot_jobs WHERE update_id = 7").fetchall()
    assert json.loads(payload) == odd
    assert "update 7, lane" in detail


def test_an_update_is_confirmed_only_after_it_was_committed(
    site: ServedSite, telegram: FakeBotApi, poll: Child
) -> None:
    """Given a database that somebody else holds when the update comes."""
    site.run("config.py")
    holder = sqlite3.connect(site.folder / "data" / ".ht-queue.sqlite3", isolation_level=None)
    poll.start()
    waits(site, "polling began")
    holder.execute("BEGIN IMMEDIATE")
    telegram.bring(update(1))
    waits(site, "no updates fetched")

    assert set(asked(telegram)) == {None}
    assert [each["update_id"] for each in telegram.updates] == [1]

    holder.execute("ROLLBACK")
    holder.close()
    wait_until(lambda: 2 in asked(telegram), lambda: said(site))
    assert jobs(site) == [1]


def test_a_database_that_goes_away_is_told_and_waited_for_and_nothing_is_lost(
    tmp_path: Path, telegram: FakeBotApi
) -> None:
    need(available("mariadb-10.11"))
    server = start_server("mariadb-10.11", tmp_path)
    database = {
        "BOT_DB_HOST": server.socket,
        "BOT_DB_NAME": server.create_database(),
        "BOT_DB_USER": server.user,
        "BOT_DB_PASS": server.password,
    }
    site = ServedSite(tmp_path, PY_BOT, BOT_TOKEN=TOKEN, BOT_API_URL=telegram.url, **database)
    child = Child(site.command("webhook_queue.py", "poll"), log=tmp_path / "poll.log", environment=site.environment)
    try:
        child.start()
        waits(site, "polling began")
        server.process.kill()
        telegram.bring(update(1), update(2))
        waits(site, "no updates fetched")
        assert set(asked(telegram)) == {None}

        server.restart()
        wait_until(lambda: not telegram.updates, lambda: said(site))

        assert jobs(site) == [1, 2]
        assert server.password not in said(site)
    finally:
        child.close()
        server.stop()


def test_what_was_stored_and_not_confirmed_when_it_was_killed_is_stored_once(
    site: ServedSite, telegram: FakeBotApi, poll: Child
) -> None:
    telegram.bring(update(1), update(2))
    telegram.will("getUpdates", says(json.dumps({"ok": True, "result": telegram.updates}).encode()), stalls(60))
    poll.start()
    wait_until(lambda: asked(telegram) == [None, 3], lambda: said(site))

    poll.kill()
    assert len(telegram.updates) == 2
    poll.start()

    waits(site, "duplicate update ignored", times=2)
    wait_until(lambda: not telegram.updates, lambda: said(site))
    assert jobs(site) == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_question_that_is_open_at_once_and_confirms_what_was_stored(
    site: ServedSite, telegram: FakeBotApi, poll: Child, number: signal.Signals
) -> None:
    telegram.bring(update(1), update(2))
    telegram.will("getUpdates", says(json.dumps({"ok": True, "result": telegram.updates}).encode()), stalls(60))
    poll.start()
    wait_until(lambda: asked(telegram) == [None, 3], lambda: said(site))
    began = time.monotonic()

    poll.send(number)

    assert ends(poll, site) == 0
    assert time.monotonic() - began < SOON_SECONDS
    assert telegram.updates == []
    assert "Traceback" not in said(site)
    assert said(site).endswith("polling ended")


def test_while_a_webhook_is_set_it_refuses_and_names_the_remedy(
    site: ServedSite, telegram: FakeBotApi, poll: Child
) -> None:
    telegram.webhook_url = "https://example.com/bot.php?key=hush"
    telegram.bring(update(1))

    poll.start()

    assert ends(poll, site) == 2
    assert "brings the updates of this bot to https://example.com/bot.php," in said(site)
    assert "take that webhook away first: webhook_queue.py delete" in said(site)
    assert "hush" not in said(site)
    assert telegram.webhook_url == "https://example.com/bot.php?key=hush"
    assert "getupdates" not in telegram.methods()


def test_a_webhook_that_is_set_meanwhile_ends_it_with_the_same_words(
    site: ServedSite, telegram: FakeBotApi, poll: Child
) -> None:
    telegram.bring(update(1))
    telegram.will("getUpdates", says(json.dumps({"ok": True, "result": telegram.updates}).encode()))
    telegram.webhook_url = ""
    poll.start()
    wait_until(lambda: asked(telegram)[-1:] == [2], lambda: said(site))

    telegram.webhook_url = "https://example.com/scalable/webhook_queue.py"
    telegram.bring(update(2))
    waits(site, "update_id=2")

    assert ends(poll, site) == 2
    assert "webhook_queue.py delete" in said(site)


def test_another_poller_is_told_and_one_that_stays_ends_this_one(
    site: ServedSite, telegram: FakeBotApi, poll: Child
) -> None:
    telegram.will("getUpdates", *[OTHER_POLLER] * 10)

    poll.start()

    assert ends(poll, site) == 1
    assert said(site).count("no updates fetched") == 3
    assert "another program asks for the updates of this bot" in said(site)


def test_another_poller_that_goes_away_is_waited_for(site: ServedSite, telegram: FakeBotApi, poll: Child) -> None:
    telegram.will("getUpdates", OTHER_POLLER, OTHER_POLLER)
    telegram.bring(update(1))

    poll.start()

    wait_until(lambda: not telegram.updates, lambda: said(site))
    assert jobs(site) == [1]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(lambda: [fails(500), fails(502)], id="Telegram fails"),
        pytest.param(lambda: [drops_in_answer(), drops_in_answer()], id="half of the answer"),
        pytest.param(lambda: [is_busy(1), is_busy(1)], id="too many requests"),
        pytest.param(lambda: [says(b"<h1>Hello</h1>", 503), says(b'{"ok":true,"result":{}}')], id="not the Bot API"),
        pytest.param(lambda: [says(b'{"ok":true,"result":[{"message":{}}]}'), fails(500)], id="no number"),
    ],
)
def test_trouble_is_told_and_waited_out_longer_each_time(
    site: ServedSite, telegram: FakeBotApi, poll: Child, trouble: Callable[[], list[Any]]
) -> None:
    telegram.will("getUpdates", *trouble())
    telegram.bring(update(1))
    began = time.monotonic()

    poll.start()

    wait_until(lambda: not telegram.updates, lambda: said(site))
    assert time.monotonic() - began >= 3.0
    assert [line for line in ("retry_in=1 ", "retry_in=2 ") if f"no updates fetched {line}" not in said(site)] == []
    assert jobs(site) == [1]


def test_a_telegram_that_cannot_be_reached_is_waited_for_and_ctrl_c_still_ends_it(tmp_path: Path) -> None:
    with FakeBotApi() as gone:
        port = gone.port
    site = ServedSite(tmp_path, PY_BOT, BOT_TOKEN=TOKEN, BOT_API_URL=f"http://127.0.0.1:{port}")
    child = Child(site.command("webhook_queue.py", "poll"), log=tmp_path / "poll.log", environment=site.environment)
    child.start()
    try:
        waits(site, "cannot be reached", times=2)
        with FakeBotApi(port=port) as telegram:
            telegram.bring(update(1))
            wait_until(lambda: not telegram.updates, lambda: said(site))
        waits(site, "cannot be reached", times=3)
        child.send(signal.SIGINT)
        assert ends(child, site, 10) == 0
    finally:
        child.close()


def test_a_wrong_token_ends_it(site: ServedSite, poll: Child, telegram: FakeBotApi) -> None:
    telegram.token = "1:another"

    poll.start()

    assert ends(poll, site) == 1
    assert "the token in BOT_TOKEN is wrong" in said(site)


def test_a_hundred_long_updates_come_in_one_answer(site: ServedSite, telegram: FakeBotApi, poll: Child) -> None:
    telegram.bring(*(update(number, "ü" * 4096) for number in range(1, 101)))

    poll.start()

    wait_until(lambda: not telegram.updates, lambda: said(site))
    assert asked(telegram)[:2] == [None, 101]
    assert jobs(site) == [*range(1, 101)]
    assert "no worker runs, updates are only stored" in said(site)
