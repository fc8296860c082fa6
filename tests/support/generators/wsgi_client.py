"""The dashboard in this process, on a queue of its own, asked without any server between."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

from scalable.lib.dashboard.access import Keys, Role
from scalable.lib.dashboard.app import create_dashboard_app
from scalable.lib.dashboard.request import DashboardSettings
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy

SECRET = bytes(range(32))
KEYS = Keys(SECRET, "owner", "reader")
OWNER, READER = KEYS.cookie(Role.OWNER), KEYS.cookie(Role.READER)


class Client:
    """Its passwords are `owner` and `reader`; every answer passes the validator of WSGI. Without `queue`: on SQLite.

    `more` are settings of the dashboard.
    """

    def __init__(
        self,
        folder: Path,
        queue: DatabaseQueue | None = None,
        token: str = "owner",
        read_token: str = "reader",
        **more: Any,
    ) -> None:
        self.queue = queue or DatabaseQueue(open_database(SqliteAddress(folder / "queue")), "bot_jobs", RetryPolicy())
        self.queue.ensure_schema()
        shown = DashboardSettings(token, read_token, limit=20, **more)
        self.app = create_dashboard_app(lambda: self.queue, lambda: SECRET, folder / ".ht-logins", shown)
        self._checked = validator(self.app)

    def ask(self, path: str = "", query: str = "", method: str = "GET", body: bytes = b"", **more: str) -> Any:
        """(status, headers, body) of one request; `path` as it stands in an address, not decoded yet."""
        raw = path.encode("utf-8", "surrogateescape").decode("latin-1")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "/dashboard.py",
            "PATH_INFO": raw,
            "QUERY_STRING": query,
            "REMOTE_ADDR": "203.0.113.7",
            "HTTP_HOST": "bot.example.com",
            "SERVER_NAME": "bot.example.com",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "https",
            "wsgi.version": (1, 0),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            **more,
        }
        answer: dict[str, Any] = {}

        def start(status: str, headers: list[tuple[str, str]], error: object = None) -> Any:
            answer.update(status=int(status[:3]), headers=headers)
            return lambda _: None

        chunks: Any = self._checked(environ, start)
        try:
            body = b"".join(chunks)
        finally:
            chunks.close()
        return answer["status"], answer["headers"], body
