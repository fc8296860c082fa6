"""What we make is ours alone, whatever the umask: another user can neither read it nor put something in its place."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.support.other_user import as_another_user, program_of_another_user, public_folder
from tests.support.places import REPOSITORY

UPDATE = (
    b'{"update_id": %d, "message": {"message_id": 1, "date": 1, "chat": {"id": 7, "type": "private"}, "text": "a"}}'
)
BOT = """#!/usr/bin/env python3
import os, pathlib
seen = os.umask(0)
pathlib.Path(%r).write_text(f"{seen:03o}")
"""
FUNCTION_BOT = "import os, pathlib\ndef handle(update):\n    pathlib.Path(%r).touch()\n"


class Site:
    """A copy of the whole folder `scalable/`, as somebody uploaded it; every process has `umask`."""

    def __init__(self, home: Path, umask: int) -> None:
        self.home, self.umask = home, umask
        self.scalable = home / "site" / "scalable"
        shutil.copytree(
            REPOSITORY / "scalable", self.scalable, ignore=shutil.ignore_patterns("__pycache__", ".ht*data", ".htenv")
        )
        self.bots_file = home / "by-the-bot"
        self.bot = home / "site" / "bot.py"
        self.bot.write_text(BOT % str(self.bots_file))
        self.bot.chmod(0o755)
        self.log = home / "scalable.log"
        self.before = {path: path.lstat().st_mode for path in self.files()}
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "BOT_WORKER_SLEEP": "0.1"}

    def files(self) -> list[Path]:
        return [Path(root, name) for root, folders, files in os.walk(self.home) for name in folders + files]

    def run(self, script: str, *arguments: str, body: bytes = b"", **environment: str) -> bytes:
        """What the script prints; its log goes where a line of cron sends it."""
        command = [sys.executable, str(self.scalable / script), *arguments]
        with open(self.log, "ab", opener=lambda path, flags: os.open(path, flags, 0o666)) as log:
            done = subprocess.run(
                command,
                input=body,
                stdout=subprocess.PIPE,
                stderr=log,
                env={"BOT_LEGACY_PATH": "../bot.py", **self.environment, **environment},
                umask=self.umask,
                timeout=60,
                check=False,
            )
        return done.stdout

    def post(self, number: int) -> bytes:
        body = UPDATE % number
        variables = {"GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body))}
        return self.run("webhook_queue.py", body=body, SERVER_PROTOCOL="HTTP/1.1", QUERY_STRING="", **variables)

    def open_to_others(self) -> list[str]:
        """What was made since the upload and others may read or write; not what the bot made."""
        return [
            f"{path} {stat.S_IMODE(path.lstat().st_mode):o}"
            for path in self.files()
            if path not in self.before and path != self.bots_file and stat.S_IMODE(path.lstat().st_mode) & 0o077
        ]


@pytest.fixture
def home() -> Iterator[Path]:
    with public_folder() as folder:
        yield folder


def everything_once(site: Site) -> None:
    """Each entry script, as web server, cron and shell start it."""
    assert site.post(1).startswith(b"Status: 200")
    assert site.post(2).startswith(b"Status: 200"), "inserted directly, by the settings that the first one has left"
    site.run("worker_pool.py", "--cron", "--max-seconds", "1")
    site.run("worker.py", "--drain", "--max-seconds", "60")
    site.run("config.py")
    assert b'"done": 2' in site.run("dashboard.py", "--json")


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022])
def test_nothing_that_we_make_is_open_to_others(home: Path, umask: int) -> None:
    site = Site(home, umask)

    everything_once(site)

    assert site.open_to_others() == []
    made = {path.name for path in site.files() if path not in site.before}
    assert {"__pycache__", ".htdata", ".ht-queue.sqlite3", "scalable.log"} <= made


@pytest.mark.parametrize("umask", [0o000, 0o027])
def test_the_bot_has_the_umask_that_we_were_started_with(home: Path, umask: int) -> None:
    """Its files are its own: pictures that the web server shows have to stay readable."""
    site = Site(home, umask)

    everything_once(site)

    assert site.bots_file.read_text() == f"{umask:03o}"


def test_a_function_in_the_workers_own_process_makes_files_that_a_web_server_can_read(home: Path) -> None:
    """And that nobody else can write: there its umask is ours as well."""
    site = Site(home, 0o000)
    site.bot.write_text(FUNCTION_BOT % str(site.bots_file))

    site.post(1)
    site.run("worker.py", "--drain", "--max-seconds", "60", BOT_LEGACY_PATH="../bot.py:handle")

    assert stat.S_IMODE(site.bots_file.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "first",
    [("worker.py", "--drain"), ("worker_pool.py", "--cron", "--max-seconds", "1"), ("config.py",)],
    ids=" ".join,
)
def test_the_queue_is_private_where_a_function_was_imported_before_it_was_made(home: Path, first: list[str]) -> None:
    """The bot's umask counts while the bot is looked at, and then for the worker."""
    site = Site(home, 0o000)
    site.bot.write_text(FUNCTION_BOT % str(site.bots_file))

    site.run(*first, BOT_LEGACY_PATH="../bot.py:handle")
    site.run("worker.py", "--drain", BOT_LEGACY_PATH="../bot.py:handle")

    assert (site.scalable / ".htdata" / ".ht-queue.sqlite3").exists()
    assert [path for path in site.open_to_others() if "/.htdata" in path] == []


def test_a_worker_that_a_web_request_starts_hands_on_the_umask(home: Path) -> None:
    site = Site(home, 0o022)
    site.environment["BOT_WORKER_KICK"] = "1"

    site.post(1)
    site.run("worker.py", "--drain", "--max-seconds", "60")

    assert site.bots_file.read_text() == "022"
    assert site.open_to_others() == []


def test_another_user_cannot_replace_compiled_code_or_read_what_is_stored(home: Path) -> None:
    site = Site(home, 0o000)
    everything_once(site)
    caches = [path for path in site.files() if path.name == "__pycache__"]
    compiled = [file for cache in caches for file in cache.iterdir()]
    private = [site.log, *(site.scalable / ".htdata").iterdir()]
    assert len(compiled) > 50
    assert len(private) > 3

    def attack() -> list[str]:
        done = [f"made a file in {cache}" for cache in caches if can(partial((cache / "x").write_text, "x"))]
        done += [f"replaced {file}" for file in compiled if can(partial(os.rename, file, f"{file}.old"))]
        done += [f"wrote {file}" for file in compiled if can(partial(file.write_bytes, b"x"))]
        return done + [f"read {file}" for file in private if can(file.read_bytes)]

    assert as_another_user(attack) == "[]"


def test_the_check_finds_code_that_others_may_write_or_have_written(home: Path) -> None:
    """As an older version left it behind under an open umask."""
    site = Site(home, 0o022)
    site.run("config.py")
    caches = [path for path in site.files() if path.name == "__pycache__"]
    for cache in caches:
        cache.chmod(0o777)
    planted = caches[0] / "errors.cpython-39.pyc"
    assert as_another_user(lambda: planted.write_text("x")) == "1"

    said = site.run("config.py").decode()

    assert re.search(rf"error +scripts: \S+ and {len(caches) - 1} more: others may write here, and so run code", said)
    assert f"error    scripts: {planted}: belongs to nobody, who can change this code" in said
    site.run("config.py", "init")
    assert "others may write here" not in site.run("config.py").decode()


def plant(path: Path) -> None:
    """The same content as a file of another user, as he makes it in a folder that is open to all."""
    content, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()
    assert as_another_user(lambda: path.write_bytes(content)) == str(len(content))
    path.chmod(mode)


@pytest.mark.parametrize(
    "name",
    ["__init__.py", "worker_pool.py", "passenger_wsgi.py", "doctor.php", ".htaccess", "lib/door/bare_row.php"],
)
def test_the_check_names_every_file_that_another_user_could_have_made(home: Path, name: str) -> None:
    site = Site(home, 0o022)
    (site.scalable / name).parent.chmod(0o777)
    plant(site.scalable / name)
    (site.scalable / name).parent.chmod(0o755)

    said = site.run("config.py").decode()

    assert f"error    scripts: {site.scalable / name}: belongs to nobody, who can change this code" in said
    assert "Everything needed is in place." not in site.run("config.py", "init").decode()


@pytest.mark.parametrize("name", ["lib/errors.py", "lib/telegram", "lib/queue/dialects"])
def test_the_check_names_a_link_that_leads_to_what_is_anothers(home: Path, name: str) -> None:
    site = Site(home, 0o022)
    with public_folder() as his:
        moved = his / Path(name).name
        shutil.move(site.scalable / name, moved)
        (site.scalable / name).symlink_to(moved)
        shutil.chown(his, "nobody")

        said = site.run("config.py").decode()

    assert f"error    scripts: {site.scalable / name}: belongs to nobody, who can change this code" in said


def test_init_does_not_make_the_script_of_another_user_ours(home: Path) -> None:
    site = Site(home, 0o022)
    script = site.scalable / "worker.py"
    script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))
    site.scalable.chmod(0o777)
    plant(script)
    site.scalable.chmod(0o755)

    said = site.run("config.py", "init").decode()

    assert "worker.py: cannot be changed (it belongs to nobody)" in said
    assert script.owner() == "nobody"


def test_init_takes_code_that_others_could_write_from_who_has_opened_it(home: Path) -> None:
    site = Site(home, 0o022)
    code = site.scalable / "lib" / "errors.py"
    code.chmod(0o666)
    hold = f"""
import sys
file = open({str(code)!r}, "a")
print("open", flush=True)
sys.stdin.readline()
file.write("raise SystemExit('his code')")
"""
    before = code.read_bytes()
    with program_of_another_user(hold) as him:
        assert him.readline() == "open\n"
        assert b"written anew" in site.run("config.py", "init")

    assert code.read_bytes() == before
    assert stat.S_IMODE(code.stat().st_mode) == 0o644


def test_settings_that_another_user_made_are_an_error(home: Path) -> None:
    site = Site(home, 0o022)
    site.scalable.chmod(0o777)
    assert as_another_user(lambda: (site.scalable / ".htenv").write_text("BOT_LOG_LEVEL=INFO\n")) == "19"
    site.scalable.chmod(0o755)

    assert "error    settings file: " in (said := site.run("config.py").decode())
    assert "belongs to nobody, who chooses by it what is run as you" in said


def can(work: Callable[[], object]) -> bool:
    try:
        work()
    except PermissionError:
        return False
    return True


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o707, 0o770, 0o2775])
def test_a_folder_that_was_made_open_is_made_private(home: Path, mode: int) -> None:
    """By an older version, an upload, or an owner who thought that it had to be."""
    site = Site(home, 0o022)
    site.post(1)
    data = site.scalable / ".htdata"
    (data / ".ht-queue.sqlite3").chmod(0o666)
    data.chmod(mode)

    site.run("dashboard.py", "--json")

    assert stat.S_IMODE(data.stat().st_mode) & 0o777 == 0o700
    # The log is put aside by the first command that writes into it; this one has nothing to say.
    assert [each for each in site.open_to_others() if not each.startswith(str(site.log))] == []


def test_a_database_that_others_could_open_is_told_until_the_remedy_was_done_and_loses_nothing(home: Path) -> None:
    site = Site(home, 0o022)
    site.post(1)
    data = site.scalable / ".htdata"
    (data / ".ht-queue.sqlite3").chmod(0o644)
    data.chmod(0o755)

    with (data / ".ht-queue.sqlite3").open("rb") as neighbour:
        site.post(2)
        logged = _log_of_a_pool(site)
        [remedy] = re.findall(r"cp -p \S+ \S+ && mv \S+ [a-z0-9.-]+", logged)
        subprocess.run(["sh", "-c", remedy], cwd=data, check=True)
        site.post(3)
        heard = neighbour.read()
    after = _log_of_a_pool(site)

    assert "data was open to others" in logged
    assert "data was open to others" not in after
    assert b'"update_id": 3' not in heard
    with closing(sqlite3.connect(data / ".ht-queue.sqlite3")) as database:
        assert [number for (number,) in database.execute("SELECT update_id FROM bot_jobs ORDER BY id")] == [1, 2, 3]


def _log_of_a_pool(site: Site) -> str:
    site.log.unlink()
    site.run("worker_pool.py", "--cron", "--max-seconds", "1")
    return site.log.read_text()


def test_a_log_that_was_open_to_others_is_made_private_before_a_line_is_written(home: Path) -> None:
    site = Site(home, 0o022)
    site.log.write_text("a line of then\n")
    site.log.chmod(0o644)

    site.run("worker_pool.py", "--cron", "--max-seconds", "1", BOT_LOG_LEVEL="DEBUG")

    assert stat.S_IMODE(site.log.stat().st_mode) == 0o600
    assert len(site.log.read_text().splitlines()) > 1


@pytest.mark.parametrize(
    ("mode", "said"),
    [(0o600, ""), (0o644, "others may read it"), (0o640, "others may read it"), (0o666, "others may write")],
)
def test_a_pool_says_that_others_may_read_the_settings(home: Path, mode: int, said: str) -> None:
    """Its token and its passwords are in that file; who does not run the check never hears of it."""
    site = Site(home, 0o022)
    settings = site.scalable / ".htenv"
    settings.write_text("BOT_MONITOR_LIMIT=7\n")
    settings.chmod(mode)

    site.run("worker_pool.py", "--cron", "--max-seconds", "1")

    log = site.log.read_text()
    assert ("settings file is open to others" in log) == (mode != 0o600), log
    assert said in log
    assert (f"chmod 600 {settings}" in log) == (mode != 0o600)
