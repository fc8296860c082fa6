"""Several slots of one worker: when they are opened, what they are given, and that none keeps another one waiting."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.errors import LeaseLost, NoProcessLeft
from scalable.lib.queue.job import Counts, Lease
from scalable.lib.queue.lease_terms import USUAL_TERMS
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.telegram.update import Update, read_update
from scalable.lib.worker.claim_size import SLOW_SECONDS
from scalable.lib.worker.job_list import LONGEST_LIST_SECONDS
from scalable.lib.worker.slot_group import MOST_AUTO_SLOTS, REFUSED_SECONDS, SlotLimit, slot_limit
from tests.support.fakes.worker_bench import FAILED, Bench

SLOW = RunResult(End.EXITED, 0.2, exit_code=0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.make_worker(limit=slot_limit(None))
    return bench


def busy(bench: Bench) -> int:
    """How many slots have something to run."""
    return sum(slot.is_busy for slot in bench.opened)


def begin_slow(bench: Bench, count: int = 1) -> None:
    """Given that so many jobs were claimed and have been running for a while."""
    bench.enqueue(count)
    while bench.worker.claim():
        bench.clock.advance(SLOW_SECONDS)
    assert busy(bench) == count


def test_a_worker_begins_with_one_slot(bench: Bench):
    bench.enqueue(10)

    assert bench.worker.claim() == 1
    assert bench.worker.claim() == 0
    assert len(bench.opened) == 1


def test_when_the_bot_takes_long_as_many_slots_are_opened_as_there_are_jobs(bench: Bench):
    bench.enqueue(4)
    bench.worker.claim()
    bench.clock.advance(SLOW_SECONDS)

    assert bench.worker.claim() == 3
    assert (len(bench.opened), busy(bench)) == (4, 4)


def test_auto_opens_no_more_than_eight(bench: Bench):
    begin_slow(bench, MOST_AUTO_SLOTS)
    bench.enqueue()

    assert bench.worker.claim() == 0


def test_a_number_is_the_most(bench: Bench):
    bench.make_worker(limit=slot_limit(3))
    begin_slow(bench, 3)
    bench.enqueue()

    assert bench.worker.claim() == 0


def test_a_bot_known_to_be_slow_does_not_keep_the_next_ones_waiting(bench: Bench):
    bench.enqueue(6)
    bench.runner.result = SLOW
    bench.work_one()
    bench.worker.claim()

    assert bench.worker.claim() == 4
    assert busy(bench) == 5


def test_a_quick_bot_needs_one_slot_whatever_waits(bench: Bench):
    bench.enqueue(200)
    bench.runner.result = RunResult(End.EXITED, 0.001, exit_code=0)

    bench.loop(drain=True)

    assert bench.queue.counts() == Counts(done=200)
    assert len(bench.opened) == 1


def test_a_slot_that_is_free_is_taken_before_another_one_is_opened(bench: Bench):
    begin_slow(bench, 3)
    bench.opened[1].step()
    bench.worker.collect()
    bench.enqueue(1)

    assert bench.worker.claim() == 1
    assert len(bench.opened) == 3


def test_where_the_host_has_no_room_no_slot_is_opened(bench: Bench):
    room = [0.0]
    bench.make_worker(limit=SlotLimit(8, 1, lambda: room[0]))
    bench.enqueue(4)
    bench.worker.claim()
    bench.clock.advance(SLOW_SECONDS)

    assert bench.worker.claim() == 0
    room[0] = 1.0
    assert bench.worker.claim() == 1
    room[0] = math.inf
    bench.clock.advance(SLOW_SECONDS)
    assert bench.worker.claim() == 2


def test_a_bot_that_does_not_run_side_by_side_gets_one_slot_unless_more_were_asked_for(bench: Bench):
    bench.runner.side_by_side = False
    bench.enqueue(9)
    bench.worker.claim()
    bench.clock.advance(SLOW_SECONDS)
    assert bench.worker.claim() == 0
    assert bench.worker.claim_urgent() == 0

    bench.make_worker(limit=slot_limit(2))
    bench.worker.claim()
    bench.clock.advance(SLOW_SECONDS)

    assert bench.worker.claim() == 1


def test_the_end_of_one_slot_is_stored_while_the_others_go_on(bench: Bench):
    begin_slow(bench, 3)

    bench.opened[2].step()
    bench.worker.collect()

    assert bench.queue.counts() == Counts(processing=2, done=1)


def test_what_ended_in_several_slots_is_stored_in_one_statement_for_each_claim(bench: Bench):
    bench.enqueue(4)
    bench.worker.claim()
    bench.clock.advance(SLOW_SECONDS)
    bench.worker.claim()
    stored: list[int] = []
    complete_many = bench.queue.complete_many

    def counted(leases: list[Lease], *others: Any) -> list[Lease]:
        stored.append(len(leases))
        return complete_many(leases, *others)

    bench.queue.complete_many = counted  # type: ignore[assignment, method-assign]
    bench.runner.during = lambda _: None
    while bench.run_bot():
        pass
    bench.worker.collect()

    assert stored == [4]


def test_the_leases_of_all_slots_are_renewed_together(bench: Bench):
    begin_slow(bench, 3)
    renewed: list[int] = []
    renew_many = bench.queue.renew_many

    def counted(leases: list[Lease], seconds: float) -> list[Lease]:
        renewed.append(len(leases))
        return renew_many(leases, seconds)

    bench.queue.renew_many = counted  # type: ignore[assignment, method-assign]
    bench.runner.during = lambda _: None
    for slot in bench.opened:
        slot.begin()
    bench.clock.advance(USUAL_TERMS.renew_seconds)
    bench.worker.keep_leases()
    bench.worker.keep_leases()

    assert renewed == [3]


def test_a_lease_that_is_lost_stops_its_bot_and_no_other(bench: Bench):
    first, second = bench.enqueue(2)
    bench.worker.claim()
    bench.clock.advance(SLOW_SECONDS)
    bench.worker.claim()
    for slot in bench.opened:
        slot.begin()
    bench.sql("UPDATE bot_jobs SET lease_token = 'another', reserved_by = 'other' WHERE id = :id", id=first)

    bench.clock.advance(USUAL_TERMS.renew_seconds)
    bench.worker.keep_leases()

    lists = {jobs.running.id: jobs for jobs in bench.worker.slots.lists if jobs.running is not None}
    with pytest.raises(LeaseLost):
        lists[first].check_lease()
    lists[second].check_lease()


def test_a_failure_in_one_slot_is_stored_at_once(bench: Bench):
    begin_slow(bench, 2)
    bench.runner.result = FAILED

    bench.opened[0].step()
    bench.worker.collect()

    assert bench.queue.counts() == Counts(pending=1, processing=1)


def test_jobs_that_one_slot_does_not_begin_in_time_are_given_back(bench: Bench):
    bench.enqueue(6)
    bench.runner.result = RunResult(End.EXITED, 0.03, exit_code=0)
    bench.work_one()
    assert bench.worker.claim() == 5
    bench.opened[0].begin()

    bench.clock.advance(LONGEST_LIST_SECONDS)
    bench.worker.keep_leases()

    assert bench.queue.counts() == Counts(pending=4, processing=1, done=1)
    assert bench.worker.at_hand == 1


# Urgent jobs


def enqueue_urgent(bench: Bench) -> int:
    return bench.queue.enqueue(Update('{"urgent":1}', lane="payment:7", urgent_seconds=150.0)).job_id


def test_an_urgent_job_gets_a_slot_above_the_limit_and_an_ordinary_one_does_not(bench: Bench):
    """F11: it does not wait for a slot."""
    bench.make_worker(limit=slot_limit(2))
    begin_slow(bench, 2)
    bench.enqueue()
    assert bench.worker.claim_urgent() == 0

    enqueue_urgent(bench)

    assert bench.worker.claim_urgent() == 1
    assert (len(bench.opened), busy(bench)) == (3, 3)
    assert bench.worker.claim() == 0


@pytest.mark.parametrize("kind", ["pre_checkout_query", "shipping_query", "callback_query", "inline_query"])
def test_f11_whatever_somebody_waits_for_begins_within_a_second(bench: Bench, kind: str):
    """F11: the case, and three more types of updates, as Telegram sends them; a message waits for a slot."""
    bench.make_worker(limit=slot_limit(1))
    begin_slow(bench)
    for number, name in ((1, "message"), (2, kind)):
        content = {"id": "1", "from": {"id": 7}, "chat": {"id": 7}}
        bench.queue.enqueue(read_update(json.dumps({"update_id": number, name: content}).encode()))

    assert [bench.worker.claim_urgent(), bench.worker.claim_urgent()] == [1, 0]

    bench.opened[1].step()
    assert kind in bench.runner.payloads[-1]


def test_there_is_one_such_slot_and_it_is_used_again(bench: Bench):
    bench.make_worker(limit=slot_limit(1))
    begin_slow(bench)
    enqueue_urgent(bench)
    bench.queue.enqueue(Update('{"urgent":2}', lane="payment:8", urgent_seconds=150.0))
    assert [bench.worker.claim_urgent(), bench.worker.claim_urgent()] == [1, 0]

    bench.opened[1].step()
    bench.worker.collect()

    assert bench.worker.claim() == 0
    assert bench.worker.claim_urgent() == 1
    assert len(bench.opened) == 2


def test_the_loop_claims_an_urgent_job_while_its_only_slot_is_busy(bench: Bench):
    """F11: given a bot that runs until the urgent job has been run: within a second, it must not wait for the other."""
    bench.make_worker(limit=slot_limit(1))
    bench.enqueue()
    began = bench.clock.now

    def run_bot() -> bool:
        if len(bench.opened) == 1:
            enqueue_urgent(bench)
            bench.stop.run_bot = urgent_only
        return False

    def urgent_only() -> bool:
        if len(bench.opened) == 2 and bench.opened[1].step():
            bench.stop.run_bot = bench.run_bot
            return True
        return False

    bench.stop.run_bot = run_bot
    bench.loop(drain=True)

    assert bench.runner.payloads == ['{"urgent":1}', '{"n":1}']
    assert bench.clock.now - began < 1


# A host that refuses


def test_a_slot_whose_bot_cannot_be_started_is_closed_and_the_others_go_on(bench: Bench):
    begin_slow(bench, 2)
    during = bench.runner.during

    def refused(_: object) -> None:
        raise NoProcessLeft("the bot could not be started")

    bench.runner.during = refused
    bench.opened[1].step()
    bench.runner.during = during
    assert [end.is_given_back for end in bench.worker.collect()] == [True]
    assert bench.queue.counts() == Counts(pending=1, processing=1)

    assert bench.worker.claim() == 0
    bench.clock.advance(REFUSED_SECONDS)
    assert bench.worker.claim() == 1


def test_the_last_slot_whose_bot_cannot_be_started_ends_the_worker(bench: Bench):
    bench.enqueue()
    bench.worker.claim()

    def refused(_: object) -> None:
        raise NoProcessLeft("the bot could not be started")

    bench.runner.during = refused
    bench.opened[0].step()

    with pytest.raises(NoProcessLeft):
        bench.worker.collect()
    assert bench.queue.counts() == Counts(pending=1)


def test_jobs_for_which_no_slot_can_be_opened_are_given_back(bench: Bench):
    begin_slow(bench)
    bench.enqueue(2)
    bench.refuses_slots = True

    bench.worker.claim()

    assert bench.queue.counts() == Counts(pending=2, processing=1)
    assert bench.worker.at_hand == 1
    assert bench.worker.slots.can_open() == 0


def test_an_error_of_ours_in_a_slot_ends_the_worker_after_the_others_were_stored(bench: Bench):
    begin_slow(bench, 2)

    def broken(_: object) -> None:
        raise ZeroDivisionError

    bench.opened[0].step()
    bench.runner.during = broken
    bench.opened[1].step()

    with pytest.raises(ZeroDivisionError):
        bench.worker.collect()
    assert bench.queue.counts() == Counts(processing=1, done=1)


def test_no_check_is_due_while_nothing_runs(bench: Bench):
    assert bench.worker.seconds_to_next_check() == math.inf
