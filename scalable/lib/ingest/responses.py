"""JSON responses of one form, `{"ok": true, …}` or `{"ok": false, "error": "…"}`, without a framework."""

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
CONTENT_TYPE = "application/json; charset=utf-8"


class JsonResponse:
    """One response that is never cached; sent by calling it as a WSGI application."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.content = json.dumps(body).encode() + b"\n"
        self.headers = {
            "Content-Type": CONTENT_TYPE,
            "Content-Length": str(len(self.content)),
            "Cache-Control": "no-store",
            **(headers or {}),
        }

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any], exc_info: Any = None
    ) -> list[bytes]:
        """Send it; to HEAD without the body."""
        start_response(STATUS_LINES[self.status], list(self.headers.items()), *([exc_info] if exc_info else []))
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [self.content]

    def for_cgi(self) -> bytes:
        """The same as a CGI script writes it (RFC 3875, 6.2)."""
        return self._written(f"Status: {STATUS_LINES[self.status]}")

    def for_http(self, date: str) -> bytes:
        """The same on a connection that stays open; `date` is the time as HTTP writes it (RFC 9110, 5.6.7)."""
        return self._written(f"HTTP/1.1 {STATUS_LINES[self.status]}", f"Date: {date}")

    def _written(self, *first: str) -> bytes:
        lines = [*first, *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.content


def stored(job_id: int, *, duplicate: bool = False) -> JsonResponse:
    """What Telegram gets for an update that is in the queue."""
    body: dict[str, Any] = {"ok": True, "queued_job_id": job_id}
    return JsonResponse(200, {**body, "duplicate": True} if duplicate else body)


def refused(status: int, error: str, headers: dict[str, str] | None = None) -> JsonResponse:
    """A response that says what is wrong, in one sentence."""
    return JsonResponse(status, {"ok": False, "error": error}, headers)
