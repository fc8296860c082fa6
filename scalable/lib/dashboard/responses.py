"""JSON answers of one form: `{"ok": true, …}` or `{"ok": false, "error": "…"}`."""

from __future__ import annotations

import json
from typing import Any, Optional

from bottle import HTTPResponse


def json_response(status: int, body: dict[str, Any], headers: Optional[dict[str, str]] = None) -> HTTPResponse:
    """An answer that is never cached."""
    return HTTPResponse(
        json.dumps(body) + "\n",
        status,
        {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store", **(headers or {})},
    )


def refusal(status: int, error: str, headers: Optional[dict[str, str]] = None) -> HTTPResponse:
    """An answer that says what is wrong, in one sentence."""
    return json_response(status, {"ok": False, "error": error}, headers)
