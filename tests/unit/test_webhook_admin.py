"""What is noted of the webhook, and of the answers before, when it is asked in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.errors import BotApiBusy, BotApiRefused, BotApiUnreachable, ConfigurationError
from scalable.lib.pool.webhook_admin import WebhookAdmin
from scalable.lib.queue.notes import WEBHOOK
from scalable.lib.queue.views.webhook_info import read_webhook
from scalable.lib.runners.bot_secret import BotSecret
from scalable.lib.telegram.bot_api import BotApi
from scalable.lib.telegram.update import Update
from tests.support.fakes.worker_bench import Bench

OLD, NEW = "https://example.com/bot.php", "https://example.com/scalable/webhook_queue.py"


class SlowTelegram:
    """Answers getWebhookInfo with what is true when it is asked; `before_answer` happens before that arrives.

    A webhook loses its certificate when it is set without one, as at Telegram.
    """

    def __init__(self) -> None:
        self.url = OLD
        self.has_certificate = False
        self.secret: object = None
        self.before_answer: list[Callable[[], None]] = []

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> object:
        if method == "setWebhook":
            self.url, self.has_certificate = (parameters or {})["url"], False
            self.secret = (parameters or {}).get("secret_token")
            return True
        url, has_certificate = self.url, self.has_certificate
        if self.before_answer:
            self.before_answer.pop()()
        return {"url": url, "pending_update_count": 0, "has_custom_certificate": has_certificate}

    def close(self) -> None:
        """Nothing is open."""


def test_an_answer_from_before_the_webhook_was_set_does_not_replace_the_one_after_it(tmp_path: Path) -> None:
    """Given a page that asks in the background, and somebody who sets the webhook until it has its answer."""
    queue, telegram = Bench(tmp_path).queue, SlowTelegram()
    admin = WebhookAdmin(queue, lambda _: telegram, "")  # type: ignore[arg-type, return-value]
    telegram.before_answer.append(lambda: admin.point_at(NEW) and None)

    admin.refresh_if_old()

    seen = read_webhook(queue.notes.read())
    assert seen is not None
    assert (seen.url, seen.before) == (NEW, OLD)


def test_in_the_background_it_is_asked_once_and_the_answer_is_kept(tmp_path: Path) -> None:
    queue, telegram = Bench(tmp_path).queue, SlowTelegram()
    admin = WebhookAdmin(queue, lambda _: telegram, "")  # type: ignore[arg-type, return-value]

    admin.refresh_if_old()
    telegram.url = NEW
    admin.refresh_if_old()

    seen = read_webhook(queue.notes.read())
    assert seen is not None
    assert seen.url == OLD


# F4: the bot's own address gets the secret token that the bot knows, or none


def admin_for(folder: Path, telegram: SlowTelegram, known: str) -> WebhookAdmin:
    queue = Bench(folder).queue
    return WebhookAdmin(queue, lambda _: telegram, "ours", lambda: BotSecret(known, "why", "bot.php"))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("known", ["mine", ""])
def test_f4_a_rollback_gives_the_secret_that_the_bot_knows_or_none_and_says_which(tmp_path: Path, known: str) -> None:
    telegram = SlowTelegram()
    admin = admin_for(tmp_path, telegram, known)
    assert admin.point_at(NEW).secret is None
    assert telegram.secret == "ours"

    pointed = admin.point_back(OLD)

    assert telegram.secret == (known or None)
    assert pointed.secret == BotSecret(known, "why", "bot.php")
    assert pointed.seen.url == OLD


@pytest.mark.parametrize("url", [OLD, f"{OLD}?key=1", "https://example.org/a/bot.php"])
def test_f4_set_to_the_bots_own_address_is_a_rollback_too(tmp_path: Path, url: str) -> None:
    telegram = SlowTelegram()

    assert admin_for(tmp_path, telegram, "mine").point_at(url).secret is not None
    assert telegram.secret == "mine"


# F34: a certificate of its own gets lost


def test_f34_a_certificate_that_gets_lost_is_told_and_so_is_one_that_is_needed_again(tmp_path: Path) -> None:
    telegram = SlowTelegram()
    telegram.has_certificate = True
    admin = admin_for(tmp_path, telegram, "")

    there = admin.point_at(NEW)
    back = admin.point_back(OLD)

    assert (there.had_certificate, there.needs_certificate) == (True, False)
    assert there.seen.before == OLD, "and the address is kept as it was"
    assert (back.had_certificate, back.needs_certificate) == (False, True)


def test_f34_a_webhook_that_was_taken_away_remembers_it(tmp_path: Path) -> None:
    telegram = SlowTelegram()
    telegram.has_certificate = True
    admin = admin_for(tmp_path, telegram, "")

    assert admin.take_away().before == OLD
    assert admin.point_back(OLD).needs_certificate


def test_f34_without_one_nothing_is_told(tmp_path: Path) -> None:
    admin = admin_for(tmp_path, SlowTelegram(), "")

    for pointed in (admin.point_at(NEW), admin.point_back(OLD)):
        assert not pointed.had_certificate
        assert not pointed.needs_certificate


def test_what_the_answer_before_told_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    """The webhook was here; since it went away an update has come all the same, long after what was on its way."""
    queue, telegram = Bench(tmp_path).queue, SlowTelegram()
    admin = WebhookAdmin(queue, lambda _: telegram, "")  # type: ignore[arg-type, return-value]
    telegram.url = NEW
    assert admin.look_up().was_here
    telegram.url = OLD
    first = admin.look_up()
    queue.enqueue(Update("{}"))
    at_once = admin.look_up()
    queue.notes.write(WEBHOOK, replace(at_once, url_since=(at_once.url_since or 0) - 300).to_text())
    later = admin.look_up()

    assert (first.was_here, first.is_fed, at_once.is_fed, later.is_fed) == (True, False, False, True)
    assert (later.url, later.leads_here) == (OLD, False)


@pytest.mark.parametrize(
    ("error", "is_refused"),
    [
        (BotApiRefused("Unauthorized", 401, "Unauthorized"), True),
        (ConfigurationError("BOT_TOKEN=(hidden)"), True),
        (BotApiUnreachable("no route to host"), False),
        (BotApiBusy("Too Many Requests", 3.0), False),
    ],
)
def test_a_refusal_is_told_from_a_telegram_that_is_away(tmp_path: Path, error: Exception, is_refused: bool) -> None:
    def raise_it(_: float) -> BotApi:
        raise error

    seen = WebhookAdmin(Bench(tmp_path).queue, raise_it, "").look_up()

    assert (seen.trouble, seen.is_refused) == (str(error), is_refused)
