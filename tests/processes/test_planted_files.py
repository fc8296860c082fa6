"""What another user leaves in a data folder that he may write to, or made first, is neither believed nor answered by.

A request by CGI looks for two things there before it has read the settings: what an earlier one wrote down, and the
socket of the pool.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scalable.lib.ingest.fast_cgi.cached_settings import (
    NAME,
    CachedSettings,
    find_cached_settings,
    fingerprint,
    store_cached_settings,
)
from scalable.lib.ingest.fast_cgi.protocol import GREETING, SOCKET_NAME
from scalable.lib.queue.dialects.prepared_insert import PreparedInsert
from tests.support.other_user import as_another_user, public_folder
from tests.support.servers.cgi import CgiAnswer, cgi_variables, run_cgi
from tests.support.servers.site import copy_plugin

UPDATE = b'{"update_id": 1, "message": {"chat": {"id": 7}, "text": "of a stranger"}}'
SECRET = "Telegram-knows-it"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A site's `scalable/` that every user of the machine can reach, with a secret and no pool."""
    with public_folder() as place:
        site = place / "site"
        site.mkdir()
        scalable = copy_plugin(site)
        (scalable / ".htenv").write_text(f"BOT_WEBHOOK_SECRET={SECRET}\n")
        yield scalable


def post(scalable: Path, secret: str = "") -> CgiAnswer:
    variables = {"PATH": "/usr/bin:/bin", "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN": secret}
    command = [sys.executable, str(scalable / "webhook_queue.py")]
    return run_cgi(command, {**variables, **cgi_variables("POST", UPDATE)}, UPDATE)


def plant_settings(data: Path, scalable: Path, written: Path) -> str:
    """Settings without a secret, with SQL that writes a file wherever the one who runs it may."""
    database = data / "planted.sqlite3"
    session = [f"ATTACH '{written}' AS x", "CREATE TABLE x.t(a TEXT)", "INSERT INTO x.t VALUES ('<?php')"]
    insert = PreparedInsert(str(database), [], session, "INSERT INTO t(a) VALUES (1)")
    cached = CachedSettings("", "telegram", "INFO", str(data / "poke"), insert)
    os.umask(0)
    database.touch()
    found = database.stat()
    Path(f"{database}-seen").write_text(f"{found.st_ino} 0")
    store_cached_settings(str(data), fingerprint(str(scalable), {}), cached)
    return "planted"


def open_after_init(scalable: Path) -> Path:
    """The owner made it, and opened it to everybody, as some hosts' help says."""
    data = scalable / ".htdata"
    assert post(scalable, SECRET).status == 200
    (data / NAME).unlink()
    data.chmod(0o777)
    return data


def in_a_public_place(scalable: Path) -> Path:
    """Like /tmp after it was cleaned: whoever comes first makes the folder."""
    public = scalable.parent / "tmp"
    public.mkdir()
    public.chmod(0o1777)
    data = public / "data"
    assert as_another_user(lambda: os.mkdir(data, 0o755) or "made") == "made"
    with (scalable / ".htenv").open("a") as file:
        file.write(f"BOT_DATA_DIR={data}\n")
    return data


@pytest.mark.parametrize("place", [open_after_init, in_a_public_place])
def test_settings_that_another_user_has_planted_are_not_believed(folder: Path, place: Callable[[Path], Path]) -> None:
    data, written = place(folder), folder / "written.php"
    assert as_another_user(lambda: plant_settings(data, folder, written)) == "planted"

    answer = post(folder)

    assert answer.status in (401, 503), answer.log
    assert not written.exists()


def test_a_link_of_his_to_a_file_of_ours_is_not_followed(folder: Path) -> None:
    data = folder / ".htdata"
    assert post(folder, SECRET).status == 200
    seen = fingerprint(str(folder), {})
    assert find_cached_settings(str(data), seen) is not None

    (data / NAME).rename(data / "elsewhere")
    (data / NAME).symlink_to("elsewhere")

    assert find_cached_settings(str(data), seen) is None


@pytest.mark.parametrize("change", ["written by others", "a pipe", "open folder", "of another user"])
def test_only_a_file_of_ours_in_a_folder_of_ours_is_read(folder: Path, change: str) -> None:
    """The pipe would keep every request waiting."""
    data = folder / ".htdata"
    assert post(folder, SECRET).status == 200
    seen, file = fingerprint(str(folder), {}), data / NAME
    if change == "written by others":
        file.chmod(0o620)
    elif change == "a pipe":
        file.unlink()
        os.mkfifo(file, 0o600)
    elif change == "open folder":
        data.chmod(0o770)
    else:
        os.chown(file, 1, 1)

    assert find_cached_settings(str(data), seen) is None


@pytest.mark.parametrize(
    ("account", "session", "statement"),
    [
        ([], ["ATTACH '/x' AS x"], "INSERT INTO t(a) VALUES (1)"),
        ([], ["PRAGMA synchronous = FULL", "PRAGMA writable_schema = 1"], "INSERT INTO t(a) VALUES (1)"),
        ([], ["PRAGMA synchronous = FULL"], "DELETE FROM t"),
        (["u", "p", "d"], ["SET x", "DROP TABLE t"], "INSERT INTO t(a) VALUES (1)"),
        (["u", "p", "d"], ["SET x"], "UPDATE t SET a = 1"),
    ],
    ids=["attach", "one more", "delete", "drop", "update"],
)
def test_statements_that_we_never_write_down_are_not_run(
    folder: Path, account: list[str], session: list[str], statement: str
) -> None:
    data = folder / ".htdata"
    data.mkdir(0o700)
    seen = fingerprint(str(folder), {})
    insert = PreparedInsert("/db", account, session, statement)
    store_cached_settings(str(data), seen, CachedSettings("", "chat", "INFO", "/poke", insert))

    assert find_cached_settings(str(data), seen) is None


def test_a_link_in_the_way_of_what_is_written_down_is_not_written_through(folder: Path) -> None:
    data, precious = folder / ".htdata", folder / "precious"
    data.mkdir(0o700)
    precious.write_text("kept")
    (data / f"{NAME}.{os.getpid()}").symlink_to(precious)
    insert = PreparedInsert("/db", ["u", "p", "d"], [], "INSERT INTO t")

    store_cached_settings(str(data), "seen", CachedSettings("", "chat", "INFO", "/poke", insert))

    assert precious.read_text() == "kept"
    assert find_cached_settings(str(data), "seen") is not None


# The pool's socket


def test_a_socket_where_another_user_answers_gets_nothing_of_the_request(folder: Path) -> None:
    data = open_after_init(folder)
    read_end, write_end = os.pipe()

    def listen() -> str:
        """Greets as the pool does, and says what it was told."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(data / os.fsdecode(SOCKET_NAME)))
            os.chmod(data / os.fsdecode(SOCKET_NAME), 0o777)
            listener.listen(5)
            os.write(write_end, b"x")
            listener.settimeout(20)
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                try:
                    connection.sendall(GREETING)
                    return repr(connection.recv(65536))
                except ConnectionError:  # the other end has gone by now
                    return repr(b"")

    heard: list[str] = []
    other = threading.Thread(target=lambda: heard.append(as_another_user(listen)))
    other.start()
    assert select.select([read_end], [], [], 20)[0], heard
    answer = post(folder, SECRET)
    other.join(30)

    assert heard == ["b''"]
    assert answer.status == 503, "the file of a stranger is in the data folder"
    os.close(read_end)
    os.close(write_end)
