"""What getWebhookInfo answers, of Telegram or of who is at BOT_API_URL: numbers that are none are left out."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from scalable.lib.dashboard.terminal import webhook_lines
from scalable.lib.queue.notes import WEBHOOK, Note
from scalable.lib.queue.views.webhook_info import WebhookInfo, from_telegram, read_webhook

NOW = 1_800_000_000
AT = datetime.fromtimestamp(NOW, timezone.utc)


def as_noted(info: WebhookInfo) -> WebhookInfo:
    read = read_webhook({WEBHOOK: Note(info.to_text(), AT, 0.0)})
    assert read is not None
    return read


@pytest.mark.parametrize(
    "date", [99_999_999_999_999, 253_402_300_800, 10**26, -1, -(10**15), 0, True, 1.5, "1700000000", [], None]
)
def test_a_date_that_is_none_is_left_out(date: object) -> None:
    info = from_telegram({"url": "https://example.com/", "last_error_date": date, "last_error_message": "no"}, NOW)

    assert (info.error_time, info.last_error) == (None, "no")
    assert "last failed delivery: " in "\n".join(webhook_lines(as_noted(info)))


@pytest.mark.parametrize("date", [1, 1_700_000_000, 2**31, 253_402_300_799])
def test_a_date_until_the_year_9999_is_kept(date: int) -> None:
    info = from_telegram({"last_error_date": date}, NOW)

    assert info.error_time == datetime.fromtimestamp(date, timezone.utc)
    assert as_noted(info) == info


@pytest.mark.parametrize(
    ("pending", "shown"), [(0, 0), (7, 7), (-5, 0), (10**26, 0), (True, 0), ("9", 0), (2**31 - 1, 2**31 - 1)]
)
def test_a_count_that_is_none_is_not_shown(pending: object, shown: int) -> None:
    assert from_telegram({"pending_update_count": pending}, NOW).pending == shown


@pytest.mark.parametrize(
    ("most", "shown"), [(1, 1), (100, 100), (100_000, 100_000), (-5, None), (0, None), (10**26, None), (False, None)]
)
def test_a_limit_that_is_none_is_left_out(most: object, shown: object) -> None:
    assert from_telegram({"max_connections": most}, NOW).max_connections == shown


@pytest.mark.parametrize("name", ["last_error_at", "seen_at", "url_since", "max_connections"])
@pytest.mark.parametrize("value", [10**14, -(10**14), "then", True, 1.5])
def test_a_note_that_was_written_before_is_read_by_the_same_rule(name: str, value: object) -> None:
    text = json.dumps({"url": "https://example.com/", name: value})

    seen = read_webhook({WEBHOOK: Note(text, AT, 0.0)})

    assert seen is not None
    assert (seen.url, seen.seen, seen.error_time, getattr(seen, name)) == ("https://example.com/", None, None, None)
    assert webhook_lines(seen)


def test_the_note_of_an_unasked_telegram_is_read() -> None:
    assert as_noted(WebhookInfo(trouble="away")) == WebhookInfo(trouble="away")
