"""JSON answers of one form, `{"ok": true, …}` or `{"ok": false, "error": "…"}`, without a framework."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:  # a CGI process may read this for each update, and `typing` takes its time
    from collections.abc import Callable
    from typing import Any

STATUS_LINES = {
    200: "200 OK",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    411: "411 Length Required",
    413: "413 Content Too Large",
    500: "500 Internal Server Error",
    503: "503 Service Unavailable",
}


class JsonResponse:
    """One answer that is never cached; sent by calling it as a WSGI application."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self.status_line = STATUS_LINES[status]
        self._content = json.dumps(body).encode() + b"\n"
        self._headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(self._content)),
            "Cache-Control": "no-store",
            **(headers or {}),
        }

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any], exc_info: Any = None
    ) -> list[bytes]:
        """Send it; to HEAD without the body."""
        start_response(self.status_line, list(self._headers.items()), *([exc_info] if exc_info else []))
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [self._content]

    def for_cgi(self) -> bytes:
        """The same as a CGI script writes it (RFC 3875, 6.2)."""
        return self._written(f"Status: {self.status_line}")

    def for_http(self, date: str) -> bytes:
        """The same on a connection that stays open; `date` is the time in the words of HTTP (RFC 9110, 5.6.7)."""
        return self._written(f"HTTP/1.1 {self.status_line}", f"Date: {date}")

    def _written(self, *first: str) -> bytes:
        lines = [*first, *(f"{name}: {value}" for name, value in self._headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self._content


def stored(job_id: int, *, duplicate: bool = False) -> JsonResponse:
    """What Telegram gets for an update that is in the queue."""
    answer: dict[str, Any] = {"ok": True, "queued_job_id": job_id}
    return JsonResponse(200, {**answer, "duplicate": True} if duplicate else answer)


def refused(status: int, error: str, headers: dict[str, str] | None = None) -> JsonResponse:
    """An answer that says what is wrong, in one sentence."""
    return JsonResponse(status, {"ok": False, "error": error}, headers)
