"""What every verb of the queue promises, on every database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

import pytest

from scalable.lib.errors import ConfigurationError, DuplicateKey, JobNotFound, LeaseLost, WrongState
from scalable.lib.queue import reaping
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob, Counts, Lease, Reaped
from scalable.lib.queue.rows import MAX_ERROR_CHARACTERS, time_of
from scalable.lib.telegram.update import Update
from tests.support.servers.databases import let_pass

LEASE_SECONDS = 45


def enqueue(queue: DatabaseQueue, update_id: int) -> int:
    return queue.enqueue(Update(f'{{"update_id": {update_id}}}', update_id, "message")).job_id


def claim(queue: DatabaseQueue, worker: str = "worker a") -> ClaimedJob:
    (job,) = queue.claim(worker, LEASE_SECONDS)
    return job


def drop(queue: DatabaseQueue, table: str) -> None:
    queue.database.run(lambda session: session.execute(f"DROP TABLE {table}"))


def fail_for_good(queue: DatabaseQueue) -> None:
    queue.fail(claim(queue).lease, "exit code 1")


class TestEnqueue:
    def test_an_enqueued_update_is_pending_and_claimable_at_once(self, queue: DatabaseQueue) -> None:
        job_id = enqueue(queue, 7)

        job = claim(queue)

        assert (job.id, job.update_id, job.update_type, job.attempt) == (job_id, 7, "message", 1)

    @pytest.mark.parametrize(
        "payload",
        [
            '{"text": "😀 \u202eעברית <b>&amp;</b> \\u0000 %s :id {now} \'\\"; DROP TABLE bot_jobs; --"}',
            '{ "spaces"  :\t"kept"\r\n}',
            '{"long": "' + "é" * 400_000 + '"}',
        ],
        ids=["every kind of character", "white space", "near the size limit"],
    )
    def test_the_payload_is_stored_byte_for_byte(self, queue: DatabaseQueue, payload: str) -> None:
        job_id = queue.enqueue(Update(payload, 1, "message")).job_id

        assert queue.payload(job_id).encode() == payload.encode()
        assert claim(queue).payload.encode() == payload.encode()

    def test_a_repeated_update_is_not_enqueued_again_and_names_the_first_job(self, queue: DatabaseQueue) -> None:
        first = queue.enqueue(Update('{"update_id": 7}', 7, "message"))

        again = queue.enqueue(Update('{"update_id": 7, "other": true}', 7, "message"))

        assert (first.duplicate, again.duplicate) == (False, True)
        assert again.job_id == first.job_id
        assert queue.counts() == Counts(pending=1)

    def test_a_repeated_update_is_a_duplicate_even_when_it_was_done(self, queue: DatabaseQueue) -> None:
        job_id = enqueue(queue, 7)
        queue.complete(claim(queue).lease)

        assert queue.enqueue(Update("{}", 7, "message")).job_id == job_id
        assert queue.counts() == Counts(done=1)

    @pytest.mark.parametrize("update_id", [8, None])
    def test_a_row_that_another_unique_index_refuses_is_an_error_and_no_endless_wait(
        self, queue: DatabaseQueue, update_id: int | None
    ) -> None:
        """An index of the owner's own. The update is not stored, so Telegram has to hear that it was not."""
        queue.database.run(lambda session: session.rows("CREATE UNIQUE INDEX own_index ON bot_jobs (lane)"))
        queue.enqueue(Update("{}", 7, "message", "chat:1"))

        with pytest.raises(DuplicateKey):
            queue.enqueue(Update("{}", update_id, "message", "chat:1"))

        assert queue.counts() == Counts(pending=1)

    def test_updates_without_an_id_are_all_enqueued(self, queue: DatabaseQueue) -> None:
        queue.enqueue(Update("{}"))
        queue.enqueue(Update("{}"))

        assert queue.counts() == Counts(pending=2)

    @pytest.mark.parametrize("update_id", [-(2**63), -1, 0, 2**63 - 1])
    def test_any_id_of_64_bits_is_kept(self, queue: DatabaseQueue, update_id: int) -> None:
        enqueue(queue, update_id)

        assert claim(queue).update_id == update_id

    def test_enqueue_makes_the_table_when_it_is_missing_and_goes_on(self, queue: DatabaseQueue) -> None:
        drop(queue, "bot_jobs")
        drop(queue, "bot_jobs_meta")

        job_id = enqueue(queue, 7)

        assert claim(queue).id == job_id

    def test_a_table_that_was_dropped_alone_is_made_anew_although_the_note_says_it_is_there(
        self, queue: DatabaseQueue, caplog: pytest.LogCaptureFixture
    ) -> None:
        drop(queue, "bot_jobs")

        with caplog.at_level("WARNING"):
            job_id = enqueue(queue, 7)

        assert claim(queue).id == job_id
        assert "tables were not complete, and are again table=bot_jobs" in caplog.text

    def test_of_several_who_find_it_dropped_each_stores_its_update(self, queue: DatabaseQueue) -> None:
        begin = threading.Barrier(4)
        drop(queue, "bot_jobs")

        def store(update_id: int) -> int:
            begin.wait(60)
            return enqueue(queue, update_id)

        with ThreadPoolExecutor(4) as threads:
            ids = list(threads.map(store, range(4)))

        assert [queue.find(job_id).update_id for job_id in ids] == [0, 1, 2, 3]

    def test_a_table_of_a_newer_version_is_not_made_by_an_older_program(self, queue: DatabaseQueue) -> None:
        drop(queue, "bot_jobs")
        queue.database.run(lambda session: session.execute("UPDATE bot_jobs_meta SET value = '999'"))

        with pytest.raises(ConfigurationError, match="version 999"):
            enqueue(queue, 7)


class TestClaim:
    def test_the_longest_waiting_job_goes_first(self, queue: DatabaseQueue) -> None:
        ids = []
        for update_id in (3, 1, 2):
            ids.append(enqueue(queue, update_id))
            let_pass(queue, 1)

        assert [claim(queue).id for _ in range(3)] == ids

    def test_an_empty_queue_gives_nothing(self, queue: DatabaseQueue) -> None:
        assert queue.claim("worker a", LEASE_SECONDS) == []

    def test_a_claimed_job_is_not_given_to_another_worker(self, queue: DatabaseQueue) -> None:
        enqueue(queue, 1)
        claim(queue, "worker a")

        assert queue.claim("worker b", LEASE_SECONDS) == []

    def test_a_batch_holds_no_more_than_asked_for_and_each_job_has_its_own_lease(self, queue: DatabaseQueue) -> None:
        for update_id in range(5):
            enqueue(queue, update_id)

        batch = queue.claim("worker a", LEASE_SECONDS, limit=3)
        for job in batch:
            queue.complete(job.lease)

        assert len(batch) == 3
        assert queue.counts() == Counts(pending=2, done=3)

    def test_only_urgent_ones_are_claimed_when_asked_for(self, queue: DatabaseQueue) -> None:
        enqueue(queue, 1)
        for update_id, urgent_seconds in ((2, 150.0), (3, 30.0)):
            queue.enqueue(Update("{}", update_id, "message", None, urgent_seconds))

        claims = [queue.claim("worker a", LEASE_SECONDS, urgent_only=True) for _ in range(3)]

        assert [[job.update_id for job in jobs] for jobs in claims] == [[3], [2], []]
        assert claim(queue).update_id == 1

    def test_an_urgent_one_waits_for_its_lane(self, queue: DatabaseQueue) -> None:
        for update_id in (1, 2):
            queue.enqueue(Update("{}", update_id, "message", "payment:7", 150.0))
        first = claim(queue)

        assert queue.claim("worker b", LEASE_SECONDS, urgent_only=True) == []
        queue.complete(first.lease)
        assert queue.claim("worker b", LEASE_SECONDS, urgent_only=True)[0].update_id == 2

    def test_the_attempt_is_counted_at_claim(self, queue: DatabaseQueue) -> None:
        job_id = enqueue(queue, 1)

        claim(queue)

        assert queue.find(job_id).attempts == 1


class TestFinish:
    def test_complete_makes_it_done(self, queue: DatabaseQueue) -> None:
        job_id = enqueue(queue, 1)

        queue.complete(claim(queue).lease)

        job = queue.find(job_id)
        assert (job.status, job.error_message) == ("done", None)
        assert job.processed_at is not None

    def test_retry_waits_for_its_delay_and_counts_on(self, queue: DatabaseQueue) -> None:
        job_id = enqueue(queue, 1)
        queue.retry(claim(queue).lease, "exit code 1", delay_seconds=5)

        let_pass(queue, 4)
        too_early = queue.claim("worker a", LEASE_SECONDS)
        let_pass(queue, 1.1)
        job = claim(queue)

        assert too_early == []
        assert (job.id, job.attempt) == (job_id, 2)
        assert queue.find(job_id).error_message == "exit code 1"

    def test_fail_ends_it_with_the_reason(self, queue: DatabaseQueue) -> None:
        job_id = enqueue(queue, 1)

        fail_for_good(queue)

        job = queue.find(job_id)
        assert (job.status, job.error_message) == ("failed", "exit code 1")
        assert queue.claim("worker a", LEASE_SECONDS) == []

    def test_release_gives_the_attempt_back(self, queue: DatabaseQueue) -> None:
        enqueue(queue, 1)
        queue.release(claim(queue).lease)

        assert claim(queue).attempt == 1

    def test_a_long_error_keeps_its_end_and_odd_characters_do_no_harm(self, queue: DatabaseQueue) -> None:
        job_id = enqueue(queue, 1)

        queue.fail(claim(queue).lease, "x" * 100_000 + "\x00\ud800 the reason 😀")

        stored = queue.find(job_id).error_message or ""
        assert len(stored) == MAX_ERROR_CHARACTERS
        assert stored.endswith("the reason 😀")

    @pytest.mark.parametrize("verb", ["complete", "fail", "retry", "release"])
    def test_finishing_twice_with_the_same_lease_is_safe(self, queue: DatabaseQueue, verb: str) -> None:
        """A connection that broke while the answer was on its way makes the caller repeat the verb."""
        job_id = enqueue(queue, 1)
        lease = claim(queue).lease
        finish = FINISHES[verb]

        finish(queue, lease)
        before = queue.find(job_id)
        finish(queue, lease)

        assert queue.find(job_id) == before


FINISHES: dict[str, Callable[[DatabaseQueue, Lease], None]] = {
    "complete": lambda queue, lease: queue.complete(lease),
    "fail": lambda queue, lease: queue.fail(lease, "late"),
    "retry": lambda queue, lease: queue.retry(lease, "late", 5),
    "release": lambda queue, lease: queue.release(lease),
}
CHANGES = {**FINISHES, "heartbeat": lambda queue, lease: queue.renew(lease, LEASE_SECONDS)}


class TestLease:
    @pytest.mark.parametrize("verb", CHANGES)
    def test_a_stale_worker_changes_nothing_in_a_reaped_job(self, queue: DatabaseQueue, verb: str) -> None:
        job_id = enqueue(queue, 1)
        stale = claim(queue, "worker a").lease
        let_pass(queue, LEASE_SECONDS + 1)
        queue.reap()
        before = queue.find(job_id)

        with pytest.raises(LeaseLost):
            CHANGES[verb](queue, stale)

        assert queue.find(job_id) == before

    @pytest.mark.parametrize("verb", CHANGES)
    def test_a_stale_worker_changes_nothing_while_another_one_runs_the_job(
        self, queue: DatabaseQueue, verb: str
    ) -> None:
        job_id = enqueue(queue, 1)
        stale = claim(queue, "worker a").lease
        let_pass(queue, LEASE_SECONDS + 1)
        queue.reap()
        let_pass(queue, 6)
        current = claim(queue, "worker b").lease

        with pytest.raises(LeaseLost):
            CHANGES[verb](queue, stale)
        queue.complete(current)

        assert queue.find(job_id).status == "done"

    @pytest.mark.parametrize("verb", CHANGES)
    def test_a_lease_on_a_job_that_does_not_exist_is_lost(self, queue: DatabaseQueue, verb: str) -> None:
        with pytest.raises(LeaseLost):
            CHANGES[verb](queue, Lease(999, "0" * 16, "worker a"))

    def test_all_leases_of_a_worker_are_renewed_together(self, queue: DatabaseQueue) -> None:
        for update_id in range(3):
            enqueue(queue, update_id)
        leases = [job.lease for job in queue.claim("worker a", LEASE_SECONDS, 2)] + [claim(queue).lease]
        let_pass(queue, LEASE_SECONDS - 5)

        assert queue.renew_many(leases, LEASE_SECONDS) == []
        let_pass(queue, LEASE_SECONDS - 5)

        assert queue.reap() == Reaped()
        assert queue.complete_many(leases) == []

    def test_renewing_many_tells_which_leases_were_lost_and_gives_none_of_them_back(self, queue: DatabaseQueue) -> None:
        """Given one that another worker has, one that the same worker has anew, one that ended, and one that stays."""
        for update_id in range(4):
            enqueue(queue, update_id)
        other, again, ended, stays = (job.lease for job in queue.claim("worker a", LEASE_SECONDS, 4))
        queue.complete(ended)
        for lost in (other, again):
            queue.retry(lost, "exit code 1", 0)
        taken = claim(queue, "worker b").lease
        anew = claim(queue, "worker a").lease
        assert (taken.job_id, anew.job_id) == (other.job_id, again.job_id)
        let_pass(queue, LEASE_SECONDS - 5)

        lost_leases = queue.renew_many([other, again, ended, stays, anew], LEASE_SECONDS)
        let_pass(queue, LEASE_SECONDS - 5)

        assert lost_leases == [other, again, ended]
        assert queue.reap() == Reaped(retried=1)
        assert queue.find(other.job_id).status == "pending"
        assert queue.renew_many([], LEASE_SECONDS) == []

    def test_a_heartbeat_keeps_the_job_from_being_reaped(self, queue: DatabaseQueue) -> None:
        enqueue(queue, 1)
        lease = claim(queue).lease
        let_pass(queue, LEASE_SECONDS - 5)
        queue.renew(lease, LEASE_SECONDS)
        let_pass(queue, LEASE_SECONDS - 5)

        assert queue.reap() == Reaped()
        queue.complete(lease)


class TestReap:
    def test_a_live_lease_is_left_alone(self, queue: DatabaseQueue) -> None:
        enqueue(queue, 1)
        claim(queue)

        assert queue.reap() == Reaped()

    def test_an_expired_lease_goes_back_with_the_normal_back_off_and_says_why(self, queue: DatabaseQueue) -> None:
        job_id = enqueue(queue, 1)
        claim(queue, "worker a")
        let_pass(queue, LEASE_SECONDS + 1)

        assert queue.reap() == Reaped(retried=1)
        assert queue.claim("worker b", LEASE_SECONDS) == []
        let_pass(queue, 5.1)
        assert claim(queue, "worker b").attempt == 2
        assert "worker a died" in (queue.find(job_id).error_message or "")

    def test_a_lease_that_is_extended_after_the_reaper_read_it_is_kept(
        self, queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As by a worker whose database was away until this moment."""
        enqueue(queue, 1)
        lease = claim(queue).lease
        let_pass(queue, LEASE_SECONDS + 1)
        end_run = reaping.end_run

        def extended_first(*arguments: Any, **values: Any) -> bool:
            queue.renew(lease, LEASE_SECONDS)
            return end_run(*arguments, **values)

        monkeypatch.setattr(reaping, "end_run", extended_first)

        assert queue.reap() == Reaped()
        queue.complete(lease)

    def test_a_job_that_kills_its_workers_fails_when_its_attempts_are_used_up(self, queue: DatabaseQueue) -> None:
        job_id = enqueue(queue, 1)
        for _ in range(3):
            claim(queue)
            let_pass(queue, LEASE_SECONDS + 1)
            reaped = queue.reap()
            let_pass(queue, 60)

        assert reaped == Reaped(failed=1)
        assert queue.find(job_id).status == "failed"

    def test_the_leases_of_a_dead_worker_go_back_at_once_and_only_those(self, queue: DatabaseQueue) -> None:
        for update_id in range(3):
            enqueue(queue, update_id)
        claim(queue, "dead")
        alive = claim(queue, "alive")
        claim(queue, "dead")

        assert queue.reap("dead") == Reaped(retried=2)
        assert queue.counts() == Counts(pending=2, processing=1)
        queue.complete(alive.lease)


class TestRequeue:
    def test_a_requeued_job_has_all_its_attempts_again(self, queue: DatabaseQueue) -> None:
        job_id = enqueue(queue, 1)
        fail_for_good(queue)

        queue.requeue(job_id)

        assert claim(queue).attempt == 1

    def test_all_failed_jobs_are_requeued_and_no_others(self, queue: DatabaseQueue) -> None:
        for update_id in range(250):
            enqueue(queue, update_id)
        for job in queue.claim("worker a", LEASE_SECONDS, limit=240):
            queue.fail(job.lease, "exit code 1")
        for job in queue.claim("worker a", LEASE_SECONDS, limit=5):
            queue.complete(job.lease)

        assert queue.requeue_failed().requeued == 240
        assert queue.counts() == Counts(pending=245, done=5)

    @pytest.mark.parametrize("state", ["pending", "processing", "done"])
    def test_a_job_that_did_not_fail_is_not_requeued(self, queue: DatabaseQueue, state: str) -> None:
        job_id = enqueue(queue, 1)
        if state != "pending":
            lease = claim(queue).lease
        if state == "done":
            queue.complete(lease)

        with pytest.raises(WrongState, match=f"job {job_id} is {state}"):
            queue.requeue(job_id)

        assert queue.find(job_id).status == state

    def test_a_job_that_does_not_exist_is_named(self, queue: DatabaseQueue) -> None:
        for ask in (queue.requeue, queue.find, queue.payload):
            with pytest.raises(JobNotFound, match="no job 12345"):
                ask(12345)


class TestLook:
    def test_counts_know_every_state(self, queue: DatabaseQueue) -> None:
        for update_id in range(4):
            enqueue(queue, update_id)
        queue.complete(claim(queue).lease)
        fail_for_good(queue)
        claim(queue)

        counts = queue.counts()

        assert counts == Counts(pending=1, processing=1, done=1, failed=1)
        assert counts.total == 4

    def test_newest_jobs_come_first_and_no_more_than_asked_for(self, queue: DatabaseQueue) -> None:
        ids = [enqueue(queue, update_id) for update_id in range(5)]

        assert [job.id for job in queue.newest(3)] == ids[:1:-1]

    def test_times_are_utc_by_the_databases_clock(self, queue: DatabaseQueue) -> None:
        job = queue.find(enqueue(queue, 1))
        ((now,),) = queue.database.run(lambda session: session.rows(queue.database.render("SELECT {now}")))

        age = (time_of(now) - job.created_at).total_seconds()

        assert job.created_at.utcoffset() is not None
        assert abs(age) < 60
