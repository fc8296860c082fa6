"""LegacyBotWorker and WorkerLoop on a real SQLite queue: what becomes of a job, whatever happens meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from scalable.lib.errors import BotUnsuitable, DatabaseUnavailable, LeaseLost, NoProcessLeft, StatementRefused
from scalable.lib.queue.dialects.database import LONGEST_CONFLICTS_SECONDS
from scalable.lib.queue.dialects.mysql_login import READ_SECONDS
from scalable.lib.queue.dialects.mysql_session import LOCK_WAIT_SECONDS
from scalable.lib.queue.lease_terms import LeaseTerms
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.runners.judgement import judge
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.worker.job_list import LONGEST_LIST_SECONDS
from tests.support.fakes.worker_bench import DONE, FAILED, Bench

TERMS = LeaseTerms()
DEFAULT_TIME_LIMIT_SECONDS = 60.0  # BOT_LEGACY_TIMEOUT
LEASE_LEFT = "SELECT (julianday(lease_expires_at) - julianday('now')) * 86400 FROM bot_jobs WHERE id = :id"
DELAY = "SELECT (julianday(available_at) - julianday(updated_at)) * 86400 FROM bot_jobs WHERE id = :id"
TAKE_AWAY = "UPDATE bot_jobs SET lease_token = 'another', reserved_by = 'worker-2' WHERE id = :id"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def lease_left(bench: Bench, job_id: int) -> float:
    return bench.sql(LEASE_LEFT, id=job_id)[0][0]


def test_an_empty_queue_is_no_work(bench: Bench):
    assert bench.work_one() is None
    assert bench.runner.payloads == []


def test_a_job_whose_bot_succeeds_is_done(bench: Bench):
    [job_id] = bench.enqueue()

    outcome = bench.work_one()

    job = bench.job(job_id)
    assert outcome == judge(DONE)
    assert bench.runner.payloads == ['{"n":1}']
    assert (job.status, job.attempts, job.error_message, job.reserved_by) == ("done", 1, None, "worker-1")


def test_a_job_whose_bot_fails_is_tried_six_times_with_the_documented_delays(bench: Bench):
    [job_id] = bench.enqueue()
    bench.runner.result = FAILED
    delays = []

    for _ in range(5):
        assert bench.work_one() == judge(FAILED)
        assert bench.job(job_id).status == "pending"
        assert bench.work_one() is None  # it is not due yet
        delays.append(round(float(str(bench.sql(DELAY, id=job_id)[0][0])), 1))
        bench.sql("UPDATE bot_jobs SET available_at = created_at WHERE id = :id", id=job_id)
    bench.work_one()

    job = bench.job(job_id)
    assert delays == [5, 10, 20, 40, 80]
    assert (job.status, job.attempts, len(bench.runner.payloads)) == ("failed", 6, 6)
    assert job.error_message == "exit code 1\nit went wrong"


def test_a_later_success_clears_the_error_of_the_attempt_before(bench: Bench):
    [job_id] = bench.enqueue()
    bench.runner.result = FAILED
    bench.work_one()
    assert bench.job(job_id).error_message == "exit code 1\nit went wrong"
    bench.sql("UPDATE bot_jobs SET available_at = created_at WHERE id = :id", id=job_id)
    bench.runner.result = DONE

    bench.work_one()

    assert (bench.job(job_id).status, bench.job(job_id).error_message) == ("done", None)


@pytest.mark.parametrize("end", [End.RAISED, End.NO_USABLE_ANSWER, End.TIMED_OUT, End.DIED, End.NOT_STARTED])
def test_every_way_to_fail_is_tried_again_and_says_why(bench: Bench, end: End):
    [job_id] = bench.enqueue()
    bench.runner.result = RunResult(end, 1.0, f"it {end.value}")

    bench.work_one()

    assert (bench.job(job_id).status, bench.job(job_id).error_message) == ("pending", f"it {end.value}")


def test_an_update_the_bot_refuses_is_failed_at_once(bench: Bench):
    [job_id] = bench.enqueue()
    bench.runner.result = RunResult(End.RESPONDED, 0.1, http_status=400)

    bench.work_one()

    job = bench.job(job_id)
    assert (job.status, job.attempts) == ("failed", 1)
    assert job.error_message == "HTTP status 400: the bot refuses this update"


@pytest.mark.parametrize(("asked", "waits"), [("30", 30.0), ("2", 5.0), ("", 5.0)])
def test_a_bot_that_asks_to_be_left_alone_is_not_run_sooner(bench: Bench, asked: str, waits: float):
    [job_id] = bench.enqueue()
    bench.runner.result = RunResult(End.RESPONDED, 0.1, http_status=503, retry_after=asked)

    bench.work_one()

    assert round(float(str(bench.sql(DELAY, id=job_id)[0][0])), 1) == waits


def test_a_bot_the_host_does_not_let_be_started_costs_no_attempt_and_ends_the_worker(bench: Bench):
    """Given a limit on processes: while this worker lives, another one's bot may be missing the very process it is."""
    [job_id, _] = bench.enqueue(2)

    def during(_: object) -> None:
        raise NoProcessLeft("the bot could not be started")

    bench.runner.during = during

    with pytest.raises(NoProcessLeft):
        bench.loop()

    assert (bench.job(job_id).status, bench.job(job_id).attempts) == ("pending", 0)
    assert bench.queue.counts().pending == 2
    assert bench.runner.closed


def test_a_bot_that_nothing_is_certain_to_run_costs_no_attempt_and_ends_the_worker(bench: Bench):
    """As after the owner uploaded another one, under a worker that runs."""
    bench.enqueue(2)

    def during(_: object) -> None:
        raise BotUnsuitable("it polls")

    bench.runner.during = during

    with pytest.raises(BotUnsuitable, match="it polls"):
        bench.loop()

    assert bench.queue.counts().pending == 2
    assert [bench.job(job_id).attempts for job_id in (1, 2)] == [0, 0]


def test_a_worker_that_ends_lets_go_of_the_bot(bench: Bench):
    bench.worker.close()

    assert bench.runner.closed


def test_with_one_attempt_the_first_failure_is_the_end(tmp_path: Path):
    bench = Bench(tmp_path, RetryPolicy(max_attempts=1))
    [job_id] = bench.enqueue()
    bench.runner.result = FAILED

    bench.work_one()

    assert bench.job(job_id).status == "failed"


@pytest.mark.parametrize("result", [DONE, FAILED])
def test_a_worker_that_lost_its_lease_changes_nothing(bench: Bench, result: RunResult):
    [job_id] = bench.enqueue()
    bench.runner.result = result
    bench.runner.during = lambda _: bench.sql(TAKE_AWAY, id=job_id)

    bench.work_one()

    assert bench.job(job_id).status == "processing"
    assert bench.sql("SELECT lease_token, error_message FROM bot_jobs") == [("another", None)]


def test_a_bot_whose_lease_was_taken_away_is_stopped_at_the_next_heartbeat(bench: Bench):
    [job_id] = bench.enqueue()
    finished = []

    def during(tick: Callable[[], None]) -> None:
        bench.sql(TAKE_AWAY, id=job_id)
        bench.clock.advance(TERMS.renew_seconds)
        tick()
        finished.append(True)

    bench.runner.during = during

    outcome = bench.work_one()

    assert outcome is not None
    assert not outcome.succeeded
    assert finished == []
    assert bench.job(job_id).status == "processing"


def test_the_database_going_away_while_a_job_is_finished_does_not_run_the_bot_twice(bench: Bench):
    [job_id] = bench.enqueue()
    back_at = bench.clock.now + 600

    def during(tick: Callable[[], None]) -> None:
        bench.database.away = lambda: bench.clock.now < back_at

    bench.runner.during = during

    assert bench.work_one() == judge(DONE)
    assert bench.job(job_id).status == "done"
    assert len(bench.runner.payloads) == 1
    assert max(bench.stop.waits) == TERMS.retry_seconds
    assert len(bench.stop.waits) < 600 / TERMS.retry_seconds + 5  # it does not knock all the time


def test_a_finish_whose_answer_was_lost_on_the_way_counts(bench: Bench):
    [job_id] = bench.enqueue()
    complete_many = bench.queue.complete_many
    calls = []

    def complete_but_hear_nothing(*leases: object) -> object:
        lost = complete_many(*leases)
        calls.append(leases)
        if len(calls) == 1:
            raise DatabaseUnavailable("lost connection during query")
        return lost

    bench.queue.complete_many = complete_but_hear_nothing

    assert bench.work_one() == judge(DONE)
    assert (bench.job(job_id).status, len(calls), len(bench.runner.payloads)) == ("done", 2, 1)


def test_a_worker_told_to_stop_while_the_database_is_away_leaves_the_job_to_its_lease(bench: Bench):
    [job_id] = bench.enqueue()

    def during(tick: Callable[[], None]) -> None:
        bench.database.away = lambda: True
        bench.stop.request()

    bench.runner.during = during

    bench.work_one()

    assert bench.job(job_id).status == "processing"
    assert lease_left(bench, job_id) == pytest.approx(TERMS.lease_seconds, abs=5)


def test_heartbeats_extend_the_lease_while_the_bot_runs(bench: Bench):
    [job_id] = bench.enqueue()
    left = []

    def during(tick: Callable[[], None]) -> None:
        for seconds in (TERMS.renew_seconds - 0.1, 0.1):
            bench.sql("UPDATE bot_jobs SET lease_expires_at = '2000-01-01 00:00:00.000' WHERE id = :id", id=job_id)
            bench.clock.advance(seconds)
            tick()
            left.append(lease_left(bench, job_id))

    bench.runner.during = during
    bench.work_one()

    assert left[0] < 0  # it was not time yet
    assert left[1] == pytest.approx(TERMS.lease_seconds, abs=5)


def test_a_bot_is_ended_before_another_worker_can_have_its_job_when_the_heartbeats_do_not_get_through(bench: Bench):
    [job_id] = bench.enqueue()
    claimed_at = bench.clock.now
    ended_at = []

    def during(tick: Callable[[], None]) -> None:
        bench.database.away = lambda: True
        try:
            for _ in range(1000):
                bench.clock.advance(0.5)
                tick()
        except LeaseLost:
            ended_at.append(bench.clock.now)
            raise

    bench.runner.during = during

    outcome = bench.work_one()

    assert outcome is not None
    assert not outcome.succeeded
    assert ended_at
    assert ended_at[0] - claimed_at == pytest.approx(TERMS.unrenewed_seconds, abs=0.5)
    assert bench.job(job_id).status == "processing"  # a process that reaches the database reaps it


def test_one_missed_heartbeat_is_no_reason_to_end_the_bot(bench: Bench):
    [job_id] = bench.enqueue()

    def during(tick: Callable[[], None]) -> None:
        for away in (True, False, True, False, True, False, True, False):
            bench.database.away = lambda away=away: away
            bench.clock.advance(TERMS.renew_seconds)
            tick()

    bench.runner.during = during

    assert bench.work_one() == judge(DONE)
    assert bench.job(job_id).status == "done"


def test_however_long_an_outage_a_bot_with_the_default_time_limit_ends_by_itself():
    assert TERMS.unrenewed_seconds > DEFAULT_TIME_LIMIT_SECONDS + LONGEST_LIST_SECONDS


def test_the_margin_is_longer_than_a_try_to_renew_that_gets_no_answer_and_the_end_of_a_bot():
    longest_try_seconds = max(2 * READ_SECONDS, LONGEST_CONFLICTS_SECONDS + LOCK_WAIT_SECONDS)

    assert TERMS.margin_seconds >= longest_try_seconds + 5


def test_the_grace_is_longer_than_a_worker_needs_to_notice_that_the_database_is_back():
    noticed_seconds = max(2 * READ_SECONDS, LONGEST_CONFLICTS_SECONDS + LOCK_WAIT_SECONDS)

    assert TERMS.grace_seconds > noticed_seconds + TERMS.retry_seconds


@pytest.mark.parametrize("signals", [[signal.SIGQUIT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM, signal.SIGINT]])
def test_stopping_at_once_releases_the_job_with_its_attempt(bench: Bench, signals: list[int]):
    [job_id] = bench.enqueue()

    def during(tick: Callable[[], None]) -> None:
        for number in signals:
            bench.stop.request(number)
        tick()
        raise AssertionError("the bot was not stopped")

    bench.runner.during = during

    assert bench.work_one() is None
    job = bench.job(job_id)
    assert (job.status, job.attempts) == ("pending", 0)
    assert bench.queue.claim("worker-2", 45)[0].attempt == 1


def test_a_graceful_stop_lets_the_bot_finish(bench: Bench):
    [job_id] = bench.enqueue()

    def during(tick: Callable[[], None]) -> None:
        bench.stop.request()
        tick()

    bench.runner.during = during

    assert bench.work_one() == judge(DONE)
    assert bench.job(job_id).status == "done"


def test_a_database_that_is_away_before_the_claim_is_the_callers_to_wait_for(bench: Bench):
    bench.enqueue()
    bench.database.away = lambda: True

    with pytest.raises(DatabaseUnavailable):
        bench.work_one()

    assert bench.runner.payloads == []


# An error of ours never stops a worker


REFUSAL = StatementRefused("MySQL: (1271, 'Illegal mix of collations for operation concat')")


def refuse(*_: object, **__: object) -> None:
    raise REFUSAL


@pytest.mark.parametrize(("verb", "result"), [("complete_many", DONE), ("retry", FAILED)])
def test_an_outcome_that_the_database_refuses_fails_its_job_and_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, verb: str, result: RunResult
):
    """F21: an error of ours never stops a worker."""
    [first, second] = bench.enqueue(2)
    bench.runner.result = result
    with monkeypatch.context() as patched:
        patched.setattr(bench.queue, verb, refuse)
        bench.work_one()
    bench.runner.result = DONE
    assert bench.work_one() == judge(DONE)

    job = bench.job(first)
    assert job.status == "failed"
    assert "refused to store how it ended" in (job.error_message or "")
    assert "1271" in (job.error_message or "")
    assert bench.job(second).status == "done"
    assert "away" not in caplog.text


def test_an_outcome_that_cannot_be_stored_at_all_is_left_to_its_lease(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    [first, second] = bench.enqueue(2)
    with monkeypatch.context() as patched:
        patched.setattr(bench.queue, "complete_many", refuse)
        patched.setattr(bench.queue, "fail", refuse)
        bench.work_one()
    bench.work_one()

    assert (bench.job(first).status, bench.job(second).status) == ("processing", "done")
    assert "job left to its lease" in caplog.text


def test_a_claim_that_the_database_refuses_is_tried_again_and_is_no_outage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    [job_id] = bench.enqueue()
    real, refusals = bench.queue.claim, [REFUSAL]

    def claim(*arguments: object) -> object:
        if refusals:
            raise refusals.pop()
        return real(*arguments)

    monkeypatch.setattr(bench.queue, "claim", claim)

    bench.loop(drain=True)

    assert bench.job(job_id).status == "done"
    assert "database refusing a statement, trying on" in caplog.text
    assert "database away" not in caplog.text
