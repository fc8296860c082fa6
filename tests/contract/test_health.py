"""The verdict on the queue: what is wrong, in words, on every database."""

from __future__ import annotations

import re
from pathlib import Path

from scalable.lib.queue.counters import Counters
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress, SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.views.health import Thresholds, check_health
from scalable.lib.queue.worker_registry import Heartbeat
from scalable.lib.telegram.update import Update
from tests.contract.test_browse import age_notes
from tests.support.servers.databases import let_pass

LEASE_SECONDS = 45


def be_alive(queue: DatabaseQueue) -> None:
    queue.workers.record_heartbeat(Heartbeat("host:1/1", "host", 1, 5.0))


def codes(queue: DatabaseQueue, thresholds: Thresholds | None = None) -> list[str]:
    return [reason.code for reason in check_health(queue, thresholds)]


def test_a_queue_with_a_worker_and_nothing_to_do_is_well(queue: DatabaseQueue) -> None:
    be_alive(queue)

    assert check_health(queue) == ()


def test_without_any_worker_it_is_not(queue: DatabaseQueue) -> None:
    (reason,) = check_health(queue)

    assert (reason.code, reason.text.split(":")[0]) == ("no_worker", "no worker is alive")


def test_between_two_runs_of_cron_the_housekeeping_of_the_last_one_is_a_sign_of_life(queue: DatabaseQueue) -> None:
    queue.totals.refresh()
    assert codes(queue) == []

    age_notes(queue, 301)
    assert codes(queue) == ["no_worker"]
    assert codes(queue, Thresholds(silent_seconds=1000)) == []


def test_a_job_that_waits_too_long_is_told_with_its_seconds(queue: DatabaseQueue) -> None:
    be_alive(queue)
    queue.enqueue(Update("{}"))
    assert codes(queue) == []

    let_pass(queue, 400)

    (reason,) = check_health(queue)
    assert reason.code == "waiting"
    assert re.match(r"a job has waited 4\d\d s", reason.text)
    assert codes(queue, Thresholds(waiting_seconds=1000)) == []


def test_a_job_in_back_off_is_not_late(queue: DatabaseQueue) -> None:
    be_alive(queue)
    queue.enqueue(Update("{}"))
    (job,) = queue.claim("worker", LEASE_SECONDS)
    queue.retry(job.lease, "exit code 1", 86_400)
    let_pass(queue, 1000)

    assert codes(queue) == []


def test_a_paused_queue_says_so_and_blames_no_worker_for_what_waits(queue: DatabaseQueue) -> None:
    be_alive(queue)
    queue.enqueue(Update("{}"))
    let_pass(queue, 400)
    queue.pause("somebody")

    (reason,) = check_health(queue)

    assert (reason.code, "is paused since" in reason.text) == ("paused", True)


def test_failures_count_when_they_are_several_and_many_of_all(queue: DatabaseQueue) -> None:
    be_alive(queue)
    counters = Counters(queue.table)
    counters.count("done", 100)
    counters.count("failed", 2)
    counters.flush()
    assert codes(queue) == []
    assert codes(queue, Thresholds(failed_share=0, failed_at_least=1)) == ["failed"]

    counters.count("failed", 10)
    counters.flush()

    (reason,) = check_health(queue)
    assert reason.text.startswith("12 of 112 jobs failed in the last hour")
    assert reason.values == {"failed": 12, "ended": 112}


def test_before_the_tables_are_made_it_says_that_nothing_ever_ran(address: DatabaseAddress) -> None:
    queue = DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())

    assert codes(queue) == ["no_tables"]


def test_a_database_that_is_away_is_a_reason_and_no_error(tmp_path: Path) -> None:
    nowhere = SqliteAddress(tmp_path / "no" / "such" / "folder" / "file")

    (reason,) = check_health(DatabaseQueue(open_database(nowhere), "bot_jobs", RetryPolicy()))

    assert (reason.code, reason.text) == ("database", "the database cannot be reached")
