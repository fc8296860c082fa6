"""The webhook as a CGI process without a pool: the second request is lean, and nobody can tell by the answer."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.setup.config import load_config
from scalable.lib.setup.storage import Storage
from tests.support.servers.cgi import CgiAnswer, cgi_variables, run_cgi
from tests.support.servers.databases import Servers
from tests.support.servers.site import copy_plugin

SECRET = "Telegram-knows-it"
SECRET_VARIABLE = "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"


@dataclass
class Installation:
    """A folder `scalable/` with a settings file."""

    folder: Path

    def write(self, *lines: str) -> None:
        (self.folder / ".htenv").write_text("".join(f"{line}\n" for line in lines))

    def ask(self, method: str = "POST", body: bytes = b"", **changed: str) -> tuple[CgiAnswer, bool]:
        """The answer, and whether the process was a lean one: it never heard of the settings table."""
        variables = {"PATH": "/usr/bin:/bin", SECRET_VARIABLE: SECRET, **cgi_variables(method, body), **changed}
        script = str(self.folder / "webhook_queue.py")
        answer = run_cgi([sys.executable, "-X", "importtime", script], variables, body)
        return answer, "scalable.lib.setup.config" not in answer.log

    def send(self, update: object, **changed: str) -> tuple[CgiAnswer, bool]:
        return self.ask("POST", json.dumps(update).encode(), **changed)

    def queue(self) -> DatabaseQueue:
        return Storage(load_config({}, self.folder)).queue()


@pytest.fixture(params=["sqlite", "mariadb-10.11", "mysql-9.7"])
def installation(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Installation:
    """One whose first update came, so that there is a note."""
    installation = Installation(copy_plugin(tmp_path))
    settings = [f"BOT_WEBHOOK_SECRET={SECRET}"]
    if request.param != "sqlite":
        address = servers.fresh_database(request.param)
        settings += [
            f"BOT_DB_HOST={address.socket}",
            f"BOT_DB_NAME={address.database}",
            f"BOT_DB_USER={address.user}",
            f"BOT_DB_PASS='{address.password}'",
        ]
    installation.write(*settings)
    answer, lean = installation.send({"update_id": 1, "message": {"chat": {"id": 7}}})
    assert (answer.status, lean) == (200, False), answer.log
    return installation


def told(answer: CgiAnswer) -> Any:
    """All that a visitor and the log see, without the numbers that differ."""
    lines = [line for line in answer.log.splitlines() if not line.startswith("import time:")]
    log = [re.sub(r"\d+", "N", line) for line in lines]
    return answer.status, dict(answer.headers), re.sub(rb"\d+", b"N", answer.body), log


def test_the_next_update_is_stored_lean_and_answered_the_same(installation: Installation) -> None:
    ordinary, was_lean = installation.send({"update_id": 2, "message": {"chat": {"id": 7}}}, BOT_MONITOR_LIMIT="5")
    assert not was_lean

    answer, is_lean = installation.send({"update_id": 3, "message": {"chat": {"id": 7}}})

    assert is_lean, answer.log
    assert told(answer) == told(ordinary)
    queue = installation.queue()
    first, second = (queue.find(json.loads(each.body)["queued_job_id"]) for each in (ordinary, answer))
    assert (first.update_id, second.update_id) == (2, 3)
    assert (first.update_type, first.status) == (second.update_type, second.status) == ("message", "pending")
    queue.close()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"method": "GET"}, 405),
        ({"method": "HEAD"}, 405),
        ({SECRET_VARIABLE: "wrong"}, 401),
        ({SECRET_VARIABLE: ""}, 401),
        ({"body": b""}, 400),
        ({"body": b"no JSON"}, 400),
        ({"body": b"[]"}, 400),
        ({"CONTENT_LENGTH": "100"}, 400),
        ({"CONTENT_LENGTH": "many"}, 400),
        ({"CONTENT_LENGTH": "2000000"}, 413),
        ({"CONTENT_LENGTH": "9" * 5000}, 413),
        ({"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, 411),
        ({"body": b'{"update_id": 1}'}, 200),
        ({"body": b'{"message": {}}'}, 200),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_not_usual_is_answered_by_the_webhook_itself(
    installation: Installation, change: dict[str, Any], status: int
) -> None:
    answer, lean = installation.ask(**{"body": b'{"update_id": 2}', **change})

    assert (answer.status, lean) == (status, False), answer.log
    if status == 200 and change["body"] == b'{"update_id": 1}':
        assert json.loads(answer.body)["duplicate"] is True
    if change.get("method") == "HEAD":
        assert answer.body == b""


def test_a_changed_setting_counts_at_once(installation: Installation) -> None:
    text = (installation.folder / ".htenv").read_text()
    (installation.folder / ".htenv").write_text(text.replace(SECRET, "another"))

    answer, lean = installation.send({"update_id": 2})
    assert (answer.status, lean) == (401, False)

    answer, lean = installation.send({"update_id": 2}, **{SECRET_VARIABLE: "another"})
    assert (answer.status, lean) == (200, False)
    answer, lean = installation.send({"update_id": 3}, **{SECRET_VARIABLE: "another"})
    assert (answer.status, lean) == (200, True)


def test_a_wrong_setting_counts_at_once(installation: Installation) -> None:
    with (installation.folder / ".htenv").open("a") as file:
        file.write("BOT_WORKER_POOL_SIZE=four\n")

    answer, lean = installation.send({"update_id": 2})

    assert (answer.status, lean) == (503, False)
    assert "BOT_WORKER_POOL_SIZE='four'" in answer.log


def test_log_level_is_kept(installation: Installation) -> None:
    with (installation.folder / ".htenv").open("a") as file:
        file.write("BOT_LOG_LEVEL=WARNING\n")
    installation.send({"update_id": 2})

    answer, lean = installation.send({"update_id": 3})

    assert (answer.status, lean, told(answer)[3]) == (200, True, [])


def test_tables_that_went_are_made_again(installation: Installation) -> None:
    queue = installation.queue()
    for name in ("bot_jobs", "bot_jobs_meta"):
        queue.database.run(lambda session, name=name: session.execute(f"DROP TABLE {name}"))

    answer, lean = installation.send({"update_id": 2})

    assert (answer.status, lean) == (200, False), answer.log
    assert [job.update_id for job in queue.newest(5)] == [2]
    queue.close()


def test_a_note_that_cannot_be_left_is_said_once_and_harms_nothing(installation: Installation) -> None:
    note = installation.folder / ".htdata" / ".ht-lean"
    note.unlink()
    note.mkdir()

    answer, lean = installation.send({"update_id": 2})

    assert (answer.status, lean) == (200, False)
    assert "no note was left" in answer.log
