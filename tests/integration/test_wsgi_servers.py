"""The scripts under real WSGI servers: Passenger as hosts have it, gunicorn that forks, waitress with threads."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.conftest import database_settings
from tests.support.generators.visitor import Visitor
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.apache import apache_available
from tests.support.servers.children import Child, accepts_connections, free_port, tail, wait_until_ready
from tests.support.servers.databases import Servers
from tests.support.servers.passenger import Passenger, passenger_available
from tests.support.servers.site import SYSTEM_PYTHON, Answer, Site, request, wait_until

BOT = REPOSITORY / "examples" / "bot.py"
DATABASE = "mariadb-10.11"
SETTINGS = {"BOT_MONITOR_TOKEN": "let-me-in", "BOT_LEGACY_PATH": str(BOT)}
WORKERS, THREADS = 2, 3
# What each server may have open at once: a connection for each thread of each process.
MOST_CONNECTIONS = {"passenger": 4, "gunicorn": WORKERS * THREADS, "waitress": 4}


@dataclass(frozen=True)
class Host:
    """`url` is where the start-up file is served."""

    url: str
    logs: Callable[[], str]

    def send(self, update_id: int, path: str = "/webhook_queue.py") -> Answer:
        """Deliver one update."""
        body = json.dumps({"update_id": update_id, "message": {"chat": {"id": update_id}}}).encode()
        return request(self.url + path, body, Content_Type="application/json")

    def dashboard(self, path: str = "/dashboard.py") -> Answer:
        """The page."""
        return Visitor(self.url + path).log_in("let-me-in").get()


Start = Callable[..., Host]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not tmp_path: the web user has to get in."""
    folder = Path(tempfile.mkdtemp(prefix="hosts-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=MOST_CONNECTIONS)
def server(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def start(server: str, folder: Path, servers: Servers) -> Iterator[Start]:
    """start(startup file, base URI): a host that serves it, with a database of its own."""
    settings = {**SETTINGS, **database_settings(servers, DATABASE)}
    with ExitStack() as stack:

        def start(startup_file: str = "passenger_wsgi.py", base_uri: str = "") -> Host:
            if server == "passenger":
                return under_passenger(folder, settings, startup_file, base_uri or "/", stack)
            return standalone(server, folder, settings, startup_file, base_uri, stack)

        yield start


def under_passenger(folder: Path, settings: dict[str, str], startup: str, base_uri: str, stack: ExitStack) -> Host:
    need(apache_available() or passenger_available())
    passenger = Passenger(folder / "passenger", folder / "site" / "scalable", SYSTEM_PYTHON, base_uri, startup)
    site = Site(folder, BOT, settings, extra_config=passenger.configuration)
    stack.callback(passenger.wait_for_end)
    stack.callback(site.stop)
    return Host(site.apache.url + base_uri.rstrip("/"), site.logs)


def standalone(
    server: str, folder: Path, settings: dict[str, str], startup: str, base_uri: str, stack: ExitStack
) -> Host:
    port, log = free_port(), folder / "server.log"
    module = startup.removesuffix(".py") + ":application"
    commands = {
        "gunicorn": [
            "gunicorn",
            f"--bind=127.0.0.1:{port}",
            f"--workers={WORKERS}",
            f"--threads={THREADS}",
            "--preload",
            "--worker-tmp-dir",
            str(folder),
        ],
        "waitress": ["waitress", f"--listen=127.0.0.1:{port}", "--threads=4", f"--url-prefix={base_uri}"],
    }
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY / "scalable"),
        **settings,
        "BOT_DATA_DIR": str(folder / "data"),
        "SCRIPT_NAME": base_uri,
    }
    child = Child([sys.executable, "-m", *commands[server], module], log=log, environment=environment)
    child.start()
    stack.callback(child.close)
    wait_until_ready(child, lambda: accepts_connections(port), what=server, log=log)
    return Host(f"http://127.0.0.1:{port}{base_uri}", lambda: tail(log))


def connections(servers: Servers) -> int:
    """Of all programs but this one to the database's server."""
    with servers.get(DATABASE).connect(as_admin=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB LIKE 'bot\\_%'")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("base_uri", ["", "/bot/scalable"], ids=["at the root", "in a sub-folder"])
def test_both_pages_are_served_wherever_the_site_is_mounted(start: Start, base_uri: str) -> None:
    host = start(base_uri=base_uri)

    answer, page, lost = host.send(1), host.dashboard(), request(f"{host.url}/config.py")

    assert answer.json() == {"ok": True, "queued_job_id": 1}, host.logs()
    assert (page.status, lost.status) == (200, 404), host.logs()
    links = re.findall(r'(?:href|action|src)="(/[^"?]*)', page.body.decode())
    assert links
    assert all(link.startswith(f"{base_uri}/dashboard.py") for link in links), links
    style = next(link for link in links if link.endswith(".css"))
    assert request(host.url.removesuffix(base_uri) + style).status == 200


def test_the_webhook_alone_is_a_start_up_file(start: Start) -> None:
    host = start("webhook_queue.py", "/hook")

    assert host.send(1, "").json()["ok"] is True, host.logs()
    assert request(host.url, method="GET").status == 405


def test_the_dashboard_alone_is_a_start_up_file(start: Start) -> None:
    host = start("dashboard.py", "/watch")

    page = host.dashboard("")

    assert page.status == 200, host.logs()
    assert "/watch/static/" in page.body.decode()


def test_nothing_is_opened_before_a_request_and_then_a_connection_for_each_thread_at_most(
    start: Start, server: str, servers: Servers
) -> None:
    """gunicorn imports the application before it forks: what a parent opened would be shared by its children."""
    before = connections(servers)
    host = start()
    assert connections(servers) <= before  # those of tests before may end meanwhile

    with ThreadPoolExecutor(16) as senders:
        answers = list(senders.map(host.send, range(1, 161)))

    assert [answer.status for answer in answers] == [200] * 160, host.logs()
    assert len({answer.json()["queued_job_id"] for answer in answers}) == 160
    assert connections(servers) - before <= MOST_CONNECTIONS[server]


@pytest.mark.parametrize("server", ["passenger"], indirect=True)
def test_a_wrong_setting_answers_503_until_it_is_right(start: Start, folder: Path) -> None:
    """Without a restart, which an owner without a shell may not know how to do."""
    host = start()
    settings_file = folder / "site" / "scalable" / ".htenv"
    right = settings_file.read_text()
    settings_file.write_text(right + "BOT_WORKER_POOL_SIZE=four\n")

    assert host.send(1).status == 503, host.logs()

    settings_file.write_text(right)
    wait_until(lambda: host.send(1).status == 200, host.logs)
