"""An SQLite file that was put back wrongly takes nothing in, and says what to do; one that is right goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scalable.lib.errors import DatabaseUnavailable, FastPathUnavailable
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.dialects.sqlite_file import SqliteFile
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.views.health import check_health
from scalable.lib.queue.views.verdict import DATABASE
from scalable.lib.telegram.update import Update
from tests.support.places import REPOSITORY
from tests.support.servers.served_installation import ServedSite

PAYLOAD = '{"text": "%s"}' % ("y" * 300)
OLD, NEW = 200, 1000
# A process that is killed right after its last update; the statements are not synced, so that it is quick.
KILLED = f"""
import os, sys
from pathlib import Path
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects import sqlite
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
sqlite.SQLITE_SESSION = ("PRAGMA synchronous = OFF",)
queue = DatabaseQueue(open_database(SqliteAddress(Path(sys.argv[1]))), "bot_jobs", RetryPolicy())
for number in range({OLD}, {OLD + NEW}):
    queue.enqueue(Update({PAYLOAD!r}, number, "message", f"chat:{{number % 7}}"))
os._exit(0)
"""


class Place:
    """A folder with a queue that its processes left behind as they were killed: the -wal is there, and newer."""

    def __init__(self, folder: Path) -> None:
        self.file, self.copy = folder / "queue", folder / "copy"
        self._left: list[DatabaseQueue] = []
        first = self.queue()
        first.ensure_schema()
        put(first, 0, OLD)
        first.close()
        shutil.copy(self.file, self.copy)
        subprocess.run([sys.executable, "-c", KILLED, str(self.file)], cwd=REPOSITORY, check=True, timeout=60)

    def queue(self) -> DatabaseQueue:
        """As another process opens it."""
        queue = DatabaseQueue(open_database(SqliteAddress(self.file)), "bot_jobs", RetryPolicy())
        self._left.append(queue)
        return queue

    def remove(self, *endings: str) -> None:
        for ending in endings:
            Path(f"{self.file}{ending}").unlink(missing_ok=True)

    def close(self) -> None:
        for queue in self._left:
            queue.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


def put(queue: DatabaseQueue, first: int, count: int) -> None:
    updates = [Update(PAYLOAD, number, "message", f"chat:{number % 7}") for number in range(first, first + count)]
    for some in range(0, count, 20):
        queue.enqueue_many(updates[some : some + 20])


def by_name(place: Place) -> None:
    os.replace(place.copy, place.file)


def in_place(place: Place) -> None:
    """As a panel's file manager, or FTP."""
    place.file.write_bytes(place.copy.read_bytes())


def without_the_note(place: Place) -> None:
    by_name(place)
    place.remove("-seen")


def garbage(place: Place) -> None:
    place.remove("-wal", "-shm")
    place.file.write_bytes(b"<html>an error page of the panel</html>" * 100)


def cut_off(place: Place) -> None:
    place.remove("-wal", "-shm")
    os.truncate(place.file, place.file.stat().st_size // 2)


@pytest.mark.parametrize("put_back", [by_name, in_place, without_the_note, garbage, cut_off])
class TestWrong:
    def test_nothing_is_taken_and_the_message_names_file_and_remedy(
        self, place: Place, put_back: Callable[[Place], None]
    ) -> None:
        """F28: beside a newer -wal, by name and in place; and what is no database."""
        put_back(place)
        queue = place.queue()

        for number in range(5000, 5003):
            with pytest.raises(DatabaseUnavailable) as refused:
                queue.enqueue(Update(PAYLOAD, number, "message", "chat:1"))

        message = str(refused.value)
        assert f"SQLite file {place.file}: the file is malformed, nothing is stored into it" in message
        assert "delete queue-wal and queue-shm" in message
        assert [reason.code for reason in check_health(queue).reasons] == [DATABASE]

    def test_the_quick_way_in_takes_nothing_either(self, place: Place, put_back: Callable[[Place], None]) -> None:
        """F28: the webhook without a pool."""
        quick = place.queue().prepared_insert()
        assert quick is not None
        quick.store(Update(PAYLOAD, 4999, "message", "chat:1"))
        put_back(place)

        with pytest.raises(FastPathUnavailable):
            quick.store(Update(PAYLOAD, 5000, "message", "chat:1"))

    def test_what_the_message_says_helps(self, place: Place, put_back: Callable[[Place], None]) -> None:
        copy = place.copy.read_bytes()
        put_back(place)
        with pytest.raises(DatabaseUnavailable):
            place.queue().counts()

        place.file.write_bytes(copy)
        for ending in ("-wal", "-shm"):
            Path(f"{place.file}{ending}").unlink(missing_ok=True)

        queue = place.queue()
        assert queue.counts().pending == OLD
        put(queue, 5000, 3)
        assert queue.counts().pending == OLD + 3
        quick = queue.prepared_insert()
        assert quick is not None
        assert quick.store(Update(PAYLOAD, 6000, "message", "chat:1")) > 0


def test_a_copy_that_is_as_large_is_noticed_by_the_first_statement_that_cannot_read_it(tmp_path: Path) -> None:
    """F28: its size and its inode are right: until somebody reads what does not fit, it looks well."""
    place = Place(tmp_path)
    size = place.file.stat().st_size
    with place.file.open("r+b") as file:
        file.write(place.copy.read_bytes())
        file.write(b"\xff" * (size - file.tell()))
    webhook, worker = place.queue(), place.queue()

    with pytest.raises(DatabaseUnavailable):
        worker.table.rows("SELECT COUNT(payload), COUNT(lane) FROM {jobs} NOT INDEXED")

    with pytest.raises(DatabaseUnavailable, match="nothing is stored into it"):
        put(webhook, 5000, 1)
    place.close()


def test_a_file_that_only_grows_is_never_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    monkeypatch.setattr(SqliteFile, "_problem", lambda _: pytest.fail("the file was read as a whole"))
    queue = place.queue()
    size = place.file.stat().st_size

    for first in range(5000, 9000, 1000):
        put(queue, first, 1000)
        assert place.queue().counts().pending == OLD + NEW + first - 4000

    assert place.file.stat().st_size > size
    place.close()


def test_a_folder_that_is_moved_or_copied_as_a_whole_goes_on(place: Place, tmp_path: Path) -> None:
    shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-moved"))
    moved = SqliteAddress(tmp_path.with_name(f"{tmp_path.name}-moved") / "queue")
    queue = DatabaseQueue(open_database(moved), "bot_jobs", RetryPolicy())

    assert queue.counts().pending == OLD + NEW
    put(queue, 5000, 1)
    queue.close()


def test_a_table_of_an_earlier_version_goes_on(place: Place) -> None:
    place.remove("-seen")

    put(place.queue(), 5000, 1)

    assert Path(f"{place.file}-seen").exists()


def test_check_pool_and_worker_say_it_in_one_line(tmp_path: Path) -> None:
    """F28: of the kind, a file that is no database."""
    site = ServedSite(tmp_path, REPOSITORY / "examples" / "bot.py")
    assert site.run("config.py").returncode == 0
    (file,) = (tmp_path / "data").glob("*.sqlite3")
    file.write_bytes(b"no database at all" * 1000)

    checked = site.run("config.py")
    others = [site.run(*command) for command in (("worker_pool.py",), ("worker_pool.py", "--cron"), ("worker.py",))]

    assert checked.returncode == 2
    for finished in (checked, *others):
        said = finished.stdout + finished.stderr
        assert f"SQLite file {file}: the file is malformed" in said, sys.executable
        assert "Traceback" not in said
    assert [finished.returncode for finished in others] == [3, 3, 3]
