"""CGI scripts beside a running pool: it answers for them, and they answer themselves when it does not."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scalable.lib.ingest.fast_cgi.pool_client import GREETING
from scalable.lib.installation import Installation
from scalable.lib.setup.config import load_config
from scalable.lib.telegram.update import Update
from tests.support.fakes.scripted_gateway import ScriptedGateway, read_request
from tests.support.places import REPOSITORY
from tests.support.servers.cgi import CgiAnswer, cgi_variables, run_cgi
from tests.support.servers.children import tail
from tests.support.servers.databases import Servers
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import Site, wait_until
from tests.support.waiting import eventually

PY_BOT = REPOSITORY / "examples" / "bot.py"
SCRIPTS = REPOSITORY / "scalable"
SECRET_VARIABLE = "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"


# For what the queue has a part in: the rest is between script and pool.
each_database = pytest.mark.parametrize("database", ["sqlite", "mariadb-10.11"], indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest, servers: Servers) -> dict[str, str]:
    """Where the queue is."""
    name = getattr(request, "param", "sqlite")
    if name == "sqlite":
        return {}
    address = servers.fresh_database(name)
    return {
        "BOT_DB_HOST": str(address.socket),
        "BOT_DB_NAME": address.database,
        "BOT_DB_USER": address.user,
        "BOT_DB_PASS": address.password,
    }


@pytest.fixture
def site(tmp_path: Path, database: dict[str, str]) -> Iterator[ServedSite]:
    """A running pool."""
    with ServedSite(tmp_path, PY_BOT, **database) as site:
        wait_for_gateway(site)
        yield site


def wait_for_gateway(site: ServedSite) -> None:
    wait_until(lambda: answers(site.folder / "data" / ".ht-gateway.sock"), lambda: tail(site.log))


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
            return connection.recv(100) == GREETING
        except OSError:
            return False


def ask(site: ServedSite, script: str, method: str = "GET", body: bytes = b"", **changed: str) -> CgiAnswer:
    """One request to a script, by a process of its own that has the settings of the pool."""
    variables = cgi_variables(method, body, SCRIPT_NAME=f"/bot/scalable/{script}", **changed)
    return run_cgi([sys.executable, str(SCRIPTS / script)], {**site.environment, **variables}, body)


def send(site: ServedSite, update_id: int, **changed: str) -> CgiAnswer:
    return ask(site, "webhook_queue.py", "POST", json.dumps({"update_id": update_id}).encode(), **changed)


@each_database
def test_an_update_goes_through_the_pool_and_is_run(site: ServedSite) -> None:
    answer = send(site, 17)

    job_id = json.loads(answer.body)["queued_job_id"]
    assert (answer.status, answer.log) == (200, "")
    wait_until(lambda: f"update enqueued id={job_id} update_id=17" in site.log.read_text(), lambda: tail(site.log))
    site.wait_for_counts(done=1)


def test_the_pool_and_the_script_itself_answer_the_same(site: ServedSite) -> None:
    """Word for word, whatever is asked; a setting that differs keeps the request in its own process."""
    requests: list[tuple[str, str, bytes, dict[str, str]]] = [
        ("webhook_queue.py", "POST", b'{"update_id": 3}', {}),
        ("webhook_queue.py", "POST", b"hello", {}),
        ("webhook_queue.py", "POST", b'{"text": "' + b"x" * 1_500_000 + b'"}', {}),
        ("webhook_queue.py", "GET", b"", {}),
        ("webhook_queue.py", "HEAD", b"", {}),
        ("webhook_queue.py", "DELETE", b"", {}),
        ("dashboard.py", "GET", b"", {}),
        ("dashboard.py", "GET", b"", {"QUERY_STRING": "token=caf%C3%A9"}),
        ("dashboard.py", "PUT", b"", {}),
        ("dashboard.py", "GET", b"", {"PATH_INFO": "/static/dashboard.css"}),
        ("dashboard.py", "GET", b"", {"PATH_INFO": "/nowhere"}),
    ]
    send(site, 3)
    for script, method, body, changed in requests:
        by_pool = ask(site, script, method, body, **changed)
        by_itself = ask(site, script, method, body, **changed, BOT_MONITOR_LIMIT="99")

        undated = [{n: v for n, v in answer.headers.items() if n != "Date"} for answer in (by_pool, by_itself)]
        assert by_pool.status == by_itself.status, (script, method)
        assert undated[0] == undated[1], (script, method)
        assert by_pool.body == by_itself.body or script == "dashboard.py", (script, method)


def test_the_dashboard_sees_the_visitor_and_not_the_gateway(site: ServedSite) -> None:
    """Where somebody comes from opens nothing; the password that the pool invented does, by CGI as well."""
    here = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", "QUERY_STRING": "format=json"}

    inside = ask(site, "dashboard.py", **here)
    outside = ask(site, "dashboard.py", **{**here, "REMOTE_ADDR": "203.0.113.9"})
    through_a_proxy = ask(site, "dashboard.py", **here, HTTP_X_FORWARDED_FOR="203.0.113.9")
    pretending = ask(site, "dashboard.py", **{**here, "REMOTE_ADDR": "203.0.113.9"}, HTTP_REMOTE_ADDR="127.0.0.1")

    owner = ask(site, "dashboard.py", **{**here, "QUERY_STRING": f"format=json{site.query}"})

    assert inside.log == outside.log == ""
    assert owner.status == 200
    assert "jobs" in json.loads(owner.body)
    for answer in (inside, outside, through_a_proxy, pretending):
        assert b'"jobs"' not in answer.body


def test_links_on_the_dashboard_lead_to_where_the_web_server_shows_it(site: ServedSite) -> None:
    page = ask(site, "dashboard.py", REMOTE_ADDR="127.0.0.1", HTTP_HOST="localhost")

    assert page.status == 403
    assert b'href="/bot/scalable/dashboard.py/static/dashboard.css' in page.body


def test_the_gateway_is_no_way_around_a_secret_that_was_set_after_its_start(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("BOT_WEBHOOK_SECRET='old'\n")
    with ServedSite(tmp_path, PY_BOT, BOT_CONFIG=str(file)) as site:
        wait_for_gateway(site)
        through_the_pool = send(site, 1, **{SECRET_VARIABLE: "old"})
        file.write_text("BOT_WEBHOOK_SECRET='new'\n")

        with_the_old_one = send(site, 2, **{SECRET_VARIABLE: "old"})
        with_the_new_one = send(site, 3, **{SECRET_VARIABLE: "new"})

        assert [answer.status for answer in (through_the_pool, with_the_old_one, with_the_new_one)] == [200, 401, 200]
        assert "settings are not those this pool was started with" in site.log.read_text()


def test_a_pool_that_ends_takes_its_socket_away(site: ServedSite) -> None:
    site.pool.send(signal.SIGTERM)
    wait_until(lambda: not site.pool.is_running(), lambda: tail(site.log))

    assert not (site.folder / "data" / ".ht-gateway.sock").exists()
    assert "update enqueued" in send(site, 1).log


@each_database
def test_a_killed_pool_is_no_obstacle_and_the_next_one_takes_over(site: ServedSite) -> None:
    site.pool.kill()

    alone = send(site, 1)
    site.pool.start()
    wait_for_gateway(site)
    together = send(site, 2)

    assert (alone.status, together.status) == (200, 200)
    assert "update enqueued" in alone.log
    assert together.log == ""


@pytest.mark.parametrize("database", ["mariadb-10.11"], indirect=True)
def test_a_pool_that_is_stopped_in_its_tracks_is_no_obstacle(site: ServedSite) -> None:
    """SIGSTOP, or a host that swaps: it holds the socket and says nothing. (In SQLite it may hold the only lock.)"""
    site.pool.freeze()
    try:
        alone = send(site, 1)
    finally:
        os.kill(site.pool.pid, signal.SIGCONT)

    assert alone.status == 200
    assert "update enqueued" in alone.log


@each_database
def test_an_update_that_was_stored_before_the_gateway_died_is_stored_once(
    tmp_path: Path, database: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: committed, and not yet answered."""
    site = ServedSite(tmp_path, PY_BOT, **database)
    queue = Installation(load_config(site.environment)).queue()
    queue.ensure_schema()

    def store_and_die(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        _, body = read_request(connection)
        queue.enqueue(Update(body.decode(), json.loads(body)["update_id"]))

    with ScriptedGateway(tmp_path / "data", store_and_die):
        answer = send(site, 5)

    assert answer.status == 200
    assert json.loads(answer.body)["duplicate"] is True
    assert queue.counts().total == 1


@each_database
def test_no_update_is_lost_or_refused_while_pools_are_killed_and_started(
    tmp_path: Path, database: dict[str, str]
) -> None:
    """Telegram must see a 200 for each, and each is in the queue once."""
    with ServedSite(tmp_path, PY_BOT, **database) as site:
        wait_for_gateway(site)
        sent = 45
        killing = threading.Thread(target=kill_now_and_then, args=(site, over := threading.Event()))
        killing.start()
        with ThreadPoolExecutor(3) as telegram:
            found = list(telegram.map(lambda number: send(site, number), range(sent)))
        over.set()
        killing.join(60)
        queue = Installation(load_config(site.environment)).queue()

        assert [answer.status for answer in found if answer.status != 200] == []
        assert queue.counts().total == sent
        assert {job.update_id for job in queue.newest(sent)} == set(range(sent))
        assert any(answer.log for answer in found)
        assert any(not answer.log for answer in found)


def kill_now_and_then(site: ServedSite, over: threading.Event) -> None:
    """The pool is killed as soon as it answers, three times at least."""
    rounds = 0
    while rounds < 3 or not over.is_set():
        wait_for_gateway(site)
        over.wait(0.3)
        site.pool.kill()
        over.wait(0.1)
        site.pool.start()
        rounds += 1


def test_under_apache_the_pool_answers_as_the_web_user(make_site: Callable[..., Site]) -> None:
    site = make_site(PY_BOT, "sqlite", BOT_WEBHOOK_SECRET="not-a-real-secret")
    site.start_pool()
    gateway = site.plugin / ".htdata" / ".ht-gateway.sock"
    wait_until(gateway.exists, site.logs)
    eventually(lambda: gateway.stat().st_mode & 0o777 == 0o600)

    refused = site.send({"update_id": 1})
    taken = site.send({"update_id": 1}, X_Telegram_Bot_Api_Secret_Token="not-a-real-secret")

    assert (refused.status, taken.status) == (401, 200)
    site.wait_for_counts(done=1)
    assert "update enqueued" in site.pool_log.read_text()
    assert "update enqueued" not in site.apache.error_log.read_text()
