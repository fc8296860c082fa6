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
from scalable.lib.telegram.bot_api import BotApi
from scalable.lib.telegram.update import Update
from tests.support.fakes.worker_bench import Bench

OLD, NEW = "https://example.com/bot.php", "https://example.com/scalable/webhook_queue.py"


class SlowTelegram:
    """Answers getWebhookInfo with what is true when it is asked; `before_answer` happens before that arrives."""

    def __init__(self) -> None:
        self.url = OLD
        self.before_answer: list[Callable[[], None]] = []

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> object:
        if method == "setWebhook":
            self.url = (parameters or {})["url"]
            return True
        url = self.url
        if self.before_answer:
            self.before_answer.pop()()
        return {"url": url, "pending_update_count": 0}

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
