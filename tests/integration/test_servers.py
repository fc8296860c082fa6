"""The servers of the test support are real: they start, keep what was committed, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest

from tests.support.need import need
from tests.support.servers.apache import (
    WEB_USER,
    Apache,
    apache_available,
    scripts_can_be_run,
    start_apache,
    suexec_available,
)
from tests.support.servers.children import DidNotStart, accepts_connections
from tests.support.servers.database_builds import SERVER_NAMES, find_build
from tests.support.servers.database_servers import DatabaseServer, available, find_python, start_server
from tests.support.waiting import PATIENCE_SECONDS

TESTS = Path(__file__).resolve().parents[1]
ECHO_CGI = """\
#!/usr/bin/python3
import os, sys
body = sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0))
sys.stdout.write("Content-Type: text/plain\\n\\n")
sys.stdout.write("%s %s %s" % (os.environ["REQUEST_METHOD"], os.environ.get("BOT_X"), os.getuid()))
sys.stdout.flush()
sys.stdout.buffer.write(b"\\n" + body)
"""
ECHO_PHP = '<?php echo $_SERVER["REQUEST_METHOD"], " ", php_sapi_name(), "\\n", file_get_contents("php://input");'


@pytest.fixture(params=SERVER_NAMES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseServer]:
    need(available(request.param))
    server = start_server(request.param, tmp_path)
    yield server
    server.stop()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "scalable").mkdir(parents=True)
    script = folder / "scalable" / "echo.py"
    script.write_text(ECHO_CGI)
    script.chmod(0o700)
    (folder / "scalable" / ".htaccess").write_text("AddHandler cgi-script .py\n")
    (folder / "bot.php").write_text(ECHO_PHP)
    return folder


def ask(server: DatabaseServer, statement: str, *, over: str, database: str | None = None) -> object:
    """The first value of the answer, as the user bot with plain PyMySQL."""
    places: dict[str, dict[str, object]] = {
        "socket": {"unix_socket": server.socket, "ssl_disabled": True},
        "tcp": {"host": server.host, "port": server.port},
    }
    connection = pymysql.connect(  # type: ignore[call-overload]
        user=server.user, password=server.password, database=database, autocommit=True, **places[over]
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return (cursor.fetchone() or [None])[0]


def group_is_gone(group_id: int) -> bool:
    """True when no process of the group is left but such that only wait to be collected by whoever adopted them."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended while we looked
            state, _parent, group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(group) == group_id and state != "Z":
                return False
    return True


def wait_for(condition: Callable[[], bool], what: str, timeout_seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} seconds: {what}"
        time.sleep(0.05)


def post(url: str, body: bytes) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=60) as answer:
        return str(answer.read().decode())


def test_bot_reaches_its_own_database_over_socket_and_tcp(server: DatabaseServer) -> None:
    database = server.create_database()
    ask(server, "CREATE TABLE t (word VARCHAR(20)) ENGINE=InnoDB", over="socket", database=database)
    ask(server, "INSERT INTO t VALUES ('naïve 🙂')", over="tcp", database=database)
    assert ask(server, "SELECT word FROM t", over="socket", database=database) == "naïve 🙂"
    assert ask(server, "SELECT word FROM t", over="tcp", database=database) == "naïve 🙂"
    assert str(ask(server, "SELECT VERSION()", over="tcp")).startswith(server.version.split("-")[0])
    assert len(server.socket) < 100


def test_bot_may_do_nothing_outside_its_databases(server: DatabaseServer) -> None:
    with pytest.raises(pymysql.err.OperationalError):
        ask(server, "CREATE DATABASE of_somebody_else", over="socket")
    with pytest.raises(pymysql.err.OperationalError):
        ask(server, "SET GLOBAL max_connections = 10", over="socket")
    with server.connect(as_admin=True) as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL max_connections = 10")


def test_committed_rows_survive_a_kill_and_a_restart_from_a_thread_that_ends(server: DatabaseServer) -> None:
    database = server.create_database()
    ask(server, "CREATE TABLE t (n INT PRIMARY KEY) ENGINE=InnoDB", over="tcp", database=database)
    with server.connect(database) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s)", [(n,) for n in range(1000)])
        server.kill()
    assert not accepts_connections(server.port)

    restarter = threading.Thread(target=server.restart)
    restarter.start()
    restarter.join()

    time.sleep(0.3)  # long enough for a kill that comes with the end of the thread
    assert ask(server, "SELECT COUNT(*) FROM t", over="tcp", database=database) == 1000
    assert ask(server, "SELECT COUNT(*) FROM t", over="socket", database=database) == 1000


def test_paused_server_answers_only_after_it_goes_on(server: DatabaseServer) -> None:
    with pymysql.connect(
        unix_socket=server.socket, user=server.user, password=server.password, ssl_disabled=True, read_timeout=1
    ) as connection:
        server.pause()
        with pytest.raises(pymysql.err.OperationalError):
            connection.cursor().execute("SELECT 1")
        server.resume()
    assert ask(server, "SELECT 1", over="socket") == 1


def test_stop_leaves_no_process_and_no_folder_even_when_paused(server: DatabaseServer, tmp_path: Path) -> None:
    pid = server.process.pid
    server.pause()
    server.stop()
    server.stop()
    assert group_is_gone(pid)
    assert list(tmp_path.iterdir()) == []
    assert not Path(server.socket).parent.exists()
    assert not accepts_connections(server.port)


START_DATABASE = """
from tests.support.servers.database_servers import start_server
server = start_server({name!r}, folder)
print(server.process.pid, pathlib.Path(server.socket).parent)
"""
START_APACHE = """
from tests.support.servers.apache import start_apache
server = start_apache(folder / "apache", site=folder / "site")
print(server.process.pid, server.socket_folder)
"""


@pytest.mark.parametrize("name", [*SERVER_NAMES, "apache"])
def test_server_dies_with_the_process_that_started_it(name: str, tmp_path: Path, site: Path) -> None:
    need(apache_available() if name == "apache" else available(name))
    start = START_APACHE if name == "apache" else START_DATABASE.format(name=name)
    head = (
        f"import os, pathlib, signal, sys\nsys.path.insert(0, {str(TESTS)!r})\nfolder = pathlib.Path({str(tmp_path)!r})"
    )
    program = f"{head}{start}sys.stdout.flush()\nos.kill(os.getpid(), signal.SIGKILL)"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)

    assert ended.returncode == -signal.SIGKILL, ended.stderr
    pid, socket_folder = ended.stdout.split()
    shutil.rmtree(socket_folder)
    wait_for(lambda: group_is_gone(int(pid)), f"{name} pid={pid} is gone")


def test_server_that_cannot_start_is_reported_with_its_log(tmp_path: Path) -> None:
    need(available("mariadb-10.11"))
    with pytest.raises(DidNotStart, match="no-such-option"):
        start_server("mariadb-10.11", tmp_path, extra_args=["--no-such-option=1"])
    assert list(tmp_path.iterdir()) == []


def test_skip_locked_is_there_exactly_where_it_is_expected(server: DatabaseServer) -> None:
    database = server.create_database()
    ask(server, "CREATE TABLE t (n INT) ENGINE=InnoDB", over="tcp", database=database)
    if server.name == "mariadb-10.5":
        with pytest.raises(pymysql.err.ProgrammingError, match="1064"):
            ask(server, "SELECT n FROM t FOR UPDATE SKIP LOCKED", over="tcp", database=database)
    else:
        assert ask(server, "SELECT n FROM t FOR UPDATE SKIP LOCKED", over="tcp", database=database) is None


def test_versions_are_those_of_the_names() -> None:
    for name in SERVER_NAMES:
        need(available(name))
        if not name.startswith("mysql"):  # Debian's rolling release decides which MySQL there is
            assert find_build(name).version.startswith(name.split("-")[1] + ".")


@pytest.mark.parametrize("cgi_module", ["cgid", "cgi"])
def test_apache_runs_a_cgi_script_and_hands_it_the_post_body(site: Path, tmp_path: Path, cgi_module: str) -> None:
    need(apache_available())
    environment = {"BOT_X": 'a "quoted" value'}
    apache = start_apache(tmp_path / "apache", site=site, environment=environment, cgi_module=cgi_module)
    try:
        method, body = post(f"{apache.url}/scalable/echo.py", b'{"update_id": 1}').split("\n", 1)
        assert method.startswith('POST a "quoted" value ')
        assert os.geteuid() != 0 or not method.endswith(" 0"), "the script ran as root"
        assert body == '{"update_id": 1}'
        wait_for(lambda: "POST /scalable/echo.py" in apache.access_log.read_text(), "the request is in the access log")
        assert apache.error_log.exists()
    finally:
        stop_and_check(apache)


def test_htaccess_is_ignored_or_refused_as_the_host_says(site: Path, tmp_path: Path) -> None:
    need(apache_available())
    apache = start_apache(
        tmp_path / "apache", site=site, allow_override="None", extra_config='AddHandler cgi-script ".py"'
    )
    try:
        assert post(f"{apache.url}/scalable/echo.py", b"x").endswith("\nx")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            post(f"{apache.url}/scalable/.htaccess", b"")
    finally:
        stop_and_check(apache)


def test_apache_is_ready_only_when_its_web_user_may_reach_the_process_of_scripts(tmp_path: Path) -> None:
    need(suexec_available())  # only root starts as one user and serves as another
    assert not scripts_can_be_run(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "cgid.1"))
        assert not scripts_can_be_run(tmp_path)
        shutil.chown(tmp_path / "cgid.1", WEB_USER)
        assert scripts_can_be_run(tmp_path)


def test_apache_runs_php_by_php_cgi(site: Path, tmp_path: Path) -> None:
    need(apache_available(with_php=True))
    apache = start_apache(tmp_path / "apache", site=site, handler_php="cgi")
    try:
        assert post(f"{apache.url}/bot.php", b"body") == "POST cgi-fcgi\nbody"
    finally:
        stop_and_check(apache)


def stop_and_check(apache: Apache) -> None:
    pid = apache.process.pid
    apache.stop()
    assert group_is_gone(pid)
    assert not apache.socket_folder.exists()


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_python_runs_and_starts_itself_again(version: str) -> None:
    command = find_python(version)
    if command is None and version != "3.14":
        pytest.skip(f"Python {version}: not on this machine")
    need(None if command else "Python 3.14: not downloaded: python3 tests/install.py --only python-3.14")
    assert command is not None
    inner = "import os, sys; print(sys.version.split()[0], 'PYTHONHOME' in os.environ)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    answer = subprocess.run([*command, "-c", outer], capture_output=True, text=True, timeout=60)
    assert answer.stdout.startswith(f"{version}."), answer.stderr
    assert answer.stdout.endswith(" False\n")
