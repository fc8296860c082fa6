"""What the dashboard says when it cannot be shown: the database is away or refuses, or a setting is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scalable.lib.errors import ConfigurationError, DatabaseBusy, DatabaseUnavailable, ScalableError, StatementRefused
from scalable.lib.queue.views.health import check_health
from tests.support.generators.wsgi_client import OWNER, Client

AWAY, REFUSES = "The database cannot be reached just now", "The database is there and refuses a statement"


@pytest.mark.parametrize(
    ("error", "page", "health"),
    [
        (DatabaseUnavailable("2003: connection refused"), AWAY, "the database cannot be reached"),
        (DatabaseBusy("1205: lock wait"), AWAY, "the database cannot be reached"),
        (StatementRefused("1665: hidden words"), REFUSES, "the database refuses a statement"),
        (ConfigurationError("hidden words"), "A setting has to be put right first", "a setting has to be put right"),
    ],
)
def test_each_has_its_own_words_and_the_reason_is_left_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: ScalableError, page: str, health: str
) -> None:
    client = Client(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(client.queue.database, "run", refuse)

    status, _, shown = client.ask(HTTP_COOKIE=f"scalable_session={OWNER}")
    asked, _, told = client.ask(query="format=health", HTTP_COOKIE=f"scalable_session={OWNER}")

    assert (status, asked) == (503, 503)
    assert page.encode() in shown
    assert b"hidden words" not in shown + told
    assert json.loads(told)["reasons"][0]["text"].startswith(health)


def test_a_shell_is_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(tmp_path)
    errors = [DatabaseUnavailable("2003"), StatementRefused("1665")]

    def refuse(*_: object, **__: object) -> None:
        raise errors[0]

    monkeypatch.setattr(client.queue.database, "run", refuse)
    texts = []
    while errors:
        texts.append(check_health(client.queue).reasons[0].text)
        errors.pop(0)

    assert texts == ["the database cannot be reached", "the database refuses a statement: the log says which"]
