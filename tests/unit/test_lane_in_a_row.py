"""A quick bot on a chat that writes much: its updates are run one after the other by one slot, and stored together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from scalable.lib.errors import LeaseLost
from scalable.lib.queue.job import DONE, FAILED, PENDING, PROCESSING
from scalable.lib.runners.judgement import judge
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.telegram.update import Update
from scalable.lib.worker.job_list import LONGEST_LIST_SECONDS
from scalable.lib.worker.slot import Report, RunEnd
from tests.support.fakes.worker_bench import Bench
from tests.support.servers.databases import let_pass

QUICK = RunResult(End.EXITED, 0.01, exit_code=0)
BROKEN = RunResult(End.EXITED, 0.01, exit_code=1, output="it went wrong")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A worker that knows its bot to be quick."""
    bench = Bench(tmp_path)
    bench.runner.result = QUICK
    bench.enqueue()
    bench.work_one()
    bench.runner.payloads.clear()
    return bench


def put(bench: Bench, count: int, lane: str = "chat:1") -> None:
    """Updates of one chat, numbered on."""
    first = len(bench.queue.newest(100))
    for number in range(first, first + count):
        bench.queue.enqueue(Update(f'{{"n":{number}}}', number, "message", lane))


def ran(bench: Bench) -> list[int]:
    return [json.loads(payload)["n"] for payload in bench.runner.payloads]


def states(bench: Bench) -> list[tuple[str, int]]:
    return [(job.status, job.attempts) for job in list(reversed(bench.queue.newest(100)))[1:]]


def break_at(bench: Bench, *numbers: int) -> None:
    """Let the bot fail on these updates, each time."""

    def during(_: Callable[[], None]) -> None:
        number = json.loads(bench.runner.payloads[-1])["n"]
        bench.runner.result = BROKEN if number in numbers else QUICK

    bench.runner.during = during


def test_one_claim_takes_several_of_a_chat_and_they_are_stored_together(bench: Bench) -> None:
    put(bench, 5)

    assert bench.worker.claim() == 5
    assert states(bench) == [(PROCESSING, 1), *[(PENDING, 0)] * 4]
    while bench.run_bot():
        pass
    bench.worker.collect()

    assert ran(bench) == [1, 2, 3, 4, 5]
    assert states(bench) == [(DONE, 1)] * 5
    assert bench.worker.at_hand == 0


def test_the_others_of_the_chat_wait_for_one_that_failed(bench: Bench) -> None:
    put(bench, 4)
    break_at(bench, 2)

    assert bench.loop(max_seconds=0.5).runs == 2

    assert ran(bench) == [1, 2]
    assert states(bench) == [(DONE, 1), (PENDING, 1), (PENDING, 0), (PENDING, 0)]
    assert bench.queue.find(3).error_message == "exit code 1\nit went wrong"
    break_at(bench)
    let_pass(bench.queue, 60)
    bench.make_worker()
    assert bench.loop(drain=True).runs == 3
    assert ran(bench) == [1, 2, 2, 3, 4]
    assert states(bench) == [(DONE, 1), (DONE, 2), (DONE, 1), (DONE, 1)]


def test_one_that_fails_for_good_lets_the_others_go_on(bench: Bench) -> None:
    put(bench, 3)
    break_at(bench, 1)
    for _ in range(6):
        bench.loop(max_seconds=0.2)
        let_pass(bench.queue, 400)
        bench.make_worker()

    bench.loop(drain=True)
    assert ran(bench) == [1] * 6 + [2, 3]
    assert states(bench) == [(FAILED, 6), (DONE, 1), (DONE, 1)]


def test_another_chat_in_the_same_list_goes_on_beside_a_failure(bench: Bench) -> None:
    put(bench, 2)
    put(bench, 2, "chat:2")
    break_at(bench, 1)

    bench.loop(max_seconds=0.5)

    assert ran(bench) == [1, 3, 4]
    assert states(bench) == [(PENDING, 1), (PENDING, 0), (DONE, 1), (DONE, 1)]


def test_one_that_takes_long_has_the_lease_itself_and_the_rest_is_given_back(bench: Bench) -> None:
    put(bench, 4)
    seen: list[list[tuple[str, int]]] = []

    def during(tick: Callable[[], None]) -> None:
        if len(bench.runner.payloads) == 2:
            for _ in range(4):
                bench.clock.advance(LONGEST_LIST_SECONDS / 2)
                tick()
            seen.append(states(bench))

    bench.runner.during = during
    bench.worker.claim()
    while bench.run_bot():
        pass
    bench.worker.collect()

    assert seen == [[(DONE, 1), (PROCESSING, 1), (PENDING, 0), (PENDING, 0)]]
    assert states(bench) == [(DONE, 1), (DONE, 1), (PENDING, 0), (PENDING, 0)]
    bench.queue.skip(5)  # nobody holds it any more
    assert bench.worker.at_hand == 0


def test_a_bot_whose_chat_was_taken_over_is_stopped_and_nothing_is_told_of_it(bench: Bench) -> None:
    put(bench, 3)

    def during(tick: Callable[[], None]) -> None:
        if len(bench.runner.payloads) == 2:
            bench.queue.reap("worker-1")
            bench.clock.advance(0.5)
            tick()
            tick()

    bench.runner.during = during
    bench.worker.claim()
    while bench.run_bot():
        pass
    bench.worker.collect()

    assert ran(bench) == [1, 2]
    assert states(bench) == [(PENDING, 1), (PENDING, 1), (PENDING, 1)]


def test_a_stop_gives_back_what_was_not_begun_with_its_attempts(bench: Bench) -> None:
    put(bench, 4)
    bench.worker.claim()
    bench.run_bot()
    bench.stop.request()
    bench.worker.close()

    assert ran(bench) == [1]
    assert states(bench) == [(DONE, 1), (PENDING, 0), (PENDING, 0), (PENDING, 0)]
    assert [job.id for job in bench.queue.claim("other", 60)] == [3]


def test_the_lease_does_not_move_on_to_a_job_whose_bot_was_stopped(bench: Bench) -> None:
    """It would be running for the table, and nowhere else, until its lease had ended."""
    put(bench, 3)
    ids = [job.id for job in reversed(bench.queue.newest(3))]
    bench.worker.claim()
    (jobs,) = bench.worker.slots.lists
    ends = [job for job in (jobs.begin_next(), jobs.begin_next()) if job is not None]
    assert [job.id for job in ends] == ids[:2]
    slot = next(iter(bench.worker.slots._busy))
    done = RunEnd(ends[0], 0.0, judge(QUICK))
    bench.worker.slots.reports.put(Report(slot, [done, RunEnd(ends[1], 0.0, error=LeaseLost("away"))], is_last=True))

    bench.worker.collect()

    assert [bench.job(job_id).status for job_id in ids] == ["done", "pending", "pending"]
    assert [job.id for job in bench.queue.claim("other", 45)] == ids[1:2]
