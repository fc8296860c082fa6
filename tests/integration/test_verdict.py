"""The verdict of a real pool with a Bot API server beside it, seen by whoever asks, while nobody looks at the page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes.bot_api import TOKEN, FakeBotApi
from tests.support.generators.bots import python_bot
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import request, wait_until

OURS, THEIRS = "https://example.com/scalable/webhook_queue.py", "https://elsewhere.example/bot.php?s=hush"
GROUP, SUPERGROUP = "-4711", -1004711
# A pool asks twenty seconds after its start, and every minute.
PATIENCE_SECONDS = 150.0


@pytest.fixture
def api() -> Iterator[FakeBotApi]:
    with FakeBotApi() as api:
        api.webhook_url = OURS
        yield api


def a_site(folder: Path, api: FakeBotApi, **settings: str) -> ServedSite:
    bot = python_bot(folder, "import sys; sys.stdin.read()")
    return ServedSite(folder, bot, **{"BOT_TOKEN": TOKEN, "BOT_API_URL": api.url, **settings})


def health(site: ServedSite) -> Any:
    """What a monitor is told; the same in a shell."""
    answer = request(f"{site.dashboard_url}?format=health{site.query}")
    told = answer.json()
    assert answer.status == (200 if told["state"] == "working" else 503), answer
    assert told["ok"] is (told["state"] == "working")
    return told


def codes(site: ServedSite) -> list[str]:
    return [reason["code"] for reason in health(site)["reasons"]]


def run_an_update(site: ServedSite) -> None:
    site.send({"update_id": 1, "message": {"chat": {"id": 7}, "text": "hello"}})
    site.wait_for_counts(done=1)


def wait_for_state(site: ServedSite, state: str) -> None:
    wait_until(lambda: health(site)["state"] == state, lambda: health(site), PATIENCE_SECONDS)


def wait_until_asked(site: ServedSite, api: FakeBotApi) -> None:
    wait_until(
        lambda: "getwebhookinfo" in api.methods(), lambda: (api.methods(), site.log.read_text()), PATIENCE_SECONDS
    )


def test_f15_a_webhook_that_is_not_here_is_not_called_working_by_anybody(tmp_path: Path, api: FakeBotApi) -> None:
    """F15: no alerts are set up, and no page is opened."""
    api.webhook_url = THEIRS
    with a_site(tmp_path, api) as site:
        run_an_update(site)
        wait_for_state(site, "setting_up")

        [reason] = health(site)["reasons"]
        assert (reason["code"], "elsewhere.example" in reason["text"]) == ("webhook_elsewhere", True)
        assert "hush" not in json.dumps(health(site))
        shell, status = site.run("worker_pool.py", "--health"), site.run("worker_pool.py", "--status")
        assert (shell.returncode, shell.stdout.splitlines()[0]) == (1, "setting up")
        assert (status.returncode, "verdict  setting up\n" in status.stdout) == (0, True)
        assert "Telegram brings the updates to another address" in status.stdout
        check = site.run("config.py")
        assert "verdict: setting up" in check.stdout
        metrics = request(f"{site.dashboard_url}?format=prometheus{site.query}").body.decode()
        assert 'scalable_state{state="setting_up"} 1\n' in metrics
        assert 'scalable_reason{code="webhook_elsewhere"} 1\n' in metrics
        assert "Setting up" in site.owner().page()


def test_f33_a_webhook_that_goes_away_is_down_and_its_owner_is_told(tmp_path: Path, api: FakeBotApi) -> None:
    with a_site(tmp_path, api, BOT_ALERT_CHAT_ID="4711") as site:
        run_an_update(site)
        wait_until_asked(site, api)
        wait_for_state(site, "working")
        assert site.run("worker_pool.py", "--health").stdout == "working\n"
        assert "sendmessage" not in api.methods()

        api.webhook_url = ""
        wait_for_state(site, "down")

        assert codes(site) == ["no_webhook"]
        wait_until(lambda: "sendmessage" in api.methods(), api.methods, PATIENCE_SECONDS)
        [told] = api.named("sendMessage")
        assert "no webhook is set, so Telegram brings no update" in told["text"]
        check = site.run("config.py")
        assert "warning  verdict: down\nwarning  verdict: no webhook is set" in check.stdout


def test_f33_a_fresh_error_of_telegram_is_seen_while_nobody_looks_at_the_page(tmp_path: Path, api: FakeBotApi) -> None:
    with a_site(tmp_path, api) as site:
        run_an_update(site)
        api.webhook_facts = {"last_error_date": int(time.time()), "last_error_message": "Connection timed out"}
        wait_for_state(site, "degraded")

        assert codes(site) == ["webhook"]


def test_f33_of_the_kind_a_telegram_that_cannot_be_reached_is_only_mentioned(tmp_path: Path) -> None:
    with FakeBotApi() as api:
        pass  # it has ended before anybody asks
    with a_site(tmp_path, api) as site:
        run_an_update(site)
        wait_until(lambda: health(site)["remarks"], lambda: (health(site), site.log.read_text()), PATIENCE_SECONDS)

        told = health(site)
        assert (told["state"], [remark["code"] for remark in told["remarks"]]) == ("working", ["webhook_unknown"])
        assert "where the webhook points is not known yet" in told["remarks"][0]["text"]


def test_f33_of_the_kind_without_a_token_nobody_is_asked(tmp_path: Path, api: FakeBotApi) -> None:
    with a_site(tmp_path, api, BOT_TOKEN="") as site:
        run_an_update(site)
        tick = site.run("worker_pool.py", "--health")

        assert (health(site)["state"], tick.stdout) == ("working", "working\n")
    assert api.calls == []


def test_f33_alerts_follow_a_group_that_became_a_supergroup(tmp_path: Path, api: FakeBotApi) -> None:
    api.moved[GROUP] = SUPERGROUP
    with a_site(tmp_path, api, BOT_ALERT_CHAT_ID=GROUP) as site:
        run_an_update(site)
        site.run("dashboard.py", "pause").check_returncode()
        wait_until(lambda: api.methods().count("sendmessage") == 2, site.log.read_text, PATIENCE_SECONDS)
        check = site.run("config.py")

    assert [str(told["chat_id"]) for told in api.named("sendMessage")] == [GROUP, str(SUPERGROUP)]
    assert f"set BOT_ALERT_CHAT_ID={SUPERGROUP}" in site.log.read_text()
    assert f"set BOT_ALERT_CHAT_ID={SUPERGROUP}" in check.stdout
