"""Every secret of an installation is a word found nowhere else; after it has run, it is nowhere where it must not be.

Not in a log, not in a file that others can read, not in the arguments or the environment of a process, not in a page of
a lower role.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.conftest import database_settings
from tests.support.fakes.bot_api import FakeBotApi, fails, refuses
from tests.support.generators.visitor import Visitor
from tests.support.other_user import as_another_user, public_folder
from tests.support.places import REPOSITORY
from tests.support.servers.children import Child, accepts_connections, free_port, tail, wait_until_ready
from tests.support.servers.databases import Servers
from tests.support.servers.site import request
from tests.support.waiting import eventually

CANARIES = {
    "BOT_TOKEN": "123456:canary-of-the-bots-token-000",
    "BOT_WEBHOOK_SECRET": "canary-of-the-webhook-secret-000",
    "BOT_MONITOR_TOKEN": "canary-of-the-owners-token-00000",
    "BOT_MONITOR_READ_TOKEN": "canary-of-the-readers-token-0000",
    "BOT_TICK_TOKEN": "canary-of-the-ticks-token-000000",
}
DB_PASSWORD = "canary-of-the-database-password0"
TOLD = re.compile(r"job failed id=\d+|reply not sent id=\d+")
# Notes what it sees of the machine, then fails: what it prints is kept, and told.
BOT = """#!/usr/bin/env python3
import glob, os, sys
with open(%(seen)r, "ab") as seen:
    seen.write(repr(dict(os.environ)).encode())
    for place in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            seen.write(open(place, "rb").read())
        except OSError:
            pass
update = sys.stdin.read()
if "fail" in update:
    sys.exit("it failed")
print('{"method": "sendMessage", "chat_id": 7, "text": "hi"}')
"""
ADDRESSES = [
    "",
    "?format=json",
    "?format=health",
    "?format=prometheus",
    "/jobs?status=failed",
    "/jobs",
    "/job/1",
    "/job/2",
]


@dataclass
class Site:
    """A whole installation where everybody can come, started under umask 000, with its settings in a file."""

    home: Path
    secrets: dict[str, str]
    others: dict[str, str]
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.scalable = self.home / "site" / "scalable"
        ignored = shutil.ignore_patterns("__pycache__", ".ht*data", ".htenv", "vendor")
        shutil.copytree(REPOSITORY / "scalable", self.scalable, ignore=ignored)
        self.seen, self.log = self.home / "seen-by-the-bot", self.home / "pool.log"
        bot = self.home / "site" / "bot.py"
        bot.write_text(BOT % {"seen": str(self.seen)})
        bot.chmod(0o755)
        settings = self.scalable / ".htenv"
        lines = {**self.secrets, **self.others, "BOT_LEGACY_PATH": "../bot.py"}
        settings.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        settings.chmod(0o600)
        command = ["sh", "-c", 'umask 000; exec "$@"', "sh", *self.command("worker_pool.py", "--serve", self.place)]
        self.pool = Child(command, log=self.log, environment={"PATH": os.environ["PATH"], "HOME": str(self.home)})

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.place}/scalable"

    def command(self, script: str, *arguments: str) -> list[str]:
        return [sys.executable, str(self.scalable / script), *arguments]

    def run(self, script: str, *arguments: str, body: bytes = b"", **environment: str) -> None:
        """One of the scripts to its end, whatever it says, which goes into a log of its own."""
        with open(self.home / "shell.log", "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
            subprocess.run(
                self.command(script, *arguments),
                input=body,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(self.home), **environment},
                umask=0,
                timeout=60,
                check=False,
            )

    def send(self, number: int, text: str, secret: str) -> int:
        chat = {"id": 7, "type": "private", "first_name": "Ayu"}
        update = {"update_id": number, "message": {"message_id": 1, "date": 1, "chat": chat, "text": text}}
        body = json.dumps(update).encode()
        return request(f"{self.url}/webhook_queue.py", body, X_Telegram_Bot_Api_Secret_Token=secret).status

    def secrets_made(self) -> dict[str, str]:
        """Those that the installation made itself."""
        return {".ht-secret": (self.scalable / ".htdata" / ".ht-secret").read_text().strip()}


@pytest.fixture
def home() -> Iterator[Path]:
    with public_folder() as folder:
        yield folder


@pytest.fixture(params=["sqlite", "mariadb-10.11"])
def site(home: Path, request: pytest.FixtureRequest, servers: Servers) -> Iterator[Site]:
    with FakeBotApi() as api:
        api.will("sendMessage", refuses("Unauthorized", 401), fails(500), fails(500))
        others = {"BOT_API_URL": api.url, "BOT_JOB_MAX_ATTEMPTS": "1", "BOT_WORKER_SLEEP": "0.1", "BOT_BREAKER": "0"}
        secrets = dict(CANARIES)
        if request.param != "sqlite":
            settings = database_with_canary(servers, request.param)
            secrets["BOT_DB_PASS"] = settings.pop("BOT_DB_PASS")
            others.update(settings)
        site = Site(home, secrets, others)
        site.pool.start()
        wait_until_ready(site.pool, lambda: accepts_connections(site.port), what="pool", log=site.log)
        yield site
        site.pool.close()


def database_with_canary(servers: Servers, name: str) -> dict[str, str]:
    """The settings of a fresh database whose user has a password that is found nowhere else."""
    settings = database_settings(servers, name)
    with servers.get(name).connect(as_admin=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER IF NOT EXISTS 'canary'@'%%' IDENTIFIED BY %s", (DB_PASSWORD,))
        cursor.execute(f"GRANT ALL ON `{settings['BOT_DB_NAME']}`.* TO 'canary'@'%'")
    return {**settings, "BOT_DB_USER": "canary", "BOT_DB_PASS": DB_PASSWORD}


def use(site: Site) -> dict[str, str]:
    """Everything once, also what goes wrong. The pages of each role."""
    secret = site.secrets["BOT_WEBHOOK_SECRET"]
    assert [site.send(1, "fail", secret), site.send(2, "hi", secret), site.send(3, "hi", "wrong")] == [200, 200, 401]
    eventually(lambda: {"job failed id=1", "reply not sent id=2"} <= set(TOLD.findall(site.log.read_text())))
    cgi = {"GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "POST", "SERVER_PROTOCOL": "HTTP/1.1"}
    site.run("webhook_queue.py", body=b"{}", CONTENT_LENGTH="2", HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN="x", **cgi)
    for script, *arguments in (
        ("config.py",),
        ("config.py", "init"),
        ("dashboard.py", "show", "1"),
        ("webhook_queue.py", "info"),
        ("worker.py", "--drain", "--max-seconds", "2"),
        ("worker_pool.py", "--status"),
    ):
        site.run(script, *arguments)
    stranger, reader, owner = (Visitor(f"{site.url}/dashboard.py") for _ in range(3))
    stranger.get("?token=wrong")
    reader.log_in(site.secrets["BOT_MONITOR_READ_TOKEN"])
    owner.log_in(site.secrets["BOT_MONITOR_TOKEN"])
    who = {"stranger": stranger, "reader": reader, "owner": owner}
    pages = {f"{name} {place}": one.get(place).body.decode() for name, one in who.items() for place in ADDRESSES}
    pages["tick"] = request(f"{site.url}/worker.py?token=wrong").body.decode()
    return pages


class Watcher:
    """What was in the arguments and in the environment of any process but this one, since it began."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def has(self, word: bytes) -> bool:
        return any(word in text for text in list(self._seen))

    def end(self) -> None:
        self._is_over.set()
        self._thread.join(60)

    def _watch(self) -> None:
        while not self._is_over.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ") if int(process.name) != os.getpid() else ():
                    with suppress(OSError):
                        self._seen.add((process / name).read_bytes())


@pytest.fixture
def processes() -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.end()


def test_no_secret_is_where_it_must_not_be(site: Site, processes: Watcher) -> None:
    pages = use(site)
    site.pool.stop()
    processes.end()
    secrets = {**site.secrets, **site.secrets_made(), "the token's key": site.secrets["BOT_TOKEN"].partition(":")[2]}
    logs = {path: path.read_text(errors="replace") for path in site.home.glob("*.log")}

    assert processes.has(b"worker_pool.py"), "nothing was watched"
    assert b"PATH" in site.seen.read_bytes(), "the bot has not run"
    assert "job failed id=1" in logs[site.log], tail(site.log)
    for name, secret in secrets.items():
        found = [page for page, text in pages.items() if secret in text]
        found += [f"log {path.name}" for path, text in logs.items() if secret in text]
        found += ["a process"] if processes.has(secret.encode()) else []
        found += ["the bot"] if secret.encode() in site.seen.read_bytes() else []
        assert found == [], name
    assert as_another_user(lambda: files_with(site.home, secrets)) == "[]"


def files_with(home: Path, secrets: dict[str, str]) -> list[str]:
    """Those that this user can read, below the site and where programs leave their temporary files."""
    found, looked_at = [], 0
    for top in (home, Path("/tmp"), Path("/dev/shm")):
        for root, folders, files in os.walk(top):
            folders[:] = [name for name in folders if top == home or name.startswith(("scalable", "php", "tmp"))]
            for path in (Path(root, name) for name in files):
                with suppress(OSError):
                    content = path.read_bytes() if path.is_file() else b""
                    looked_at += 1
                    found += [f"{path}: {name}" for name, secret in secrets.items() if secret.encode() in content]
    assert looked_at > 100, "the user could read nothing at all"
    return found


def test_a_secret_that_lies_about_is_found(home: Path, processes: Watcher) -> None:
    """Else the test above would prove nothing."""
    secrets = {"one": "canary-that-lies-about-0000"}
    for number in range(101):
        (home / f"file-{number}").touch(0o644)
    (home / "open").write_text(f"x{secrets['one']}x")
    (home / "open").chmod(0o644)
    (home / "closed").write_text(secrets["one"])
    (home / "closed").chmod(0o600)
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", secrets["one"]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={"ONE": "canary-in-the-environment"}) as process:
        eventually(lambda: processes.has(secrets["one"].encode()) and processes.has(b"canary-in-the-environment"))
        process.communicate(b"")

    found = as_another_user(lambda: files_with(home, secrets))
    assert f"{home}/open: one" in found
    assert "closed" not in found
