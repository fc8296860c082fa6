"""Alerts on a real SQLite queue and a real HTTP server in Telegram's place: what is told, once, and what is not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.pool.alerts import Alerts
from scalable.lib.pool.webhook_admin import WebhookAdmin
from scalable.lib.queue.notes import ALERT_CHAT, BREAKER, PAUSED, moved_chat
from scalable.lib.queue.outages import Outages
from scalable.lib.telegram.bot_api import BotApi
from scalable.lib.telegram.update import Update
from tests.support.fakes.bot_api import TOKEN, FakeBotApi, fails, refuses, says
from tests.support.fakes.worker_bench import Bench

CHAT = "-1001234"
OURS = "https://example.com/scalable/webhook_queue.py"


class Watchtower:
    """A queue with a worker that lives, its alerts, and what the owner was told."""

    def __init__(self, folder: Path, api: FakeBotApi) -> None:
        self.bench = Bench(folder)
        self.api = api
        self.alerts = self.new_leader()
        self.notes = self.bench.queue.notes
        self.bench.worker.heartbeat.beat_and_flush_if_due()
        self.check()  # what lies in the past is not told

    def new_leader(self) -> Alerts:
        return Alerts(self.bench.queue, BotApi(TOKEN, self.api.url), CHAT, "example.com")

    def check(self) -> None:
        """What the leader does every minute."""
        WebhookAdmin(self.bench.queue, lambda seconds: BotApi(TOKEN, self.api.url, seconds), "").refresh_if_old()
        self.alerts.check()

    def told(self) -> list[str]:
        """The texts sent to the owner so far."""
        return [str(call.parameters["text"]) for call in self.api.calls if call.method == "sendmessage"]

    def pass_time(self, seconds: float) -> None:
        """Everything the queue remembers was so much longer ago; the worker still lives."""
        shift = f"'{-seconds:+g} seconds'"
        for text in self.bench.sql("SELECT value FROM bot_jobs_meta WHERE name = 'alerts'"):
            kept = str(text[0])
            for stamp in {part for part in kept.split('"') if part.startswith("20") and "T" in part}:
                ((moved,),) = self.bench.sql(f"SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', :at, {shift})", at=stamp)
                kept = kept.replace(stamp, str(moved))
            self.bench.sql("UPDATE bot_jobs_meta SET value = :value WHERE name = 'alerts'", value=kept)
        self.bench.sql(
            f"UPDATE bot_jobs_meta SET value = strftime('%Y-%m-%d %H:%M:%f', substr(value, 1, 23), {shift})"
            " || substr(value, 24) WHERE name = 'webhook'"
        )

    def fail_a_job(self, cause: str, minutes_ago: int) -> None:
        self.bench.queue.enqueue(Update("{}"))
        (job,) = self.bench.queue.claim("worker", 45)
        self.bench.queue.fail(job.lease, cause)
        self.bench.sql(
            "INSERT INTO bot_jobs_minutes (minute, failed) VALUES"
            f" (strftime('%Y-%m-%d %H:%M:00.000', 'now', '-{minutes_ago} minutes'), 1)"
            " ON CONFLICT (minute) DO UPDATE SET failed = failed + 1"
        )


@pytest.fixture
def api() -> Iterator[FakeBotApi]:
    with FakeBotApi() as api:
        api.webhook_url = OURS
        yield api


@pytest.fixture
def tower(tmp_path: Path, api: FakeBotApi) -> Watchtower:
    return Watchtower(tmp_path, api)


def test_all_is_well_and_nothing_is_told(tower: Watchtower):
    for _ in range(3):
        tower.pass_time(61)
        tower.check()

    assert tower.told() == []


def test_what_goes_wrong_is_told_once_and_that_it_is_right_again(tower: Watchtower):
    tower.notes.write(PAUSED, "by hand")
    for _ in range(3):
        tower.check()
        tower.pass_time(61)
    tower.notes.delete(PAUSED)
    tower.check()
    soon = tower.told()
    tower.pass_time(300)
    tower.check()

    assert len(soon) == 1
    assert soon[0].startswith("Scalable mode, example.com:\n• the queue is paused since ")
    assert tower.told()[1:] == ["Scalable mode, example.com:\n• all is well again"]


def test_what_comes_and_goes_is_told_once(tower: Watchtower):
    for _ in range(5):
        tower.notes.write(PAUSED, "by hand")
        tower.check()
        tower.pass_time(61)
        tower.notes.delete(PAUSED)
        tower.check()
        tower.pass_time(61)

    assert len(tower.told()) == 1


def test_an_outage_of_the_bot_s_side_is_told_with_its_cause_and_that_it_is_over(tower: Watchtower):
    outages = Outages(tower.bench.queue.table)
    outages.open("HTTP status 500", 2.0)
    for _ in range(3):
        tower.check()
        tower.pass_time(61)
    outages.close()
    tower.pass_time(300)
    tower.check()

    first, second = tower.told()
    assert re.fullmatch(
        r"Scalable mode, example\.com:\n• the bot's side is down since \d\d:\d\d UTC: HTTP status 500", first
    )
    assert second == "Scalable mode, example.com:\n• all is well again"


def test_updates_that_are_done_with_warnings_are_told_once(tower: Watchtower):
    tower.bench.sql(
        "INSERT INTO bot_jobs_minutes (minute, done, warned) VALUES (strftime('%Y-%m-%d %H:%M:00.000', 'now'), 4, 4)"
    )
    for _ in range(3):
        tower.check()
        tower.pass_time(61)

    (told,) = tower.told()
    assert "4 of the last 4 updates that are done ended with a warning" in told


def test_failed_updates_are_told_together_with_the_newest_cause(tower: Watchtower):
    tower.pass_time(600)
    tower.fail_a_job("exit code 255\nprivate words of a user", 3)
    tower.fail_a_job("HTTP status 500\nprivate words of a user", 2)

    tower.check()
    tower.pass_time(0)
    tower.check()

    assert tower.told() == ["Scalable mode, example.com:\n• 2 updates failed for good; the newest: HTTP status 500"]


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("PHP fatal error: Uncaught Exception: Ayu 5550100 in bot.php:3 (exit code 255)\nAyu", "PHP fatal error"),
        ("ValueError: Ayu (bot.py:3 in handle)", "ValueError"),
        ("Ayu said: 5550100", "…"),
    ],
)
def test_nothing_that_the_bot_said_goes_into_a_chat(tower: Watchtower, cause: str, told: str):
    outage = {"since": time.time() - 60, "cause": cause.partition("\n")[0], "step": 1, "prober": "", "probed": []}
    tower.pass_time(600)
    tower.fail_a_job(cause, 3)
    tower.notes.write(BREAKER, json.dumps(outage))

    tower.check()

    [text] = tower.told()
    assert f"the newest: {told}" in text
    assert f"UTC: {told}\n" in text
    assert "Ayu" not in text
    assert "5550100" not in text


def test_never_more_than_one_message_a_minute_and_none_is_forgotten(tower: Watchtower):
    tower.notes.write(PAUSED, "by hand")
    tower.check()
    tower.pass_time(30)
    tower.bench.sql("DELETE FROM bot_jobs_workers")
    tower.check()
    at_once = len(tower.told())
    tower.pass_time(31)
    tower.check()

    assert at_once == 1
    assert len(tower.told()) == 2
    assert "no worker is alive" in tower.told()[1]


def test_a_message_that_could_not_be_sent_is_sent_the_next_time(tower: Watchtower, api: FakeBotApi):
    tower.notes.write(PAUSED, "by hand")
    api.will("sendMessage", fails(502))
    tower.check()
    tower.check()

    assert len(tower.told()) == 2  # both tries of the one message
    tower.pass_time(61)
    tower.check()
    assert len(tower.told()) == 2


def test_an_error_telegram_reports_of_the_webhook_is_told_once_and_that_it_is_over(tower: Watchtower, api: FakeBotApi):
    now = int(time.time())
    info = (
        b'{"ok": true, "result": {"url": "'
        + OURS.encode()
        + b'", "pending_update_count": 12, "last_error_date": '
        + str(now).encode()
        + b', "last_error_message": "Wrong response from the webhook: 503"}}'
    )
    for _ in range(3):
        tower.pass_time(61)
        api.will("getWebhookInfo", says(info, content_type="application/json"))
        tower.check()
    for _ in range(6):  # asked again, it has no error to report
        tower.pass_time(61)
        tower.check()

    assert tower.told() == [
        "Scalable mode, example.com:\n• Telegram cannot deliver to the webhook: Wrong response from the webhook: 503",
        "Scalable mode, example.com:\n• all is well again",
    ]


def test_they_go_on_after_the_clock_was_set_back(tower: Watchtower):
    """F27: alerts go on."""
    tower.notes.write(PAUSED, "somebody")
    tower.alerts.check()
    tower.pass_time(-7200)

    tower.alerts.check()
    tower.notes.delete(PAUSED)
    tower.alerts.check()
    tower.pass_time(301)
    tower.alerts.check()

    assert len(tower.told()) == 2
    assert "all is well again" in tower.told()[1]
    tower.pass_time(61)
    tower.notes.write(PAUSED, "somebody")
    tower.alerts.check()
    assert "paused" in tower.told()[2]


def test_a_new_leader_does_not_tell_it_again(tower: Watchtower):
    tower.notes.write(PAUSED, "by hand")
    tower.check()
    tower.pass_time(61)

    tower.new_leader().check()

    assert len(tower.told()) == 1


@pytest.mark.parametrize("rubbish", ["", "not JSON", "[]", '{"reasons": 7}', "{}"])
def test_a_note_that_cannot_be_read_is_begun_anew(tower: Watchtower, rubbish: str):
    tower.fail_a_job("exit code 1", 2)
    tower.notes.write("alerts", rubbish)

    tower.check()

    assert tower.told() == []


def test_telegram_that_cannot_be_reached_is_no_reason_to_raise(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with FakeBotApi() as api:
        tower = Watchtower(tmp_path, api)
    tower.notes.write(PAUSED, "by hand")

    tower.check()

    assert "alert not sent" in caplog.text
    assert TOKEN not in caplog.text


class TestF33:
    """The group became a supergroup, and the webhook went away."""

    NEW = -1009876

    def test_the_group_is_followed_and_found_again_by_the_next_leader(
        self, tower: Watchtower, api: FakeBotApi, caplog: pytest.LogCaptureFixture
    ):
        api.moved[CHAT] = self.NEW
        tower.notes.write(PAUSED, "by hand")
        tower.check()
        told = [(str(each["chat_id"]), str(each["text"])) for each in api.named("sendMessage")]
        tower.notes.delete(PAUSED)
        tower.pass_time(400)
        tower.alerts = tower.new_leader()
        tower.check()

        chats = [str(each["chat_id"]) for each in api.named("sendMessage")]
        assert [chat for chat, _ in told] == [CHAT, str(self.NEW)]
        assert told[0][1] == told[1][1]
        assert chats[2:] == [str(self.NEW)], "the second message goes straight to the new chat"
        assert f'remedy="set BOT_ALERT_CHAT_ID={self.NEW}"' in caplog.text

    def test_of_the_kind_the_new_group_moves_again(self, tower: Watchtower, api: FakeBotApi):
        api.moved[CHAT] = self.NEW
        tower.notes.write(PAUSED, "by hand")
        tower.check()
        api.moved[str(self.NEW)] = self.NEW - 1
        tower.notes.delete(PAUSED)
        tower.pass_time(400)
        tower.check()

        assert str(api.named("sendMessage")[-1]["chat_id"]) == str(self.NEW - 1)
        assert moved_chat(tower.notes.read(), CHAT) == str(self.NEW - 1)

    def test_of_the_kind_a_setting_that_was_changed_counts_and_not_the_note(self, tower: Watchtower, api: FakeBotApi):
        tower.notes.write(ALERT_CHAT, '["-42", "-43"]')
        tower.notes.write(PAUSED, "by hand")
        tower.check()

        assert [str(each["chat_id"]) for each in api.named("sendMessage")] == [CHAT]

    @pytest.mark.parametrize("rubbish", ["", "x", "7", "{}", "[1, 2, 3]", "null"])
    def test_of_the_kind_a_note_nobody_can_read_moves_nothing(self, tower: Watchtower, rubbish: str):
        tower.notes.write(ALERT_CHAT, rubbish)

        assert moved_chat(tower.notes.read(), CHAT) is None

    def test_of_the_kind_a_group_that_refuses_for_another_reason_is_not_left(self, tower: Watchtower, api: FakeBotApi):
        api.will("sendMessage", refuses("Forbidden: bot was kicked from the group chat", 403))
        tower.notes.write(PAUSED, "by hand")
        tower.check()

        assert moved_chat(tower.notes.read(), CHAT) is None
        assert len(tower.told()) == 1

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("", "no webhook is set"),
            ("https://elsewhere.example/bot.php?s=hush", "to another address, at elsewhere.example"),
        ],
    )
    def test_a_webhook_that_is_gone_or_points_elsewhere_is_told_once(
        self, tower: Watchtower, api: FakeBotApi, url: str, words: str
    ):
        api.webhook_url = url
        for _ in range(3):
            tower.pass_time(61)
            tower.check()
        api.webhook_url = OURS
        for _ in range(6):
            tower.pass_time(61)
            tower.check()

        [gone, back] = tower.told()
        assert (words in gone, "hush" in gone, "all is well again" in back) == (True, False, True)

    def test_of_the_kind_a_telegram_that_cannot_be_reached_is_no_alarm(self, tower: Watchtower, api: FakeBotApi):
        for _ in range(3):
            tower.pass_time(61)
            api.will("getWebhookInfo", fails(502))
            tower.check()

        assert tower.told() == []

    def test_of_the_kind_a_token_that_was_revoked_is_one(self, tower: Watchtower, api: FakeBotApi):
        tower.pass_time(61)
        api.will("getWebhookInfo", refuses("Unauthorized", 401))
        tower.check()

        [told] = tower.told()
        assert "the token in BOT_TOKEN is wrong, or was revoked" in told
