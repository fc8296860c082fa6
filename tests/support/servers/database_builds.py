"""Which database servers can be started on this machine, and a ready data folder for each.

A build is either the machine's own MariaDB or one that tests/install.py unpacked into a private folder. Making system
tables takes seconds, copying them does not: each build's first data folder is made once and kept as a template. Knows
nothing about running servers.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.places import SERVERS_CACHE, private_command, private_root

SYSTEM_SERVER = "mariadb-10.11"
PRIVATE_SERVERS = ("mariadb-10.5", "mariadb-11.8", "mysql-9.7")
SERVER_NAMES = (SYSTEM_SERVER, *PRIVATE_SERVERS)

BOT_USER = "bot"
ADMIN_USER = "admin"
PASSWORD = "not-a-secret"
DATABASE_PREFIX = "bot_"

# The bot is what a shared host gives its customer: everything inside databases of its own prefix, nothing outside.
ACCOUNTS_SQL = f"""\
CREATE USER '{BOT_USER}'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON `bot\\_%`.* TO '{BOT_USER}'@'%';
CREATE USER '{ADMIN_USER}'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO '{ADMIN_USER}'@'%' WITH GRANT OPTION;
"""
INITIALIZE_TIMEOUT_SECONDS = 120


class NotAvailable(RuntimeError):
    """A server cannot be started on this machine; the message is the reason in one line."""


@dataclass(frozen=True)
class Build:
    """One database program: how it is run, which version it says it is, where its own files are."""

    name: str
    command: tuple[str, ...]
    version: str
    prefix: Path
    share: Path

    @property
    def is_mysql(self) -> bool:
        """True for MySQL, False for MariaDB: they differ in options and in how they are initialized."""
        return self.name.startswith("mysql")

    def base_options(self, data: Path, temporary: Path) -> list[str]:
        """Options that initializing and running have in common; sizes are small but fit for a few thousand jobs."""
        options = [
            "--no-defaults",  # has to be the first
            f"--basedir={self.prefix}",
            f"--lc-messages-dir={self.share}",
            f"--character-sets-dir={self.share}/charsets",
            f"--plugin-dir={self.prefix}/lib/mysql/plugin",
            f"--datadir={data}",
            f"--tmpdir={temporary}",
            "--innodb-buffer-pool-size=64M",
            "--performance-schema=OFF",
        ]
        if os.geteuid() == 0:
            options.append("--user=root")
        if self.is_mysql:
            return [*options, "--innodb-redo-log-capacity=64M", "--secure-file-priv="]
        return [*options, "--innodb-log-file-size=48M"]


def find_build(name: str) -> Build:
    """The build `name` of SERVER_NAMES. Raises NotAvailable with the reason, ValueError for an unknown name."""
    if name not in SERVER_NAMES:
        raise ValueError(f"{name!r}: expected one of {', '.join(SERVER_NAMES)}")
    if shutil.which("setpriv") is None:
        raise NotAvailable(f"{name}: setpriv of the package util-linux is not there")
    build = _system_build(name) if name == SYSTEM_SERVER else _private_build(name)
    if name == SYSTEM_SERVER and not build.version.startswith("10.11."):
        raise NotAvailable(f"{name}: the mariadbd of this machine is {build.version}, expected 10.11")
    return build


def data_template(build: Build) -> Path:
    """A folder to copy as the data folder of a new server, with system tables and both accounts; made when missing.

    Safe when several test runs ask at once: one makes it, the others wait.
    """
    made_from = f"{build.version} {ACCOUNTS_SQL} {build.base_options(Path('data'), Path('tmp'))}"
    key = hashlib.sha256(made_from.encode()).hexdigest()[:12]
    templates = SERVERS_CACHE / "templates"
    templates.mkdir(parents=True, exist_ok=True)
    template = templates / f"{build.name}-{key}"
    with (templates / f"{build.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            for outdated in templates.glob(f"{build.name}-*"):
                shutil.rmtree(outdated)
            _make_template(build, template)
    return template


def _system_build(name: str) -> Build:
    program = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise NotAvailable(f"{name}: mariadbd is not installed: python3 tests/install.py")
    return _build(name, (program,), Path("/usr"))


def _private_build(name: str) -> Build:
    root = private_root(name)
    if not root.exists():
        raise NotAvailable(f"{name}: not downloaded: python3 tests/install.py --only {name}")
    program = "usr/sbin/mysqld" if name.startswith("mysql") else "usr/sbin/mariadbd"
    try:
        return _build(name, tuple(private_command(root, program)), root / "usr")
    except FileNotFoundError as error:
        raise NotAvailable(f"{name}: {error}") from error


def _build(name: str, command: tuple[str, ...], prefix: Path) -> Build:
    answer = subprocess.run([*command, "--no-defaults", "--version"], capture_output=True, text=True, timeout=60)
    version = re.search(r"Ver (\d\S*)", answer.stdout)
    if version is None:
        raise NotAvailable(f"{name}: {command[-1]} --version failed: {(answer.stdout + answer.stderr).strip()!r}")
    shares = [prefix / "share" / folder for folder in ("mariadb", "mysql")]
    share = next((folder for folder in shares if (folder / "charsets").is_dir()), None)
    if share is None:
        raise NotAvailable(f"{name}: neither {shares[0]} nor {shares[1]} holds charsets")
    return Build(name, command, version.group(1), prefix, share)


def _make_template(build: Build, template: Path) -> None:
    """Make the data folder beside its place and move it there only when complete."""
    work = template.with_suffix(".part")
    shutil.rmtree(work, ignore_errors=True)
    data, temporary = work / "data", work / "tmp"
    for folder in (data, temporary):
        folder.mkdir(parents=True)
    command = [*build.command, *build.base_options(data, temporary)]
    if build.is_mysql:
        _initialize_mysql(command, work)
        (data / "auto.cnf").unlink()  # every copy makes a server id of its own
    else:
        _run(build.name, [*command, "--bootstrap"], _mariadb_bootstrap_sql(build.share))
    data.rename(template)
    shutil.rmtree(work)


def _initialize_mysql(command: list[str], work: Path) -> None:
    accounts = work / "accounts.sql"
    accounts.write_text(ACCOUNTS_SQL)
    _run("mysql", [*command, "--initialize-insecure", f"--init-file={accounts}"], "")


def _mariadb_bootstrap_sql(share: Path) -> str:
    """What mariadb-install-db sends to the server: the system tables, here without users for this machine's name."""
    prefix = "mariadb" if (share / "mariadb_system_tables.sql").exists() else "mysql"
    tables = (f"{prefix}_system_tables", f"{prefix}_performance_tables", f"{prefix}_system_tables_data")
    parts = [(share / f"{table}.sql").read_text() for table in (*tables, "maria_add_gis_sp_bootstrap")]
    lines = [line for part in parts for line in part.splitlines() if "@current_hostname" not in line]
    head = ["CREATE DATABASE mysql;", "USE mysql;", "SET @auth_root_socket=NULL;"]
    return "\n".join([*head, *lines, "FLUSH PRIVILEGES;", ACCOUNTS_SQL])


def _run(name: str, command: list[str], sql: str) -> None:
    done = subprocess.run(
        command, input=sql, capture_output=True, text=True, errors="replace", timeout=INITIALIZE_TIMEOUT_SECONDS
    )
    if done.returncode != 0 or "\nERROR" in done.stderr:
        last_lines = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise RuntimeError(f"{name}: the data folder could not be initialized, exit {done.returncode}:\n{last_lines}")
