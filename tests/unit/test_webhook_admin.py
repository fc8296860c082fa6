"""What is noted of the webhook when it is set while an older question is on its way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scalable.lib.pool.webhook_admin import WebhookAdmin
from scalable.lib.queue.views.webhook_info import read_webhook
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
