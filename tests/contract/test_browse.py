"""What a person sees of the queue: counts that are true however many jobs there are, what waits, and one job."""

from __future__ import annotations

import json

import pytest

from scalable.lib.errors import JobNotFound
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import STATUSES, ClaimedJob
from scalable.lib.queue.notes import TOTALS, Notes
from scalable.lib.queue.views import browse as browse_module
from scalable.lib.queue.views import totals as totals_module
from scalable.lib.queue.views.browse import Count, JobBrowser, Waiting
from scalable.lib.queue.views.totals import Totals, read_totals
from scalable.lib.telegram.update import Update
from tests.support.fakes.clock import FakeClock
from tests.support.servers.databases import let_pass

LEASE_SECONDS = 45


@pytest.fixture
def browse(queue: DatabaseQueue) -> JobBrowser:
    return queue.jobs


@pytest.fixture
def notes(queue: DatabaseQueue) -> Notes:
    return queue.notes


def claim(queue: DatabaseQueue) -> ClaimedJob:
    (job,) = queue.claim("worker", LEASE_SECONDS)
    return job


def fill(queue: DatabaseQueue) -> None:
    """4 pending, 1 processing, 2 done, 3 failed."""
    for number in range(10):
        queue.enqueue(Update("{}", number))
    for index, job in enumerate(queue.claim("worker", LEASE_SECONDS, limit=6)):
        if index < 2:
            queue.complete(job.lease)
        elif index < 5:
            queue.fail(job.lease, "exit code 1")


class TestCounts:
    def test_small_numbers_are_exact(self, queue: DatabaseQueue, browse: JobBrowser, notes: Notes) -> None:
        fill(queue)

        counts = browse.counts(notes.read())

        assert counts == {
            "pending": Count(4),
            "processing": Count(1),
            "done": Count(2),
            "failed": Count(3),
            "expired": Count(0),
            "total": Count(10),
        }

    def test_numbers_up_to_the_second_bound_are_exact_too(
        self, queue: DatabaseQueue, browse: JobBrowser, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(browse_module, "QUICK_BOUND", 2)
        monkeypatch.setattr(browse_module, "BOUND", 4)
        fill(queue)

        counts = browse.counts(notes.read())

        assert (counts["pending"], counts["failed"]) == (Count(4), Count(3))

    def test_beyond_it_is_a_bound_until_somebody_has_counted(
        self, queue: DatabaseQueue, browse: JobBrowser, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(browse_module, "QUICK_BOUND", 1)
        monkeypatch.setattr(browse_module, "BOUND", 2)
        fill(queue)
        before = browse.counts(notes.read())

        assert queue.totals.refresh()

        after, note = browse.counts(notes.read()), notes.read()[TOTALS]
        assert before["pending"] == Count(2, is_exact=False)
        assert before["pending"].is_bound
        assert before["total"] == Count(7, is_exact=False)
        assert after["pending"] == Count(4, is_exact=False, at=note.at)
        assert after["done"] == Count(2)
        assert after["total"] == Count(10, is_exact=False, at=note.at)

    def test_a_count_that_is_clearly_larger_is_told_without_counting_again(
        self, queue: DatabaseQueue, browse: JobBrowser, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(browse_module, "LEAST_BOUND", 1)
        monkeypatch.setattr(browse_module, "QUICK_BOUND", 1)
        monkeypatch.setattr(browse_module, "BOUND", 3)
        fill(queue)
        notes.write(TOTALS, json.dumps({**dict.fromkeys(STATUSES, 0), "pending": 1_000_000, "failed": 5}))

        counts = browse.counts(notes.read())

        assert (counts["pending"].number, counts["pending"].at) == (1_000_000, notes.read()[TOTALS].at)
        assert counts["failed"] == Count(3)

    def test_a_count_that_fell_below_the_bound_is_exact_at_once(
        self, queue: DatabaseQueue, browse: JobBrowser, notes: Notes
    ) -> None:
        fill(queue)
        notes.write(TOTALS, json.dumps(dict.fromkeys(STATUSES, 1_000_000)))

        assert browse.counts(notes.read())["failed"] == Count(3)


class TestWhatTheVerdictAsks:
    def test_jobs_that_wait_for_another_attempt_are_counted_whatever_their_priority(self, queue: DatabaseQueue) -> None:
        for number, urgent in enumerate((None, 150.0, None, 150.0)):
            queue.enqueue(Update("{}", number, "message", f"chat:{number}", urgent, urgent))
        first, second, third = queue.claim("worker", LEASE_SECONDS, limit=3)
        queue.retry(first.lease, "exit code 1", 60)
        queue.retry(second.lease, "exit code 1", 60)
        queue.retry(third.lease, "exit code 1", 0)

        assert queue.jobs.retrying() == 2

    def test_they_are_counted_to_a_bound(self, queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(browse_module, "QUICK_BOUND", 3)
        for number in range(5):
            queue.enqueue(Update("{}", number))
        for job in queue.claim("worker", LEASE_SECONDS, limit=5):
            queue.retry(job.lease, "exit code 1", 60)

        assert queue.jobs.retrying() == 3

    def test_the_newest_job_has_an_age_and_an_empty_table_none(self, queue: DatabaseQueue) -> None:
        assert queue.jobs.newest_age_seconds() is None
        queue.enqueue(Update("{}"))
        let_pass(queue, 100)
        queue.enqueue(Update("{}"))

        age = queue.jobs.newest_age_seconds()
        assert age is not None
        assert 0 <= age < 60


class TestTotals:
    @pytest.mark.parametrize("step", [1, 2, 3, 4, 100])
    def test_every_state_is_counted_whatever_the_steps(
        self, queue: DatabaseQueue, notes: Notes, monkeypatch: pytest.MonkeyPatch, step: int
    ) -> None:
        monkeypatch.setattr(totals_module, "STEP", step)
        fill(queue)

        queue.totals.refresh()

        counted = {status: counted.number for status, counted in read_totals(notes.read()).items()}
        assert counted == {"pending": 4, "processing": 1, "done": 2, "failed": 3, "expired": 0}

    def test_it_is_done_once_a_minute_and_less_often_when_it_takes_long(self, queue: DatabaseQueue) -> None:
        class Slow(FakeClock):
            def __call__(self) -> float:
                self.now += 10.0
                return self.now

        totals = Totals(queue.table, queue.notes, Slow())
        assert totals.refresh() is True
        assert totals.refresh() is False

        age_notes(queue, 60)
        assert totals.refresh() is False
        age_notes(queue, 500)
        assert totals.refresh() is True

    @pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"pending": "many"}', "null"])
    def test_a_note_nobody_can_read_is_no_count(self, notes: Notes, text: str) -> None:
        notes.write(TOTALS, text)

        assert read_totals(notes.read()) == {}


def age_notes(queue: DatabaseQueue, seconds: int) -> None:
    """As if every note had been written that long ago."""
    join = (
        "{ago:seconds} || substr(value, 24)"
        if "SQLite" in queue.database.place
        else ("CONCAT(DATE_FORMAT({ago:seconds}, '%Y-%m-%d %H:%i:%s.000'), SUBSTR(value, 24))")
    )
    statement = queue.database.render(f"UPDATE bot_jobs_meta SET value = {join} WHERE name <> 'schema_version'")
    queue.database.run(
        lambda session: session.execute(
            statement.replace("%", "%%") if "CONCAT" in join else statement, seconds=seconds
        )
    )


class TestWaiting:
    def test_an_idle_queue_waits_for_nothing(self, browse: JobBrowser) -> None:
        assert browse.waiting() == Waiting()

    def test_the_oldest_due_job_is_told_whatever_its_priority(self, queue: DatabaseQueue, browse: JobBrowser) -> None:
        oldest = queue.enqueue(Update("{}")).job_id
        let_pass(queue, 30)
        queue.enqueue(Update("{}", urgent_seconds=150))

        waiting = browse.waiting()

        assert waiting.job_id == oldest
        assert waiting.seconds is not None
        assert 29.9 < waiting.seconds < 90
        assert waiting.blocked_seconds is None

    def test_a_job_in_back_off_does_not_wait_and_what_is_behind_it_is_blocked(
        self, queue: DatabaseQueue, browse: JobBrowser
    ) -> None:
        queue.enqueue(Update("{}", lane="chat:1"))
        behind = queue.enqueue(Update("{}", lane="chat:1")).job_id
        queue.retry(claim(queue).lease, "exit code 1", 300)
        assert queue.claim("worker", LEASE_SECONDS) == []  # parks it

        let_pass(queue, 30)

        waiting = browse.waiting()
        assert (waiting.job_id, waiting.seconds, waiting.blocked_job_id) == (None, None, behind)
        assert waiting.blocked_seconds is not None
        assert 29.9 < waiting.blocked_seconds < 90


class TestJob:
    def test_everything_about_it_is_there(self, queue: DatabaseQueue, browse: JobBrowser) -> None:
        payload = '{"update_id": 7, "inline_query": {"query": "é😀"}}'
        job_id = queue.enqueue(Update(payload, 7, "inline_query", "inline:5", 30, 30)).job_id

        job = browse.detail(job_id)

        assert job.payload == payload
        assert (job.summary.update_id, job.summary.update_type, job.summary.lane) == (7, "inline_query", "inline:5")
        assert job.expires_at is not None
        assert 29 < (job.expires_at - job.summary.created_at).total_seconds() < 31
        assert (job.history, job.cut, job.blocked_by) == ((), 0, None)

    def test_what_blocks_it_is_the_running_one_or_the_first_before_it(
        self, queue: DatabaseQueue, browse: JobBrowser
    ) -> None:
        first, second, third = (queue.enqueue(Update("{}", lane="chat:1")).job_id for _ in range(3))
        queue.enqueue(Update("{}", lane="chat:2"))

        assert [job.id for job in browse.detail(third).lane_jobs] == [first, second, third]
        assert blocker(browse, first) is None
        assert blocker(browse, third) == first

        running = claim(queue)
        assert running.id == first
        assert [blocker(browse, job_id) for job_id in (first, second, third)] == [None, first, first]
        queue.complete(running.lease)
        assert blocker(browse, third) == second
        assert browse.detail(first).lane_jobs == ()

    def test_a_job_that_is_not_there_is_said_to_be_missing(self, browse: JobBrowser) -> None:
        with pytest.raises(JobNotFound, match="there is no job 17"):
            browse.detail(17)


def blocker(browse: JobBrowser, job_id: int) -> object:
    found = browse.detail(job_id).blocked_by
    return None if found is None else found.id
