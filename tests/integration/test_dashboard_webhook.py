"""The webhook on the dashboard and in a shell, against a Bot API server of the tests' own."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.bot_api import TOKEN, FakeBotApi, refuses, stalls
from tests.support.generators.visitor import Visitor
from tests.support.places import REPOSITORY
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import wait_until

PY_BOT = REPOSITORY / "examples" / "bot.py"
OLD, NEW = "https://example.com/bot.php?key=hush", "https://example.com/scalable/webhook_queue.py"


@pytest.fixture
def telegram() -> Iterator[FakeBotApi]:
    with FakeBotApi() as api:
        api.webhook_url = OLD
        yield api


@pytest.fixture
def site(tmp_path: Path, telegram: FakeBotApi) -> Iterator[ServedSite]:
    settings = {"BOT_TOKEN": TOKEN, "BOT_API_URL": telegram.url, "BOT_WEBHOOK_SECRET": "hush-secret"}
    with ServedSite(tmp_path, PY_BOT, **settings) as served:
        yield served


@pytest.fixture
def visitor(site: ServedSite) -> Visitor:
    return site.owner()


def asked(telegram: FakeBotApi) -> int:
    return telegram.methods().count("getwebhookinfo")


def test_what_telegram_says_is_there_after_the_first_look_and_says_how_old_it_is(
    telegram: FakeBotApi, visitor: Visitor
) -> None:
    telegram.webhook_facts = {
        "pending_update_count": 1234,
        "last_error_date": int(time.time()) - 5_000,
        "max_connections": 10,
        "last_error_message": "Wrong response from the webhook: <b>500</b>",
    }
    assert "Telegram is being asked." in visitor.page()

    wait_until(lambda: "Telegram said so" in visitor.page("?part=live"), telegram.methods)

    page = visitor.page()
    assert "1,234" in page
    assert "Wrong response from the webhook: &lt;b&gt;500&lt;/b&gt;" in page
    assert re.search(r"Telegram said so</dt><dd><time datetime", page)
    shown = visitor.json()["webhook"]
    assert (shown["url"], shown["pending"], shown["trouble"]) == ("https://example.com/bot.php", 1234, "")


def test_telegram_is_asked_once_a_minute_however_often_the_page_is_opened(
    telegram: FakeBotApi, visitor: Visitor
) -> None:
    for _ in range(10):
        visitor.page()
    wait_until(lambda: asked(telegram) == 1, telegram.methods)
    for _ in range(10):
        visitor.page("?part=live")

    assert asked(telegram) == 1


def test_a_telegram_that_does_not_answer_slows_no_page_down(telegram: FakeBotApi, visitor: Visitor) -> None:
    visitor.page()
    wait_until(lambda: asked(telegram) == 1, telegram.methods)
    telegram.will("getWebhookInfo", *[stalls(30)] * 3)
    began = time.monotonic()

    for _ in range(5):
        visitor.page()

    assert time.monotonic() - began < 12  # each would wait for three seconds


def test_the_first_page_does_not_wait_for_it_either(telegram: FakeBotApi, visitor: Visitor) -> None:
    telegram.will("getWebhookInfo", stalls(30))
    visitor.get("/static/icon.svg")

    assert "Telegram is being asked." in visitor.page()  # it was not waited for

    wait_until(lambda: "could not be asked" in visitor.page("?part=live"), visitor.page)


def test_a_delivery_that_failed_just_now_is_a_reason_to_look(telegram: FakeBotApi, visitor: Visitor) -> None:
    telegram.webhook_facts = {"last_error_date": int(time.time()), "last_error_message": "Connection timed out"}
    visitor.press("webhook-check")

    assert "Telegram cannot deliver to the webhook: Connection timed out" in visitor.page()
    answer = visitor.get("?format=health&silent=100000")
    assert (answer.status, "webhook" in [reason["code"] for reason in answer.json()["reasons"]]) == (503, True)


@pytest.mark.parametrize(("button", "url"), [("webhook-set", NEW), ("webhook-back", OLD)])
def test_f34_the_page_tells_that_a_certificate_of_its_own_got_lost(
    telegram: FakeBotApi, visitor: Visitor, button: str, url: str
) -> None:
    """F34: of the kind, by a button instead of the shell."""
    telegram.webhook_facts = {"has_custom_certificate": True}
    visitor.press("webhook-check")

    done = visitor.press(button, sure="yes", url=url)

    assert done.headers["Location"].endswith("?did=webhook_set_certificate&n=0")
    page = visitor.page(f"?{done.headers['Location'].partition('?')[2]}")
    assert "It had a certificate of its own, which Telegram has forgotten" in page


def test_setting_it_asks_first_sends_the_secret_and_remembers_where_it_pointed(
    telegram: FakeBotApi, site: ServedSite, visitor: Visitor
) -> None:
    asked_first = visitor.press("webhook-set")
    assert asked_first.status == 200
    assert 'value="https://127.0.0.1' in asked_first.body.decode()
    assert "setwebhook" not in telegram.methods()

    done = visitor.press("webhook-set", sure="yes", url=NEW)

    assert done.headers["Location"].endswith("?did=webhook_set&n=0")
    call = next(call for call in telegram.calls if call.method == "setwebhook")
    assert call.parameters == {"url": NEW, "max_connections": 10, "secret_token": "hush-secret"}
    assert telegram.webhook_url == NEW
    page = visitor.page()
    assert NEW in page
    assert "Roll the webhook back" in page
    assert "webhook set by hand address=127.0.0.1" in site.log.read_text()

    back = visitor.press("webhook-back")
    assert f'value="{OLD}"' in back.body.decode()
    visitor.press("webhook-back", sure="yes", url=OLD)
    assert telegram.webhook_url == OLD


def test_what_telegram_refuses_is_said_in_its_words_and_changes_nothing(
    telegram: FakeBotApi, site: ServedSite, visitor: Visitor
) -> None:
    telegram.will("setWebhook", refuses("Bad Request: bad webhook: HTTPS URL must be provided for webhook"))

    answer = visitor.press("webhook-set", sure="yes", url="http://example.com/x")

    assert answer.status == 502
    assert "HTTPS URL must be provided" in answer.body.decode()
    assert telegram.webhook_url == OLD
    assert visitor.press("webhook-set", sure="yes", url="ftp://x").status == 400
    assert visitor.press("webhook-set", sure="yes", url='https://x"><b>').status == 400
    for secret in ("hush", TOKEN.partition(":")[2]):
        assert secret not in site.log.read_text().replace(OLD, "")
        assert secret not in answer.body.decode()


def test_without_a_token_the_page_says_what_to_set(tmp_path: Path) -> None:
    with ServedSite(tmp_path, PY_BOT) as site:
        visitor = site.owner()

        assert "Set BOT_TOKEN in scalable/.htenv" in visitor.page()
        assert visitor.press("webhook-check").status == 400


def test_a_reader_sees_the_host_of_the_address_alone_and_no_buttons(tmp_path: Path, telegram: FakeBotApi) -> None:
    settings = {"BOT_TOKEN": TOKEN, "BOT_API_URL": telegram.url, "BOT_MONITOR_READ_TOKEN": "look"}
    with ServedSite(tmp_path, PY_BOT, **settings) as site:
        reader = Visitor(site.dashboard_url, X_Forwarded_For="203.0.113.7").log_in("look")
        reader.page()
        wait_until(lambda: "https://example.com/…" in reader.page("?part=live"), telegram.methods)

        page = reader.page()
        assert "hush" not in page
        assert "bot.php" not in page + reader.get("?format=json").body.decode()
        assert "webhook-set" not in page


class TestShell:
    def test_it_shows_sets_and_rolls_back(self, telegram: FakeBotApi, site: ServedSite) -> None:
        shown = site.run("dashboard.py", "webhook")
        put = site.run("dashboard.py", "webhook", "--set", NEW)
        back = site.run("dashboard.py", "webhook", "--back")

        assert f"webhook: {OLD}" in shown.stdout
        assert f"webhook: {NEW}\n" in put.stdout
        assert f"before: {OLD}" in put.stdout
        assert f"webhook: {OLD}" in back.stdout
        assert telegram.webhook_url == OLD

    @pytest.mark.parametrize(
        ("arguments", "settings", "message"),
        [
            (["webhook"], {"BOT_TOKEN": ""}, "BOT_TOKEN is empty"),
            (["webhook", "--set", "x"], {}, "set 'x': expected an address"),
            (["webhook", "--back"], {}, "is not known: name the address: webhook_queue.py rollback URL"),
        ],
    )
    def test_a_wrong_command_says_why(
        self, site: ServedSite, arguments: list[str], settings: dict[str, str], message: str
    ) -> None:
        finished = site.run("dashboard.py", *arguments, **settings)

        assert (finished.returncode, message in finished.stderr) == (2, True)
