"""The table of the PHP version of this system is taken over in place, with its rows, and may be written to by both."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.database import Database
from scalable.lib.queue.job import Adopted, Counts, Reaped
from scalable.lib.queue.maintenance import ADOPTED_LEASE_SECONDS
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.schema import missing_statements
from scalable.lib.telegram.update import Update
from tests.support.places import REPOSITORY
from tests.support.servers.databases import DATABASES, Servers, let_pass
from tests.support.servers.served_installation import ServedSite

PHP_TABLE = """
CREATE TABLE bot_jobs (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    payload LONGTEXT NOT NULL,
    status ENUM('pending', 'processing', 'done', 'failed') NOT NULL DEFAULT 'pending',
    attempts INT UNSIGNED NOT NULL DEFAULT 0,
    available_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    reserved_at DATETIME NULL,
    processed_at DATETIME NULL,
    error_message TEXT NULL,
    created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    INDEX (status, available_at), INDEX (status, created_at), INDEX (reserved_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
"""
# As the PHP version leaves them, its clock seven hours ahead of UTC.
PHP_ROWS = """
INSERT INTO bot_jobs (id, payload, status, attempts, available_at, reserved_at, processed_at, error_message) VALUES
    (1, '{"update_id": 1}', 'done', 1, NOW() - INTERVAL 1 DAY, NOW(), NOW(), NULL),
    (2, '{"update_id": 2}', 'failed', 6, NOW() - INTERVAL 1 DAY, NOW(), NOW(), 'exit code 255'),
    (3, '{"update_id": 3}', 'processing', 1, NOW() - INTERVAL 1 HOUR, NOW() + INTERVAL 7 HOUR, NULL, NULL),
    (4, '{"update_id": 4}', 'pending', 0, NOW() + INTERVAL 7 HOUR, NULL, NULL, NULL),
    (5, '{"update_id": 5}', 'pending', 2, NOW() - INTERVAL 1 MINUTE, NULL, NULL, 'exit code 1')
"""
PHP_INSERT = "INSERT INTO bot_jobs (payload, available_at) VALUES ('{\"update_id\": 6}', NOW() + INTERVAL 7 HOUR)"


def execute(database: Database, statement: str) -> None:
    database.run(lambda session: session.execute(statement))


@pytest.fixture(params=DATABASES)
def queue(request: pytest.FixtureRequest, servers: Servers) -> Iterator[DatabaseQueue]:
    """A queue on a table the PHP version made and filled."""
    database = open_database(servers.fresh_database(request.param))
    execute(database, PHP_TABLE)
    execute(database, PHP_ROWS)
    queue = DatabaseQueue(database, "bot_jobs", RetryPolicy())
    yield queue
    queue.close()


def test_the_doctor_shows_what_it_would_do_and_does_nothing(queue: DatabaseQueue, tmp_path: Path) -> None:
    address = queue.database._address  # type: ignore[attr-defined]
    settings = {
        "BOT_DB_HOST": address.socket,
        "BOT_DB_NAME": address.database,
        "BOT_DB_USER": address.user,
        "BOT_DB_PASS": address.password,
    }
    site = ServedSite(tmp_path, REPOSITORY / "examples" / "bot.py", **settings)

    finished = site.run("config.py", "--dry-run")

    assert finished.returncode == 0
    assert "would run: ALTER TABLE `bot_jobs` ADD COLUMN update_id" in finished.stdout
    assert "2 pending, 1 processing, 1 done, 1 failed" in finished.stdout
    columns = queue.database.run(lambda session: queue.database.existing_columns(session, "bot_jobs"))
    assert "update_id" not in columns


def drained(queue: DatabaseQueue) -> list[int]:
    ids = []
    while jobs := queue.claim("worker", 45):
        queue.complete(jobs[0].lease)
        ids.append(jobs[0].id)
    return ids


def test_the_table_gets_what_it_lacks_and_every_row_keeps_its_state(queue: DatabaseQueue) -> None:
    queue.ensure_schema()
    queue.ensure_schema()

    assert queue.database.run(lambda session: missing_statements(queue.table, session)) == []
    assert queue.counts() == Counts(pending=2, processing=1, done=1, failed=1)
    assert queue.payload(2) == '{"update_id": 2}'
    assert queue.find(2).error_message == "exit code 255"


def test_two_starters_at_once_take_it_over_together(queue: DatabaseQueue) -> None:
    barrier = threading.Barrier(2)
    errors: list[BaseException] = []

    def start() -> None:
        barrier.wait()
        try:
            queue.ensure_schema()
            queue.adopt()
        except BaseException as error:  # noqa: BLE001 - the test fails on any of them, below
            errors.append(error)
        finally:
            queue.close()

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert queue.counts().total == 5
    assert sorted(drained(queue)) == [4, 5]


def test_waiting_rows_run_whatever_time_zone_they_were_written_in(queue: DatabaseQueue) -> None:
    queue.ensure_schema()

    assert queue.adopt() == Adopted(running=1, waiting=1)
    assert sorted(drained(queue)) == [4, 5]
    assert queue.adopt() == Adopted()


def test_a_row_stuck_in_processing_is_recovered_after_its_program_had_time_to_finish(queue: DatabaseQueue) -> None:
    queue.ensure_schema()
    queue.adopt()
    drained(queue)

    assert queue.reap() == Reaped()
    let_pass(queue, ADOPTED_LEASE_SECONDS + 1)
    assert queue.reap() == Reaped(retried=1)
    let_pass(queue, 6)
    assert drained(queue) == [3]


def test_rows_the_php_webhook_still_inserts_are_worked_too(queue: DatabaseQueue) -> None:
    queue.ensure_schema()
    queue.adopt()
    drained(queue)
    execute(queue.database, PHP_INSERT)

    queue.adopt()

    (job_id,) = drained(queue)
    assert queue.payload(job_id) == '{"update_id": 6}'


def test_a_delay_of_our_own_is_kept_however_long_it_is(queue: DatabaseQueue) -> None:
    """A bot may ask to be left alone for an hour; only rows that none of our workers ever had are made due."""
    queue.ensure_schema()
    queue.adopt()
    (job,) = queue.claim("worker", 45)
    queue.retry(job.lease, "HTTP status 429", 3600)

    assert queue.adopt() == Adopted()
    assert job.id not in drained(queue)


def test_a_row_the_old_program_gives_back_in_its_own_time_runs_too(queue: DatabaseQueue) -> None:
    """Given a PHP worker that was still at it when the table was taken over, and whose bot failed."""
    queue.ensure_schema()
    queue.adopt()
    execute(
        queue.database,
        "UPDATE bot_jobs SET status = 'pending', available_at = NOW() + INTERVAL 7 HOUR,"
        " reserved_at = NULL WHERE id = 3",
    )

    assert queue.adopt() == Adopted(waiting=1)
    assert 3 in drained(queue)


def test_the_old_programs_statements_still_work_on_the_new_table(queue: DatabaseQueue) -> None:
    queue.ensure_schema()

    execute(
        queue.database,
        "UPDATE bot_jobs SET status = 'processing', attempts = attempts + 1,"
        " reserved_at = NOW() WHERE id = 5 AND status = 'pending'",
    )
    execute(queue.database, "UPDATE bot_jobs SET status = 'done', processed_at = NOW() WHERE id = 5")

    assert queue.find(5).status == "done"


def test_an_update_can_expire_in_the_old_table(queue: DatabaseQueue) -> None:
    queue.ensure_schema()
    job_id = queue.enqueue(Update("{}", 77, "inline_query", "user:1", 30, 30)).job_id
    let_pass(queue, 31)

    assert queue.expire() == 1
    assert queue.find(job_id).status == "expired"
