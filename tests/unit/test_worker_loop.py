"""WorkerLoop on a real SQLite queue: how long a worker goes on, how it waits, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.worker.loop import LONGEST_DATABASE_WAIT_SECONDS, Limits, Tally, WorkerLoop
from scalable.lib.worker.recycling import Recycling
from scalable.lib.worker.wakeup import WaitForInterval
from tests.support.fakes.worker_bench import FAILED, SLEEP_SECONDS, Bench
from tests.support.servers.databases import let_pass


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def statuses(bench: Bench) -> list[str]:
    return [job.status for job in reversed(bench.queue.newest(100))]


def test_a_drain_works_everything_that_is_due_in_order_and_ends(bench: Bench):
    bench.enqueue(3)

    assert bench.loop(drain=True) == Tally(runs=3, succeeded=3)
    assert bench.runner.payloads == ['{"n":1}', '{"n":2}', '{"n":3}']
    assert statuses(bench) == ["done", "done", "done"]
    assert bench.stop.waits == []


def test_a_drain_of_nothing_ends_at_once(bench: Bench):
    assert bench.loop(drain=True) == Tally(0, 0)


def test_a_drain_does_not_wait_for_jobs_that_will_be_retried(bench: Bench):
    bench.enqueue(2)
    bench.runner.result = FAILED

    assert bench.loop(drain=True) == Tally(runs=2, succeeded=0)
    assert statuses(bench) == ["pending", "pending"]


def test_a_worker_ends_after_its_number_of_jobs(bench: Bench):
    bench.enqueue(5)

    assert bench.loop(max_jobs=2).runs == 2
    assert statuses(bench) == ["done", "done", "pending", "pending", "pending"]


def test_a_worker_starts_no_job_after_its_time_but_finishes_the_one_at_hand(bench: Bench):
    bench.enqueue(5)
    bench.runner.during = lambda _: bench.clock.advance(20)

    assert bench.loop(max_seconds=50).runs == 3


def test_an_idle_worker_with_a_time_limit_does_not_sleep_past_it(bench: Bench):
    started = bench.clock.now

    bench.loop(max_seconds=2.5)

    assert bench.clock.now == pytest.approx(started + 2.5)


def test_an_idle_worker_looks_again_after_its_pause_and_not_in_step_with_others(bench: Bench):
    bench.loop(max_seconds=100)

    pauses = bench.stop.waits[:-1]
    assert all(0.8 * SLEEP_SECONDS <= pause <= 1.2 * SLEEP_SECONDS for pause in pauses)
    assert len(set(pauses)) > 10


def test_a_worker_wakes_when_a_job_it_put_off_is_due(bench: Bench):
    """Given a worker that would not look by itself for a long time; it writes its counts in between."""
    bench.enqueue(1)
    bench.runner.result = FAILED
    bench.stop.during_wait = lambda: let_pass(bench.queue, bench.stop.waits[-1])
    began: list[float] = []
    bench.runner.during = lambda _: began.append(bench.clock.now)
    started = bench.clock.now

    bench.loop(max_seconds=100, sleep_seconds=1000.0)

    delays = [bench.queue.retry_policy.delay_seconds(attempt) for attempt in (1, 2, 3, 4)]
    pauses = [later - earlier for earlier, later in zip(began, began[1:])]
    assert pauses[:4] == pytest.approx(delays, abs=0.5)
    assert bench.clock.now == pytest.approx(started + 100)


def test_of_several_jobs_it_put_off_the_first_one_due_wakes_it(bench: Bench):
    bench.enqueue(2)
    results = [RunResult(End.RESPONDED, 0.1, http_status=503, retry_after="40"), FAILED]
    bench.runner.during = lambda _: setattr(bench.runner, "result", results.pop(0) if results else FAILED)

    bench.loop(max_seconds=10, sleep_seconds=1000.0)

    assert bench.stop.waits[0] == pytest.approx(bench.queue.retry_policy.delay_seconds(1))


def test_a_busy_worker_does_not_pause_between_jobs(bench: Bench):
    bench.enqueue(10)

    bench.loop(max_jobs=10)

    assert bench.stop.waits == []


def test_a_job_that_arrives_while_the_worker_sleeps_is_found(bench: Bench):
    bench.stop.during_wait = lambda: bench.enqueue() and None

    assert bench.loop(max_jobs=1).succeeded == 1


def test_a_stop_during_a_job_ends_the_worker_after_that_job(bench: Bench):
    bench.enqueue(3)
    bench.runner.during = lambda _: bench.stop.request()

    assert bench.loop().runs == 1
    assert statuses(bench) == ["done", "pending", "pending"]


def test_a_stop_during_the_pause_ends_the_worker(bench: Bench):
    bench.stop.during_wait = bench.stop.request

    assert bench.loop() == Tally(0, 0)
    assert len(bench.stop.waits) == 1


def test_the_death_of_the_pool_ends_the_worker_after_the_job_at_hand(bench: Bench):
    bench.enqueue(3)

    def during(tick: Callable[[], None]) -> None:
        bench.stop.parent = 1
        tick()

    bench.runner.during = during

    assert bench.loop().runs == 1
    assert statuses(bench) == ["done", "pending", "pending"]


def test_a_worker_waits_for_its_database_longer_and_longer_and_goes_on_when_it_is_back(bench: Bench):
    bench.enqueue(1)
    back_at = bench.clock.now + 300
    bench.database.away = lambda: bench.clock.now < back_at

    assert bench.loop(max_jobs=1).succeeded == 1
    assert bench.stop.waits[0] <= 0.5
    assert max(bench.stop.waits) <= LONGEST_DATABASE_WAIT_SECONDS
    assert 300 / LONGEST_DATABASE_WAIT_SECONDS <= len(bench.stop.waits) < 80


def test_a_worker_can_be_stopped_while_its_database_is_away(bench: Bench):
    bench.database.away = lambda: True
    bench.stop.during_wait = bench.stop.request

    assert bench.loop() == Tally(0, 0)


def test_a_time_limit_holds_while_the_database_is_away(bench: Bench):
    bench.database.away = lambda: True
    started = bench.clock.now

    bench.loop(max_seconds=50)

    assert bench.clock.now == pytest.approx(started + 50)


def test_a_worker_waits_while_the_tables_are_gone(bench: Bench):
    bench.sql("DROP TABLE bot_jobs")
    bench.stop.during_wait = bench.stop.request

    assert bench.loop() == Tally(0, 0)
    assert len(bench.stop.waits) == 1


EXPIRE = "UPDATE bot_jobs SET lease_expires_at = '2000-01-01', lease_missed_at = '2000-01-02'"


def test_a_worker_without_a_pool_gives_back_the_jobs_of_dead_ones(bench: Bench):
    [job_id] = bench.enqueue()
    bench.queue.claim("a worker that died", 45)
    bench.sql(EXPIRE)

    bench.loop(reap=True, drain=True)

    job = bench.job(job_id)
    assert (job.status, job.attempts) == ("pending", 1)
    why = "worker a worker that died died or lost its database during attempt 1; last heartbeat at "
    assert (job.error_message or "").startswith(why)


def test_a_worker_of_a_pool_leaves_reaping_to_the_pool(bench: Bench):
    [job_id] = bench.enqueue()
    bench.queue.claim("a worker that died", 45)
    bench.sql(EXPIRE)

    bench.loop(reap=False, drain=True)

    assert bench.job(job_id).status == "processing"


def test_a_drain_goes_on_after_a_job_it_lost_to_another_worker(bench: Bench):
    bench.enqueue(3)
    ran = []

    def during(tick: Callable[[], None]) -> None:
        ran.append(True)
        if len(ran) == 1:
            bench.sql(
                "UPDATE bot_jobs SET lease_token = 'another', reserved_by = 'worker-2' WHERE status = 'processing'"
            )
            bench.clock.advance(11)
            tick()

    bench.runner.during = during

    bench.loop(drain=True)

    assert statuses(bench) == ["processing", "done", "done"]


def test_a_worker_whose_bot_needs_a_new_process_ends_after_the_job_at_hand(bench: Bench):
    bench.enqueue(3)

    def during(_: Callable[[], None]) -> None:
        bench.runner.why_retired = "the bot's file changed"

    bench.runner.during = during

    assert bench.loop().runs == 1
    assert statuses(bench) == ["done", "pending", "pending"]


def test_a_worker_that_has_lived_long_enough_ends_after_the_job_at_hand(bench: Bench):
    bench.enqueue(5)
    bench.runner.result = RunResult(End.EXITED, 0.3, exit_code=0)  # so that it claims one at a time

    class Old(Recycling):
        def reason(self, runs: int) -> str | None:
            return "its age" if runs == 2 else None

    tally = WorkerLoop(
        bench.queue,
        bench.worker,
        bench.stop,
        WaitForInterval(1.0),
        Limits(),
        clock=bench.clock,
        recycling=Old(bench.clock),
    ).run()

    assert tally.runs == 2
    assert statuses(bench) == ["done", "done", "pending", "pending", "pending"]


def test_progress_is_told_after_every_run(bench: Bench):
    bench.enqueue(2)
    seen: list[Tally] = []
    bench.progress = seen.append

    bench.loop(drain=True)

    assert seen == [Tally(1, 1), Tally(2, 2)]
