"""The room of deleted jobs: on SQLite the check tells of it, and how to give it back; a server keeps house itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.sqlite_space import compact, unused_bytes
from scalable.lib.telegram.update import Update
from tests.support.places import REPOSITORY
from tests.support.servers.databases import let_pass
from tests.support.servers.served_installation import ServedSite

ROWS = 1600
PAYLOAD = '{"text": "%s"}' % ("x" * 20_000)


def fill_and_prune(queue: DatabaseQueue) -> None:
    """Some 32 MB of jobs, done and deleted again."""
    for first in range(0, ROWS, 20):
        queue.enqueue_many([Update(PAYLOAD, first + number, "message", None) for number in range(20)])
    queue.table.change("UPDATE {jobs} SET status = 'done', processed_at = {now}")
    let_pass(queue, 60)
    queue.prune(1, 1)


@pytest.mark.parametrize(("deleted", "is_told"), [(0, False), (400, False), (1000, True), (1600, True)])
def test_f29_it_is_told_when_more_than_half_of_a_large_file_is_free(
    tmp_path: Path, deleted: int, is_told: bool
) -> None:
    """F29: of the kind, a table of another name; a file that is full, or has some room, is as it should be."""
    site = ServedSite(tmp_path, REPOSITORY / "examples" / "bot.py", BOT_QUEUE_TABLE="my_jobs")
    site.run("config.py").check_returncode()
    file = tmp_path / "data" / ".ht-queue.sqlite3"
    queue = DatabaseQueue(open_database(SqliteAddress(file)), "my_jobs", RetryPolicy())
    for first in range(0, ROWS, 20):
        queue.enqueue_many([Update(PAYLOAD, first + number, "message", None) for number in range(20)])
    queue.table.change(f"UPDATE {{jobs}} SET status = 'done', processed_at = {{now}} WHERE id <= {deleted}")
    let_pass(queue, 60)
    queue.prune(1, 1)
    queue.close()

    told = site.run("config.py").stdout

    assert ("warning  space: the SQLite file has " in told) is is_told, told
    assert ("run config.py --compact" in told) is is_told


def test_f29_room_that_is_free_is_used_again_before_the_file_grows(tmp_path: Path) -> None:
    """F29: of the kind, a busy bot: what is done today goes where yesterday's was."""
    file = tmp_path / "queue.sqlite3"
    queue = DatabaseQueue(open_database(SqliteAddress(file)), "bot_jobs", RetryPolicy())
    queue.ensure_schema()
    sizes = []
    for _ in range(3):
        fill_and_prune(queue)
        sizes.append(file.stat().st_size)
    queue.close()

    assert max(sizes) < 1.2 * sizes[0]


def test_a_server_has_no_such_file(queue: DatabaseQueue) -> None:
    is_file = "SQLite" in queue.database.place

    assert (unused_bytes(queue.database) is not None) is is_file
    compact(queue.database)
    assert queue.counts().total == 0


def test_the_check_tells_of_a_file_that_is_mostly_empty_and_its_remedy_helps(tmp_path: Path) -> None:
    """F29: done and pruned."""
    site = ServedSite(tmp_path, REPOSITORY / "examples" / "bot.py")
    first = site.run("config.py").stdout
    file = tmp_path / "data" / ".ht-queue.sqlite3"
    queue = DatabaseQueue(open_database(SqliteAddress(file)), "bot_jobs", RetryPolicy())
    fill_and_prune(queue)
    kept = queue.enqueue(Update("{}", 5000, "message", "chat:1")).job_id
    queue.close()
    size = file.stat().st_size

    told = site.run("config.py").stdout
    compacted = site.run("config.py", "--compact").stdout

    assert "ok       space: the SQLite file has 0 MB" in first
    assert "warning  space: the SQLite file has " in told
    assert "run config.py --compact" in told
    assert "ok       space: the SQLite file has 0 MB" in compacted
    assert size > 30_000_000
    assert file.stat().st_size < 1_000_000
    assert [job.id for job in queue.newest(5)] == [kept]
    queue.close()
