"""The table of the PHP version of this system is taken over in place, with its rows, and may be written to by both."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.database import Database
from scalable.lib.queue.far_times import ADOPTED_LEASE_SECONDS
from scalable.lib.queue.job import Adopted, Counts, Reaped
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.schema import missing_statements
from scalable.lib.queue.views.search import Filter
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


# The character sets an old table may have, and those of its two texts, where they differ from it.
OLD_TEXTS = {
    "utf8mb3": ("utf8mb3", "", ""),
    "latin1": ("latin1", "", ""),
    "only the error": ("utf8mb4", "", "CHARACTER SET utf8mb3"),
    "only the payload": ("utf8mb4", "CHARACTER SET ascii", ""),
    "only what is added": ("utf8mb3", "CHARACTER SET utf8mb4", "CHARACTER SET utf8mb4"),
}
EMOJI = '{"update_id": 8, "message": {"text": "é😀"}}'


def take_over(address: MySqlAddress, charset: str, payload: str, error: str) -> DatabaseQueue:
    """The PHP version's table in these character sets, not brought up to date yet."""
    database = open_database(address)
    made = PHP_TABLE.replace("utf8mb4", charset).replace("payload LONGTEXT", f"payload LONGTEXT {payload}")
    execute(database, made.replace("error_message TEXT", f"error_message TEXT {error}"))
    return DatabaseQueue(database, "bot_jobs", RetryPolicy())


def check_that_every_text_is_kept(queue: DatabaseQueue, as_json: bool) -> None:
    def same(stored: str | None, text: str) -> bool:
        return stored == text or (as_json and stored is not None and stored == json.dumps(text)[1:-1])

    noted, failed, retried = (queue.enqueue(Update(EMOJI, number, "message")).job_id for number in range(3))
    [at_once] = queue.enqueue_many([Update(EMOJI, 10, "message")])
    leases = {job.id: job.lease for job in queue.claim("worker 🤖", 45, 4)}
    queue.complete(leases[noted], "a note 😀")
    queue.fail(leases[failed], "it broke 😀")
    queue.retry(leases[retried], "once more 😀", 5)
    queue.complete(leases[at_once])

    assert all(json.loads(queue.payload(job_id)) == json.loads(EMOJI) for job_id in leases)
    assert same(queue.find(noted).error_message, "a note 😀")
    assert same(queue.find(failed).error_message, "it broke 😀")
    assert same(queue.find(retried).error_message, "once more 😀")
    assert same(queue.jobs.detail(retried).history[0].output, "once more 😀")
    assert queue.search.find(Filter(error="broke 😀"), 5).jobs[0].id == failed


@pytest.mark.parametrize("texts", OLD_TEXTS.values(), ids=OLD_TEXTS)
@pytest.mark.parametrize("server", ["mariadb-10.11", "mysql-9.7"])
def test_an_old_tables_texts_hold_every_character_from_then_on(
    servers: Servers, server: str, texts: tuple[str, str, str]
) -> None:
    """F21: an emoji in an update, and in an error."""
    queue = take_over(servers.fresh_database(server), *texts)
    execute(queue.database, "INSERT INTO bot_jobs (payload, status) VALUES ('{\"update_id\": 1}', 'done')")

    queue.ensure_schema()

    check_that_every_text_is_kept(queue, as_json=False)
    assert queue.payload(1) == '{"update_id": 1}'
    assert queue.database.run(lambda session: missing_statements(queue.table, session)) == []
    queue.close()


@pytest.mark.parametrize("charset", ["utf8mb3", "latin1", "ascii"])
@pytest.mark.parametrize("server", ["mariadb-10.11", "mysql-9.7"])
def test_texts_that_could_not_be_changed_are_kept_in_ascii(servers: Servers, server: str, charset: str) -> None:
    """F21: as 1.0.0 left them, or where the user has no right to change the table."""
    queue = take_over(servers.fresh_database(server), "utf8mb4", "", "")
    queue.ensure_schema()
    texts = {"payload": "LONGTEXT {} NOT NULL", "error_message": "TEXT {}", "history": "TEXT {}"}
    texts["reserved_by"] = "VARCHAR(128) {}"
    narrow = [f"MODIFY {name} {kind.format('CHARACTER SET ' + charset)}" for name, kind in texts.items()]
    execute(queue.database, f"ALTER TABLE bot_jobs {', '.join(narrow)}")

    check_that_every_text_is_kept(queue, as_json=True)
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
    queue.reap()
    let_pass(queue, queue.lease_terms.grace_seconds + 1)
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
