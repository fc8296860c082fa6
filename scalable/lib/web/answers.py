"""JSON answers of one form, `{"ok": true, …}` or `{"ok": false, "error": "…"}`, without a framework."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Optional

STATUS_LINES = {
    200: "200 OK", 400: "400 Bad Request", 401: "401 Unauthorized", 404: "404 Not Found", 405: "405 Method Not Allowed",
    411: "411 Length Required", 413: "413 Content Too Large", 500: "500 Internal Server Error",
    503: "503 Service Unavailable",
}


class JsonAnswer:
    """One answer that is never cached; sent by calling it as a WSGI application."""

    def __init__(self, status: int, body: dict[str, Any], headers: Optional[dict[str, str]] = None) -> None:
        self.status_line = STATUS_LINES[status]
        self._content = json.dumps(body).encode() + b"\n"
        self._headers = {
            "Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(self._content)),
            "Cache-Control": "no-store", **(headers or {}),
        }

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any], exc_info: Any = None
    ) -> list[bytes]:
        """Send it; to HEAD without the body."""
        start_response(self.status_line, list(self._headers.items()), *([exc_info] if exc_info else []))
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [self._content]


def refused(status: int, error: str, headers: Optional[dict[str, str]] = None) -> JsonAnswer:
    """An answer that says what is wrong, in one sentence."""
    return JsonAnswer(status, {"ok": False, "error": error}, headers)
