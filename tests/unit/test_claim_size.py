"""A worker's supply: more than one job at a time only for a quick bot, and never held for long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.queue.job import ClaimedJob, Counts
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.worker.claim_size import MAX_BATCH
from scalable.lib.worker.job_list import LONGEST_LIST_SECONDS
from tests.support.fakes.worker_bench import Bench


def ended(seconds: float) -> RunResult:
    return RunResult(End.EXITED, seconds, exit_code=0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(("run_seconds", "claimed"), [(0.001, MAX_BATCH), (0.02, 10), (0.05, 4), (0.1, 2), (3.0, 1)])
def test_after_one_claim_that_found_a_job_a_batch_is_a_fifth_of_a_second_of_work(
    bench: Bench, run_seconds: float, claimed: int
) -> None:
    bench.enqueue(MAX_BATCH + 8)
    bench.runner.result = ended(run_seconds)
    bench.work_one()
    assert bench.queue.counts() == Counts(pending=MAX_BATCH + 7, done=1)

    bench.work_one()

    counts = bench.queue.counts()
    assert (counts.pending, counts.processing + counts.done) == (MAX_BATCH + 7 - claimed, claimed + 1)


def batches(bench: Bench, count: int) -> list[int]:
    """How many jobs each of the next claims got."""
    sizes: list[int] = []
    claim = bench.queue.claim

    def counted(*arguments: Any) -> list[ClaimedJob]:
        jobs = claim(*arguments)
        sizes.append(len(jobs))
        return jobs

    bench.queue.claim = counted  # type: ignore[method-assign]
    while len(sizes) < count:
        bench.work_one()
    bench.queue.claim = claim  # type: ignore[method-assign]
    return sizes


def test_batches_grow_to_half_a_second_of_work_while_every_claim_gets_all_it_asks_for(bench: Bench) -> None:
    bench.enqueue(60)
    bench.runner.result = ended(0.05)

    assert batches(bench, 6) == [1, 4, 8, 10, 10, 10]


def test_a_claim_that_gets_less_ends_the_growth(bench: Bench) -> None:
    bench.enqueue(1 + 4 + 3)
    bench.runner.result = ended(0.05)
    assert batches(bench, 4) == [1, 4, 3, 0]

    bench.enqueue(10)

    assert batches(bench, 2) == [2, 4]


def test_jobs_that_are_done_are_told_within_a_quarter_of_a_second(bench: Bench) -> None:
    bench.enqueue(20)
    bench.runner.result = ended(0.05)
    batches(bench, 3)
    told: list[tuple[float, int]] = []

    def during(_: object) -> None:
        bench.clock.advance(0.05)

    bench.runner.during = during
    started, before = bench.clock.now, bench.queue.counts().done
    for _ in range(6):
        bench.work_one()
        told.append((round(bench.clock.now - started, 2), bench.queue.counts().done - before))

    assert told[:4] == [(0.05, 0), (0.1, 0), (0.15, 0), (0.2, 0)]
    assert told[5][1] >= 5


def test_one_slow_run_makes_the_next_batches_small(bench: Bench) -> None:
    bench.enqueue(30)
    for seconds in (0.001, 0.25):
        bench.runner.result = ended(seconds)
        bench.work_one()
    bench.worker.give_back()

    bench.work_one()

    assert bench.queue.counts().processing == 0


def test_jobs_of_a_batch_are_told_together_when_the_last_one_is_run(bench: Bench) -> None:
    bench.enqueue(6)
    bench.runner.result = ended(0.02)
    bench.work_one()

    done = []
    for _ in range(5):
        bench.work_one()
        done.append(bench.queue.counts().done)

    assert done == [1, 1, 1, 1, 6]


def test_a_job_of_a_batch_that_fails_is_told_at_once(bench: Bench) -> None:
    bench.enqueue(6)
    bench.runner.result = ended(0.02)
    bench.work_one()
    bench.work_one()
    bench.runner.result = RunResult(End.EXITED, 0.02, exit_code=1)
    bench.work_one()

    assert bench.queue.counts() == Counts(pending=1, processing=3, done=2)
    assert bench.job(3).error_message == "exit code 1"


def test_a_bot_that_takes_long_lets_the_others_go_with_their_attempts_and_tells_what_is_done(bench: Bench) -> None:
    bench.enqueue(10)
    bench.runner.result = ended(0.01)
    bench.work_one()
    bench.work_one()
    seen: list[tuple[int, int]] = []

    def slow(tick: object) -> None:
        for _ in range(3):
            bench.clock.advance(0.5)
            tick()  # type: ignore[operator]
            counts = bench.queue.counts()
            seen.append((counts.processing, counts.done))

    bench.runner.during = slow
    bench.work_one()

    assert seen == [(8, 2), (1, 2), (1, 2)]
    assert all(job.attempts == 0 for job in bench.queue.newest(7))


def test_a_database_that_is_away_while_a_bot_takes_long_does_not_hold_up_the_bot(bench: Bench) -> None:
    bench.enqueue(3)
    bench.runner.result = ended(0.03)
    bench.work_one()
    bench.work_one()

    def slow(tick: object) -> None:
        bench.database.away = lambda: True
        for _ in range(4):
            bench.clock.advance(0.5)
            tick()  # type: ignore[operator]
        bench.database.away = lambda: False

    bench.runner.during = slow
    bench.work_one()

    assert bench.queue.counts() == Counts(done=3)
    assert bench.stop.waits == []


def test_what_was_not_run_is_given_back_at_the_end(bench: Bench) -> None:
    bench.enqueue(10)
    bench.runner.result = ended(0.001)

    bench.loop(max_jobs=2)

    assert bench.queue.counts() == Counts(pending=8, done=2)  # told although the batch was not run to its end
    assert all(job.attempts == 0 for job in bench.queue.newest(8))


def test_jobs_of_a_batch_that_lasts_too_long_are_given_back_between_two_runs(bench: Bench) -> None:
    """Given a bot that became slow, but not so slow that one run of it takes long."""
    bench.enqueue(10)
    bench.runner.result = ended(0.001)
    bench.work_one()
    bench.runner.during = lambda _: bench.clock.advance(0.6)
    bench.runner.result = ended(0.6)
    for _ in range(3):
        bench.work_one()

    assert bench.queue.counts() == Counts(pending=6, done=4)
    assert all(job.attempts == 0 for job in bench.queue.newest(6))


def test_jobs_held_through_an_outage_are_not_run_on_a_doubtful_lease(bench: Bench) -> None:
    bench.enqueue(10)
    bench.runner.result = ended(0.001)
    bench.work_one()
    bench.work_one()
    held = bench.queue.counts().processing
    bench.clock.advance(LONGEST_LIST_SECONDS + 1)

    bench.work_one()

    assert held == 9
    assert bench.queue.counts() == Counts(processing=8, done=2)  # claimed anew, after the old ones were given back
    assert max(job.attempts for job in bench.queue.newest(10)) == 1


def test_what_cannot_be_given_back_while_the_database_is_away_is_given_back_with_the_next_try(bench: Bench) -> None:
    bench.enqueue(10)
    bench.runner.result = ended(0.001)
    bench.work_one()
    bench.work_one()

    bench.stop.request()
    bench.database.away = lambda: True
    bench.worker.give_back()
    bench.database.away = lambda: False

    assert bench.queue.counts() == Counts(processing=9, done=1)
    bench.worker.give_back()
    assert bench.queue.counts() == Counts(pending=8, processing=1, done=1)  # one was run, and is not told yet


def test_done_jobs_of_a_batch_whose_leases_are_lost_are_not_counted_as_done(bench: Bench) -> None:
    bench.enqueue(3)
    bench.runner.result = ended(0.03)
    bench.work_one()
    bench.work_one()
    bench.sql("UPDATE bot_jobs SET lease_token = 'another' WHERE id = 2")

    bench.work_one()
    bench.worker.heartbeat.close()

    assert bench.queue.counts() == Counts(processing=1, done=2)
    assert bench.sql("SELECT SUM(done) FROM bot_jobs_minutes") == [(2,)]


def test_after_an_outage_a_worker_gives_back_what_it_had_claimed_before_it_claims_anything(bench: Bench) -> None:
    bench.enqueue(10)
    bench.runner.result = ended(0.001)
    bench.work_one()
    bench.work_one()
    bench.opened[0].report_now()
    bench.worker.collect()
    bench.clock.advance(LONGEST_LIST_SECONDS + 1)

    bench.database.away = lambda: True
    with pytest.raises(DatabaseUnavailable):
        bench.work_one()
    bench.database.away = lambda: False
    bench.work_one()

    released = bench.sql("SELECT COUNT(*) FROM bot_jobs WHERE history LIKE '%released%'")
    assert released == [(8,)]
    assert bench.sql("SELECT DISTINCT attempts FROM bot_jobs WHERE status <> 'pending'") == [(1,)]
