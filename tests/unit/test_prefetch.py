"""A worker's supply: more than one job at a time only for a quick bot, and never held for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.queue.job import Counts
from scalable.lib.worker.outcome import Kind, Outcome
from scalable.lib.worker.prefetch import FRESH_SECONDS, MAX_BATCH
from tests.support.worker_bench import Bench


def ended(seconds: float) -> Outcome:
    return Outcome(Kind.SUCCEEDED, "exit code 0", seconds, 0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("run_seconds", "claimed"), [(0.001, MAX_BATCH), (0.02, 5), (0.05, 2), (0.1, 1), (3.0, 1)]
)
def test_a_batch_is_a_tenth_of_a_second_of_work(bench: Bench, run_seconds: float, claimed: int) -> None:
    bench.enqueue(30)
    bench.runner.outcome = ended(run_seconds)
    bench.worker.work_one()
    assert bench.queue.counts() == Counts(pending=29, done=1)

    bench.worker.work_one()

    assert bench.queue.counts() == Counts(pending=29 - claimed, processing=claimed - 1, done=2)


def test_one_slow_run_makes_the_next_batches_small(bench: Bench) -> None:
    bench.enqueue(30)
    for seconds in (0.001, 0.09):
        bench.runner.outcome = ended(seconds)
        bench.worker.work_one()
    bench.worker.close()

    bench.worker.work_one()

    assert bench.queue.counts().processing == 0


def test_a_bot_that_takes_long_lets_the_others_go_with_their_attempts(bench: Bench) -> None:
    bench.enqueue(10)
    bench.runner.outcome = ended(0.001)
    bench.worker.work_one()
    seen: list[int] = []

    def slow(tick: object) -> None:
        for _ in range(3):
            bench.clock.advance(0.5)
            tick()  # type: ignore[operator]
            seen.append(bench.queue.counts().processing)

    bench.runner.during = slow
    bench.worker.work_one()

    assert seen == [MAX_BATCH, MAX_BATCH, 1]
    assert all(job.attempts == 0 for job in bench.queue.newest(8))


def test_what_was_not_run_is_given_back_at_the_end(bench: Bench) -> None:
    bench.enqueue(10)
    bench.runner.outcome = ended(0.001)

    bench.loop(max_jobs=2)

    assert bench.queue.counts() == Counts(pending=8, done=2)
    assert all(job.attempts == 0 for job in bench.queue.newest(8))


def test_jobs_held_through_an_outage_are_not_run_on_a_doubtful_lease(bench: Bench) -> None:
    bench.enqueue(10)
    bench.runner.outcome = ended(0.001)
    bench.worker.work_one()
    bench.worker.work_one()
    held = bench.queue.counts().processing
    bench.clock.advance(FRESH_SECONDS + 1)

    bench.worker.work_one()

    assert held == MAX_BATCH - 1
    assert bench.queue.counts().processing == MAX_BATCH - 1  # claimed anew, after the old ones were given back
    assert max(job.attempts for job in bench.queue.newest(10)) == 1


def test_a_lease_that_cannot_be_given_back_is_forgotten(bench: Bench) -> None:
    bench.enqueue(10)
    bench.runner.outcome = ended(0.001)
    bench.worker.work_one()
    bench.worker.work_one()

    bench.database.away = lambda: True
    bench.worker.close()
    bench.database.away = lambda: False

    assert bench.queue.counts().processing == MAX_BATCH - 1
    bench.worker.close()
    assert bench.queue.counts().processing == MAX_BATCH - 1
