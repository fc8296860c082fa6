"""The doors in PHP: webhook, page and tick where the web server runs PHP; with a pool, without one, with nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.conftest import database_settings
from tests.support.places import REPOSITORY
from tests.support.servers.databases import Servers
from tests.support.servers.door_hosts import KINDS, TICK, DoorHost, door_host
from tests.support.servers.site import request

BOT = REPOSITORY / "examples" / "bot.py"
MakeHost = Callable[..., DoorHost]


@pytest.fixture
def make_host(servers: Servers) -> Iterator[MakeHost]:
    """Makes hosts: make_host(kind, database, lines of PHP-FPM, NAME=value …)."""
    home = Path(tempfile.mkdtemp(prefix="doors-"))
    home.chmod(0o711)
    bot = home / "bot.py"
    bot.write_text("import sys\nsys.stdin.read()\n")
    with ExitStack() as stack:

        def make(kind: str, database: str = "sqlite", pool: str = "", **settings: str) -> DoorHost:
            folder = home / f"host{len(list(home.iterdir()))}"
            folder.mkdir()
            folder.chmod(0o711)
            settings = {**database_settings(servers, database), **settings}
            return stack.enter_context(door_host(kind, folder, bot, pool, **settings))

        yield make
    shutil.rmtree(home)


def update(number: int, text: str = "hello") -> dict[str, object]:
    return {"update_id": number, "message": {"message_id": 1, "chat": {"id": 5}, "text": text}}


def look_at_all_three(host: DoorHost) -> None:
    stored = [host.send(update(1)), host.send(update(2, "x" * 300_000)), host.send(update(1))]
    assert [answer.status for answer in stored] == [200, 200, 200], (stored, host.site.logs())
    ids = [answer.json()["queued_job_id"] for answer in stored]
    assert ids[0] == ids[2] != ids[1]
    assert stored[0].headers["Content-Type"] == "application/json; charset=utf-8"
    assert "X-Powered-By" not in stored[0].headers
    assert host.send(update(3), secret="another").status == 401
    assert host.send(b"{").status == 400
    assert host.send(update(4, "x" * 1_500_000)).status == 413
    assert request(f"{host.url}/webhook_queue.php").status == 405

    owner = host.owner()
    assert owner.json()["counts"]["total"] == 2
    assert 'href="/scalable/dashboard.php/' in owner.page("/jobs")
    pressed = owner.press("pause")
    assert (pressed.status, pressed.headers["Location"].partition("?")[0]) == (303, "/scalable/dashboard.php/")
    assert owner.json()["is_paused"] is True
    assert owner.press("resume").status == 303
    assert owner.post({"csrf": "0" * 64, "action": "pause"}).status == 403
    style = request(f"{host.url}/dashboard.php/static/dashboard.css")
    assert (style.status, style.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert request(f"{host.url}/dashboard.php", method="HEAD").body == b""

    assert request(f"{host.url}/worker.php").status == 401
    assert request(f"{host.url}/worker.php?token={TICK}").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_webhook_page_and_tick_answer_by_the_pool_alone(kind: str, make_host: MakeHost) -> None:
    host = make_host(kind)
    host.start_pool()
    host.forbid_python()

    look_at_all_three(host)


@pytest.mark.parametrize("kind", KINDS)
def test_webhook_page_and_tick_answer_where_no_pool_runs(kind: str, make_host: MakeHost) -> None:
    host = make_host(kind)

    look_at_all_three(host)


@pytest.mark.parametrize("database", ["sqlite", "mariadb-10.11"])
def test_where_neither_is_there_an_update_is_stored_bare_and_run_by_the_next_worker(
    database: str, make_host: MakeHost
) -> None:
    host = make_host("nginx-fpm", database, "php_admin_value[disable_functions] = proc_open,exec,escapeshellarg")
    assert host.send(update(1)).status == 503, "there is no table yet"
    assert host.site.run("config.py").returncode == 0

    answers = [host.send(update(number)) for number in (1, 2, 1)]

    assert [answer.status for answer in answers] == [200, 200, 200], (answers, host.site.logs())
    assert answers[0].json() == answers[2].json()
    assert host.send(update(3), secret="another").status == 401
    page = request(f"{host.url}/dashboard.php")
    assert (page.status, page.headers["Retry-After"]) == (503, "10")
    done = host.site.run("worker.py", "--drain", "--max-seconds", "20")
    assert done.returncode == 0, done
    host.start_pool()
    assert host.owner().json()["counts"] == {**host.owner().json()["counts"], "done": 2, "total": 2}
