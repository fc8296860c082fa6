"""The facts of the verdict, on every database: what is wrong, in words. For its boundaries see test_verdict.py."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from scalable.lib.queue.counters import Counters
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress, SqliteAddress
from scalable.lib.queue.notes import WEBHOOK
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.queue.views.health import check_health, read_vitals
from scalable.lib.queue.views.verdict import Reason, State
from scalable.lib.queue.views.vitals import Thresholds
from scalable.lib.queue.views.webhook_info import WebhookInfo
from scalable.lib.queue.worker_registry import Heartbeat
from scalable.lib.telegram.update import Update
from tests.contract.test_browse import age_notes
from tests.support.servers.databases import let_pass

LEASE_SECONDS = 45


def be_alive(queue: DatabaseQueue) -> None:
    queue.workers.record_heartbeat(Heartbeat("host:1/1", "host", 1, 5.0))


def run_one(queue: DatabaseQueue) -> None:
    """An update has come and was done, so that the set-up is at its end."""
    queue.enqueue(Update("{}"))
    (job,) = queue.claim("worker", LEASE_SECONDS)
    queue.complete(job.lease)


def codes(queue: DatabaseQueue, thresholds: Thresholds | None = None) -> list[str]:
    return [reason.code for reason in check_health(queue, thresholds).reasons]


def only_reason(queue: DatabaseQueue) -> Reason:
    [reason] = check_health(queue).reasons
    return reason


def test_a_queue_with_a_worker_that_has_run_an_update_works(queue: DatabaseQueue) -> None:
    be_alive(queue)
    assert (check_health(queue).state, codes(queue)) == (State.SETTING_UP, ["no_update"])

    run_one(queue)

    assert (check_health(queue).state, codes(queue)) == (State.WORKING, [])


def test_a_quiet_day_or_month_later_it_still_works_whatever_was_pruned(queue: DatabaseQueue) -> None:
    be_alive(queue)
    run_one(queue)
    let_pass(queue, 30 * 86_400)
    queue.totals.refresh()
    assert check_health(queue).state is State.WORKING

    assert queue.prune(60, 60, 100) == 1
    age_notes(queue, 400)
    queue.totals.refresh()

    assert (queue.counts().total, check_health(queue).state) == (0, State.WORKING)


def test_minutes_of_the_past_tell_of_jobs_that_were_pruned_before_anybody_noted_them(queue: DatabaseQueue) -> None:
    be_alive(queue)
    counters = Counters(queue.table)
    counters.count("done", 3)
    counters.flush()
    queue.totals.refresh()
    queue.table.change("DELETE FROM {jobs}_minutes")

    assert check_health(queue).state is State.WORKING


def test_without_any_worker_it_is_set_up_or_down(queue: DatabaseQueue) -> None:
    assert check_health(queue).state is State.SETTING_UP
    run_one(queue)

    assert check_health(queue).state is State.DOWN
    reason = only_reason(queue)
    assert (reason.code, reason.text.split(":")[0]) == ("no_worker", "no worker is alive")


def test_between_two_runs_of_cron_the_housekeeping_of_the_last_one_is_a_sign_of_life(queue: DatabaseQueue) -> None:
    run_one(queue)
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

    reason = only_reason(queue)
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

    reason = only_reason(queue)

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

    reason = only_reason(queue)
    assert reason.text.startswith("12 of 112 jobs failed in the last hour")
    assert reason.values == {"failed": 12, "ended": 112}


def test_before_the_tables_are_made_it_says_that_nothing_ever_ran(address: DatabaseAddress) -> None:
    queue = DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())

    assert codes(queue) == ["no_tables"]


def test_a_database_that_is_away_is_a_reason_and_no_error(tmp_path: Path) -> None:
    nowhere = SqliteAddress(tmp_path / "no" / "such" / "folder" / "file")
    queue = DatabaseQueue(open_database(nowhere), "bot_jobs", RetryPolicy())

    assert check_health(queue).state is State.DOWN
    assert only_reason(queue).text == "the database cannot be reached"


class TestF15:
    """What was called `everything works` and is not."""

    @pytest.mark.parametrize("failed", [1, 2])
    def test_all_updates_fail_and_they_are_fewer_than_three(self, queue: DatabaseQueue, failed: int) -> None:
        be_alive(queue)
        fail_jobs(queue, failed)

        assert (check_health(queue).state, codes(queue)) == (State.DEGRADED, ["failed"])

    def test_46_are_pending_and_10_failed(self, queue: DatabaseQueue) -> None:
        be_alive(queue)
        count(queue, done=244)
        fail_jobs(queue, 10)
        for number in range(46):
            queue.enqueue(Update("{}", 1_000 + number, "message", f"chat:{number}"))
        for job in queue.claim("worker", LEASE_SECONDS, limit=46):
            queue.retry(job.lease, "exit code 1", 60)

        assert read_vitals(queue).retrying == 46
        assert (check_health(queue).state, codes(queue)) == (State.DEGRADED, ["retrying"])

    def test_a_lane_is_stuck_for_21_minutes_behind_a_job_that_fails_again_and_again(self, queue: DatabaseQueue) -> None:
        be_alive(queue)
        head = queue.enqueue(Update("{}", 1, "message", "chat:7")).job_id
        behind = queue.enqueue(Update("{}", 2, "message", "chat:7")).job_id
        (job,) = queue.claim("worker", LEASE_SECONDS)
        assert queue.claim("worker", LEASE_SECONDS) == []  # and parks the other one
        let_pass(queue, 21 * 60)
        queue.retry(job.lease, "exit code 1", 300)

        reason = only_reason(queue)
        assert (reason.code, check_health(queue).state) == ("lane", State.DEGRADED)
        assert reason.text == (
            f"one chat is stuck: its oldest update, job {behind}, has waited 21 min behind failing job {head}"
        )
        assert codes(queue, Thresholds(lane_seconds=3_000)) == []

    @pytest.mark.parametrize("url", ["", "https://example.com/bot.php"])
    def test_the_webhook_is_not_here(self, queue: DatabaseQueue, url: str) -> None:
        be_alive(queue)
        run_one(queue)
        telegram_says(queue, url)

        assert check_health(queue).state is State.SETTING_UP
        assert codes(queue) == ["webhook_elsewhere" if url else "no_webhook"]

    def test_of_the_kind_a_job_that_ended_meanwhile_keeps_nobody(self, queue: DatabaseQueue) -> None:
        """The job in front is done; the one behind it is due and begins in a moment."""
        queue.enqueue(Update("{}", 1, "message", "chat:7"))
        queue.enqueue(Update("{}", 2, "message", "chat:7"))
        (job,) = queue.claim("worker", LEASE_SECONDS)
        assert queue.claim("worker", LEASE_SECONDS) == []
        let_pass(queue, 10)
        assert read_vitals(queue, Thresholds(lane_seconds=5)).blocker == queue.find(job.id)
        queue.complete(job.lease)

        assert read_vitals(queue, Thresholds(lane_seconds=5)).blocker is None

    def test_of_the_kind_arrivals_are_not_counted_by_anybody(self, queue: DatabaseQueue) -> None:
        be_alive(queue)
        run_one(queue)
        for minutes_ago in (22, 0):
            queue.table.change(
                "INSERT INTO {jobs}_minutes (minute, done) VALUES ({minute_ago:age}, 1)", age=60 * minutes_ago
            )
        assert codes(queue) == ["uncounted"]

        queue.minutes.count_enqueued()

        assert codes(queue) == []


class TestF33:
    @pytest.mark.parametrize(
        ("url", "code"), [("", "no_webhook"), ("https://example.com/bot.php", "webhook_elsewhere")]
    )
    def test_a_webhook_that_was_here_and_is_gone_is_down(self, queue: DatabaseQueue, url: str, code: str) -> None:
        be_alive(queue)
        run_one(queue)
        telegram_says(queue, "https://example.com/scalable/webhook_queue.py")
        assert check_health(queue).state is State.WORKING

        telegram_says(queue, url, was_here=True)

        assert (check_health(queue).state, codes(queue)) == (State.DOWN, [code])

    def test_of_the_kind_telegram_cannot_be_reached_for_an_hour(self, queue: DatabaseQueue) -> None:
        be_alive(queue)
        run_one(queue)
        seen = WebhookInfo("https://example.com/scalable/webhook_queue.py", seen_at=int(time.time()) - 3_600)
        queue.notes.write(WEBHOOK, seen.in_trouble("no route to host").to_text())

        verdict = check_health(queue)

        assert (verdict.state, [remark.code for remark in verdict.remarks]) == (State.WORKING, ["webhook_unknown"])


def fail_jobs(queue: DatabaseQueue, number: int) -> None:
    for each in range(number):
        queue.enqueue(Update("{}", each + 1))
    for job in queue.claim("worker", LEASE_SECONDS, limit=number):
        queue.fail(job.lease, "exit code 1")
    count(queue, failed=number)


def count(queue: DatabaseQueue, **events: int) -> None:
    counters = Counters(queue.table)
    for event, number in events.items():
        counters.count(event, number)
    counters.flush()


def telegram_says(queue: DatabaseQueue, url: str, was_here: bool = False) -> None:
    now = int(time.time())
    queue.notes.write(WEBHOOK, WebhookInfo(url, seen_at=now, url_since=now, was_here=was_here).to_text())
