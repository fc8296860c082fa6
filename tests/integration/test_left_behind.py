"""Updates that wait in the SQLite file when BOT_DB_* are set: check, page and the pool's log tell of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import database_settings
from tests.support.places import REPOSITORY
from tests.support.servers.databases import Servers
from tests.support.servers.served_installation import ServedSite

PY_BOT = REPOSITORY / "examples" / "bot.py"


def leave(folder: Path, updates: int) -> Path:
    """The data folder of an installation whose queue was an SQLite file, when its owner has let it forget that."""
    with ServedSite(folder, PY_BOT) as site:
        site.owner().press("pause", sure="yes")
        for number in range(updates):
            assert site.send({"update_id": number, "message": {"chat": {"id": 7}, "text": "hello"}}).status == 200
    (folder / "data" / ".ht-database").unlink()
    return folder / "data" / ".ht-queue.sqlite3"


def test_check_page_and_log_say_how_many_and_what_to_do(tmp_path: Path, servers: Servers) -> None:
    """F32: check, page and log."""
    file = leave(tmp_path, 3)

    with ServedSite(tmp_path, PY_BOT, **database_settings(servers, "mariadb-10.11")) as site:
        site.send({"update_id": 10, "message": {"chat": {"id": 7}, "text": "hello"}})
        site.wait_for_counts(done=1)
        checked = site.run("config.py")
        page = site.owner().page("/")
        log = site.log.read_text()

    for text in (checked.stdout, log):
        assert f"3 updates wait in {file}" in text
        assert "let worker.py --drain run them" in text
    assert "warning  left behind:" in checked.stdout
    assert "3 updates wait in the SQLite file that was used before, and nobody runs them" in page
    assert log.count("updates left behind") == 1


def test_what_they_say_helps(tmp_path: Path, servers: Servers) -> None:
    """F32: the remedy."""
    leave(tmp_path, 3)
    before = ServedSite(tmp_path, PY_BOT)
    assert before.run("dashboard.py", "resume").returncode == 0

    assert before.run("worker.py", "--drain").returncode == 0

    (tmp_path / "data" / ".ht-database").unlink()
    after = ServedSite(tmp_path, PY_BOT, **database_settings(servers, "mariadb-10.11"))
    assert "left behind" not in after.run("config.py").stdout


@pytest.mark.parametrize("file", ["none", "done", "rubbish"])
def test_nothing_is_said_when_nothing_waits(tmp_path: Path, servers: Servers, file: str) -> None:
    """F32: the other way round: no file, all done, rubbish."""
    data = tmp_path / "data"
    if file == "done":
        with ServedSite(tmp_path, PY_BOT) as site:
            site.send({"update_id": 1, "message": {"chat": {"id": 7}, "text": "hello"}})
            site.wait_for_counts(done=1)
        (data / ".ht-database").unlink()
    elif file == "rubbish":
        data.mkdir(mode=0o700)
        (data / ".ht-queue.sqlite3").write_text("no database")

    checked = ServedSite(tmp_path, PY_BOT, **database_settings(servers, "mariadb-10.11")).run("config.py")

    assert (checked.returncode, "left behind" in checked.stdout) == (0, False)


def test_a_queue_that_is_in_the_file_is_not_left_behind(tmp_path: Path) -> None:
    """F32: the other way round."""
    leave(tmp_path, 2)

    checked = ServedSite(tmp_path, PY_BOT).run("config.py")

    assert "left behind" not in checked.stdout
    assert "2 pending" in checked.stdout
