"""Real database servers for the tests, each on a data folder, socket and loopback port of its own.

Starts, stops, kills, freezes and restarts them, and finds the Python versions to test with. Does not download anything
(tests/install.py does) and does not decide whether a missing server skips or fails a test (support/need.py does).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pymysql
import pymysql.connections

from tests.support.places import private_root
from tests.support.waiting import PATIENCE_SECONDS

from .children import Child, free_port, wait_until_ready
from .database_builds import (
    ADMIN_USER,
    BOT_USER,
    DATABASE_PREFIX,
    PASSWORD,
    Build,
    NotAvailable,
    data_template,
    find_build,
)

PYTHON_CHECK = "import ctypes, sqlite3, ssl, subprocess, sys; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True)
class DatabaseServer:
    """Where one running server is reached, and what can be done to its process.

    `user` owns every database that `create_database` makes and nothing else; `admin_user` may do everything (for
    SET GLOBAL and the like). Both have `password` and come in over the socket and over TCP.
    """

    name: str
    version: str
    socket: str
    port: int
    run_folder: Path
    log: Path
    process: Child = field(repr=False)
    host: str = "127.0.0.1"
    user: str = BOT_USER
    admin_user: str = ADMIN_USER
    password: str = field(default=PASSWORD, repr=False)

    def connect(self, database: str | None = None, *, as_admin: bool = False) -> pymysql.connections.Connection:
        """A new connection over the socket, autocommit on; the caller closes it."""
        return pymysql.connect(
            unix_socket=self.socket,
            user=self.admin_user if as_admin else self.user,
            password=self.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=5,
            read_timeout=30,
            ssl_disabled=True,
        )

    def create_database(self) -> str:
        """Create an empty utf8mb4 database and return its name, never used before."""
        name = f"{DATABASE_PREFIX}{uuid.uuid4().hex[:16]}"
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        return name

    def kill(self) -> None:
        """End the server as a power cut would (SIGKILL); `restart` brings it back on the same data."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and get no answers from here on."""
        self.process.freeze()

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self.process.send(signal.SIGCONT)

    def restart(self, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Start again on the same data, socket and port, after a stop in order if it runs.

        Returns once it answers queries. Raises DidNotStart with the end of its log.
        """
        self.process.stop()
        for leftover in Path(self.socket).parent.iterdir():
            leftover.unlink()
        self.process.start()
        wait_until_ready(self.process, self._answers, what=self.name, log=self.log, timeout_seconds=timeout_seconds)

    def stop(self) -> None:
        """End the server in order, by force after 20 seconds, and remove its folders; safe to repeat."""
        self.process.close()
        shutil.rmtree(self.run_folder, ignore_errors=True)
        shutil.rmtree(Path(self.socket).parent, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True


def available(name: str) -> str | None:
    """None when the server `name` can be started here, otherwise the reason in one line."""
    try:
        find_build(name)
    except NotAvailable as reason:
        return str(reason)
    return None


def start_server(
    name: str,
    folder: Path,
    *,
    extra_args: Sequence[str] = (),
    timeout_seconds: float = PATIENCE_SECONDS,
) -> DatabaseServer:
    """A fresh server of this name (see database_builds.SERVER_NAMES) that answers queries; the caller stops it.

    Its data goes into a new folder inside `folder`; its socket into a short temporary one, because the kernel takes no
    more than 107 characters for it (unix(7)). `extra_args` are server options that win over ours. The server dies with
    this process. Raises NotAvailable, ValueError for an unknown name, DidNotStart with the end of its log.
    """
    build = find_build(name)
    folder.mkdir(parents=True, exist_ok=True)
    run_folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder)).resolve()
    socket_path = Path(tempfile.mkdtemp(prefix="db-")) / "s"
    port = free_port()
    log = run_folder / "server.log"
    shutil.copytree(data_template(build), run_folder / "data")
    (run_folder / "tmp").mkdir()
    command = [*_server_command(build, run_folder, socket_path, port), *extra_args]
    server = DatabaseServer(name, build.version, str(socket_path), port, run_folder, log, Child(command, log=log))
    try:
        server.restart(timeout_seconds)
    except BaseException:
        server.stop()
        raise
    return server


def find_python(version: str) -> list[str] | None:
    """The command that runs Python `version` ("3.9" … "3.14") with sqlite3, ssl and ctypes, or None.

    Looks in PATH, then in pyenv's folder, then among the private downloads; only one that really runs is returned.
    """
    found = [shutil.which(f"python{version}")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found += [str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
    found.append(str(private_root(f"python-{version}") / "usr" / "bin" / f"python{version}"))
    return next(([path] for path in found if path is not None and _runs(path, version)), None)


def _server_command(build: Build, run_folder: Path, socket_path: Path, port: int) -> list[str]:
    command = [
        *build.command,
        *build.base_options(run_folder / "data", run_folder / "tmp"),
        f"--socket={socket_path}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--pid-file={run_folder}/server.pid",
        "--skip-name-resolve",
        "--back-log=500",  # tests connect a hundred times at once; a full queue refuses at once on a socket
    ]
    if build.is_mysql:
        command += ["--mysqlx=OFF", "--disable-log-bin"]
    return command


def _runs(path: str, version: str) -> bool:
    try:
        answer = subprocess.run([path, "-c", PYTHON_CHECK], capture_output=True, text=True, timeout=60)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == version
