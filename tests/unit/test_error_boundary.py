"""with_error_boundary: an exception becomes a 500 that Telegram answers with another delivery, and a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from scalable.lib.ingest.wsgi import with_error_boundary

REQUEST = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "/scalable/webhook_queue.py"}


def test_an_exception_is_answered_without_a_detail_and_logged_with_all(caplog: pytest.LogCaptureFixture):
    statuses: list[str] = []

    def application(_environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
        raise RuntimeError("the details")

    body = b"".join(with_error_boundary(application)(REQUEST, lambda status, *_: statuses.append(status)))

    assert statuses == ["500 Internal Server Error"]
    assert b"unexpected error" in body
    assert b"the details" not in body
    assert "the details" in caplog.text
    assert "script=/scalable/webhook_queue.py" in caplog.text


def test_an_answer_passes_as_it_is():
    def application(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"fine"]

    assert with_error_boundary(application)(REQUEST, lambda *_: None) == [b"fine"]
