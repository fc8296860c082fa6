"""Whatever somebody opens or presses on the dashboard, every question it asks the database is answered by an index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from scalable.lib.dashboard.access import Role, Visitor
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.plan_check import slow_steps
from scalable.lib.queue.worker_registry import Heartbeat
from tests.contract.test_plans import fill
from tests.support.generators import demo_queue as demo
from tests.support.generators.wsgi_client import KEYS, OWNER, Client

LOOKS = (
    ("", ""), ("", "part=live"), ("", "format=json"), ("", "format=prometheus"), ("", "format=health"),
    *(("", f"part=charts&span={span}") for span in ("hour", "day", "week")),
    ("/jobs", ""), ("/jobs", "before=300"), ("/jobs", "format=json"), ("/jobs", "part=live&status=pending"),
    *(("/jobs", f"status={status}") for status in ("pending", "processing", "done", "failed", "expired")),
    ("/jobs", "status=failed&before=100"), ("/jobs", "status=failed&q=code"), ("/jobs", "q=code"), ("/jobs", "q=7"),
    ("/jobs", "type=message&lane=chat:7"), ("/jobs", "status=pending&type=message&lane=chat:7&q=7"),
    ("/job/1", ""), ("/job/500", ""), ("/job/500/payload", ""), ("/job/9999", ""),
)  # fmt: skip
PRESSES = (
    "retry:1",
    "run-now:2",
    "skip:500",
    "delete:501",
    "pause",
    "resume",
    "retry-matching:failed",
    "retry-matching:expired",
)
# It has as many rows as there are workers, and is read as a whole.
SMALL = "bot_jobs_workers"


class Heard:
    """Passes everything on to a database, and remembers what was asked."""

    def __init__(self, queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: dict[str, dict[str, Any]] = {}
        run = queue.database.run
        monkeypatch.setattr(
            queue.database,
            "run",
            lambda work, transaction=False: run(lambda session: work(_Listening(session, self.asked)), transaction),
        )


class _Listening:
    def __init__(self, session: Session, asked: dict[str, dict[str, Any]]) -> None:
        self._session = session
        self._asked = asked

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        if sql.lstrip().startswith("SELECT"):
            self._asked.setdefault(sql, dict(parameters))
        return self._session.rows(sql, **parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def open_everything(client: Client) -> None:
    for path, query in LOOKS:
        status, _, body = client.ask(path, query, HTTP_COOKIE=f"scalable_session={OWNER}")
        assert status in (200, 404 if path == "/job/9999" else 503), (path, query, body)


def press_everything(client: Client) -> None:
    csrf = KEYS.form_token(Visitor(Role.OWNER, OWNER))
    for action in PRESSES:
        for more in ({}, {"q": "code"}) if "matching" in action else ({},):
            form = urlencode({"csrf": csrf, "action": action, "sure": "yes", **more}).encode()
            status, _, body = client.ask(method="POST", body=form, HTTP_COOKIE=f"scalable_session={OWNER}")
            assert status in (303, 409), (action, body)


@pytest.mark.parametrize("use", [open_everything, press_everything])
def test_every_question_of_the_dashboard_uses_an_index(
    queue: DatabaseQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Client], None]
) -> None:
    fill(queue)
    demo.fill_minutes(queue, days=0.2)
    queue.workers.record_heartbeat(Heartbeat("web1:1-a/1.1", "web1", 1, 60))
    client = Client(tmp_path, queue)
    with monkeypatch.context() as listening:
        heard = Heard(queue, listening)
        use(client)

    assert len(heard.asked) >= (20 if use is open_everything else 6), list(heard.asked)
    slow = {
        sql: steps
        for sql, values in heard.asked.items()
        if SMALL not in sql and (steps := slow_steps(queue.database, sql, values))
    }
    assert slow == {}


def test_a_question_without_an_index_would_be_found(queue: DatabaseQueue) -> None:
    fill(queue)

    assert slow_steps(queue.database, "SELECT id FROM bot_jobs WHERE error_message LIKE '%x%' LIMIT 5", {}) != []
