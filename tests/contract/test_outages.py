"""The breaker that all workers of a queue share: one opens it, one at a time probes, all claims wait; everywhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress
from scalable.lib.queue.history import read_history
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.queue.origins import origin_of
from scalable.lib.queue.outages import Evidence, Failure, Outage, Outages
from scalable.lib.queue.views.health import check_health
from scalable.lib.queue.views.verdict_seen import for_strangers
from scalable.lib.telegram.update import Update
from tests.contract.conftest import POLICY
from tests.contract.test_health import be_alive
from tests.support.servers.databases import let_pass

LEASE_SECONDS, TURN_SECONDS = 45, 60.0
Result = TypeVar("Result")


@pytest.fixture
def outages(queue: DatabaseQueue) -> Outages:
    return Outages(queue.table)


def opened(outages: Outages, seconds: float = 0.0) -> Outage:
    assert outages.open("HTTP status 500", seconds)
    outage = outages.read().outage
    assert outage is not None
    return outage


def failure(job: ClaimedJob) -> Failure:
    return Failure(job.id, job.attempt, "lane", "cause", 0.0)


def at_once(address: DatabaseAddress, count: int, work: Callable[[Outages, int], Result]) -> list[Result]:
    """What `work` came to in so many threads, each with a connection of its own, all at one moment."""
    barrier, results = threading.Barrier(count), list[Result]()

    def run(number: int) -> None:
        queue = DatabaseQueue(open_database(address), "bot_jobs", POLICY)
        try:
            mine = Outages(queue.table)
            mine.read()
            barrier.wait(60)
            results.append(work(mine, number))
        finally:
            queue.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == count
    return results


def test_while_it_is_open_nothing_is_claimed_urgent_ones_neither(queue: DatabaseQueue, outages: Outages) -> None:
    queue.enqueue(Update("{}", 1, "message", "chat:1"))
    queue.enqueue(Update("{}", 2, "pre_checkout_query", "user:2", 10.0, 10.0))
    opened(outages)

    claimed = [queue.claim("w", LEASE_SECONDS, 5), queue.claim("w", LEASE_SECONDS, 1, urgent_only=True)]
    lanes = queue.claim_lanes("w", LEASE_SECONDS, 5, 20)
    closed = outages.close()

    assert (claimed, lanes, closed) == ([[], []], [], True)
    assert [job.update_id for job in queue.claim("w", LEASE_SECONDS, 5)] == [2, 1]


def test_a_probe_is_the_most_pressing_job_that_was_not_probed(queue: DatabaseQueue, outages: Outages) -> None:
    first = queue.enqueue(Update("{}", 1, "message", "chat:1")).job_id
    queue.enqueue(Update("{}", 2, "message", "chat:1"))
    third = queue.enqueue(Update("{}", 3, "message", "chat:3")).job_id
    urgent = queue.enqueue(Update("{}", 4, "pre_checkout_query", "user:2", 10.0, 10.0)).job_id
    opened(outages)

    probed: list[int] = []
    for _ in range(4):
        for job in outages.claim_probe("w", LEASE_SECONDS, probed):
            probed.append(job.id)
            queue.release(job.lease, "exit code 1")

    assert probed == [urgent, first, third], "the second one of chat 1 has to wait for the first"


def test_a_probe_of_somebody_whose_updates_never_failed_goes_before_all_others(
    queue: DatabaseQueue, outages: Outages
) -> None:
    """Given, before it in the queue, what failed in two chats, more of their sender, and more of these chats."""
    for number in range(2):
        queue.enqueue(message(number, chat=-number, sender=777))
    runs = queue.claim("w", LEASE_SECONDS, 2)
    for job in runs:
        queue.release(job.lease, "exit code 1")
    for number in range(2, 30):
        queue.enqueue(message(number, chat=-number, sender=777))
        queue.enqueue(message(100 + number, chat=-(number % 2), sender=number))
    innocent = queue.enqueue(message(99, chat=5, sender=5)).job_id
    queue.enqueue(message(98, chat=6, sender=6))
    assert outages.open("exit code 1", 0.0, [mark for job in runs for mark in mark_of(job)])
    outage = outages.read().outage
    assert outage is not None

    [claimed] = outages.claim_innocent("w", LEASE_SECONDS, outage)
    queue.release(claimed.lease)
    [again] = outages.claim_innocent("w", LEASE_SECONDS, outage)
    queue.release(again.lease, "exit code 1")
    [other] = outages.claim_innocent("w", LEASE_SECONDS, outage)

    assert (claimed.id, again.id) == (innocent, innocent), "given back not run, it is as it was"
    assert other.update_id == 98
    assert outages.claim_innocent("w", LEASE_SECONDS, outage) == []


def message(number: int, chat: int, sender: int) -> Update:
    payload = {"update_id": number, "message": {"from": {"id": sender}, "chat": {"id": chat}, "text": "x"}}
    return Update(json.dumps(payload), number, "message", f"chat:{chat}")


def mark_of(job: ClaimedJob) -> tuple[str, ...]:
    return origin_of(job.id, job.lane, job.payload).marks


def test_what_an_operator_tries_again_is_nobody_who_never_failed(queue: DatabaseQueue, outages: Outages) -> None:
    job_id = queue.enqueue(message(1, 1, 1)).job_id
    (job,) = queue.claim("w", LEASE_SECONDS)
    queue.fail(job.lease, "exit code 1")
    queue.requeue(job_id)

    assert outages.claim_innocent("w", LEASE_SECONDS, opened(outages)) == []


def test_a_paused_queue_is_not_probed(queue: DatabaseQueue, outages: Outages) -> None:
    queue.enqueue(Update("{}"))
    opened(outages)
    queue.pause("somebody")

    assert outages.claim_probe("w", LEASE_SECONDS, ()) == []


def test_of_machines_that_find_the_same_outage_at_one_moment_one_opens_it(
    address: DatabaseAddress, queue: DatabaseQueue
) -> None:
    answers = at_once(address, 6, lambda mine, number: mine.open(f"cause {number}", 2.0))

    assert sorted(answers) == [False] * 5 + [True]


def test_of_many_workers_one_probes(address: DatabaseAddress, queue: DatabaseQueue, outages: Outages) -> None:
    outage = opened(outages)

    taken = at_once(address, 6, lambda mine, number: mine.take_probe(outage, f"w{number}", TURN_SECONDS))

    [prober] = [found.prober for found in taken if found is not None]
    now = outages.read().outage
    assert now is not None
    assert (now.prober, now.cause) == (prober, "HTTP status 500")


def test_nobody_probes_before_its_time(queue: DatabaseQueue, outages: Outages) -> None:
    outage = opened(outages, 40.0)
    assert outages.take_probe(outage, "w", TURN_SECONDS) is None
    assert 20.0 < outage.seconds_to_probe <= 40.0

    let_pass(queue, 41)

    assert outages.take_probe(outage, "w", TURN_SECONDS) is not None


def test_a_prober_that_dies_is_followed_by_another(queue: DatabaseQueue, outages: Outages) -> None:
    dead = outages.take_probe(opened(outages), "dead", TURN_SECONDS)
    assert dead is not None

    let_pass(queue, TURN_SECONDS - 5)
    before = outages.take_probe(dead, "next", TURN_SECONDS)
    let_pass(queue, 6)
    after = outages.take_probe(dead, "next", TURN_SECONDS)

    assert (before, after and after.prober) == (None, "next")
    assert not outages.end_turn(dead, 0.0), "the turn of another is not its to end"


def test_a_probe_that_failed_is_counted_and_the_next_one_waits(queue: DatabaseQueue, outages: Outages) -> None:
    opening = opened(outages)
    taken = outages.take_probe(opening, "w", TURN_SECONDS)
    assert taken is not None

    assert outages.end_turn(replace(taken, step=1, probed=(17,), cause="exit code 2"), 40.0)

    outage = outages.read().outage
    assert outage is not None
    assert (outage.step, outage.probed, outage.prober, outage.cause) == (1, (17,), "", "exit code 2")
    assert 20.0 < outage.seconds_to_probe <= 40.0
    assert abs((outage.since - opening.since).total_seconds()) < 0.01, "it is down since it was opened"


def test_a_turn_that_a_wrong_clock_put_far_ahead_is_taken(queue: DatabaseQueue, outages: Outages) -> None:
    outage = opened(outages, 7200.0)

    assert outages.take_probe(outage, "w", TURN_SECONDS) is not None
    assert queue.snapshot().due_in_seconds is None


def test_what_is_due_is_not_due_before_the_next_probe(queue: DatabaseQueue, outages: Outages) -> None:
    queue.enqueue(Update("{}"))
    opened(outages, 30.0)
    open_due = queue.snapshot().due_in_seconds
    outages.close()
    closed_due = queue.snapshot().due_in_seconds

    assert open_due is not None
    assert closed_due is not None
    assert 20.0 < open_due <= 30.0
    assert closed_due <= 0


def test_a_failed_run_is_given_back_with_its_attempt_and_its_place(queue: DatabaseQueue) -> None:
    first = queue.enqueue(Update("{}", 1, "message", "chat:1")).job_id
    queue.enqueue(Update("{}", 2, "message", "chat:1"))
    (job,) = queue.claim("w", LEASE_SECONDS, 5)
    due = queue.find(first).available_at

    queue.release(job.lease, "HTTP status 500")
    queue.release(job.lease, "HTTP status 500")

    back = queue.find(first)
    assert (back.status, back.attempts, back.available_at, back.error_message) == ("pending", 0, due, "HTTP status 500")
    assert [job.id for job in queue.claim("w", LEASE_SECONDS, 5)] == [first]
    [entry] = read_history(_history(queue, first))
    assert (entry.outcome, entry.output) == ("outage", "HTTP status 500")


def _history(queue: DatabaseQueue, job_id: int) -> str:
    rows = queue.database.run(
        lambda session: session.rows(f"SELECT history FROM {queue.table.name} WHERE id = :id", id=job_id)
    )
    return str(rows[0][0])


def test_one_that_asked_to_be_tried_later_is_and_holds_up_its_lane(queue: DatabaseQueue) -> None:
    queue.enqueue(Update("{}", 1, "message", "chat:1"))
    queue.enqueue(Update("{}", 2, "message", "chat:1"))
    (job,) = queue.claim("w", LEASE_SECONDS, 5)

    queue.release(job.lease, "HTTP status 503", 60)

    assert queue.claim("w", LEASE_SECONDS, 5) == []
    let_pass(queue, 61)
    assert [job.update_id for job in queue.claim("w", LEASE_SECONDS, 5)] == [1]


def test_attempts_that_failed_before_it_opened_are_given_back_once(queue: DatabaseQueue, outages: Outages) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    runs = []
    for _ in range(2):
        let_pass(queue, 10)
        (job,) = queue.claim("w", LEASE_SECONDS)
        queue.retry(job.lease, "exit code 1", 5)
        runs.append(failure(job))

    assert (queue.find(job_id).attempts, outages.refund(runs)) == (2, 1)
    assert (queue.find(job_id).attempts, outages.refund(runs)) == (0, 0)
    assert queue.find(job_id).attempts == 0


def test_one_that_another_worker_runs_again_meanwhile_gets_them_back_too(
    queue: DatabaseQueue, outages: Outages
) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    (job,) = queue.claim("w", LEASE_SECONDS)
    queue.retry(job.lease, "exit code 1", 0)
    let_pass(queue, 1)
    (again,) = queue.claim("another", LEASE_SECONDS)

    assert outages.refund([failure(job)]) == 1
    queue.release(again.lease, "exit code 1")

    assert queue.find(job_id).attempts == 0


def test_one_that_an_operator_requeued_meanwhile_keeps_its_count(queue: DatabaseQueue, outages: Outages) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    (job,) = queue.claim("w", LEASE_SECONDS)
    queue.fail(job.lease, "exit code 1")
    queue.requeue(job_id)

    assert outages.refund([failure(job)]) == 0
    assert queue.find(job_id).attempts == 0


def test_the_run_that_opens_it_gives_back_its_jobs_earlier_ones(queue: DatabaseQueue, outages: Outages) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    (job,) = queue.claim("w", LEASE_SECONDS)
    queue.retry(job.lease, "exit code 1", 0)
    let_pass(queue, 1)
    (again,) = queue.claim("w", LEASE_SECONDS)

    outages.refund([failure(job)], running=failure(again))
    queue.release(again.lease, "exit code 1")

    assert queue.find(job_id).attempts == 0


def test_a_job_that_failed_for_good_before_stays_failed(queue: DatabaseQueue, outages: Outages) -> None:
    job_id = queue.enqueue(Update("{}")).job_id
    (job,) = queue.claim("w", LEASE_SECONDS)
    queue.fail(job.lease, "exit code 1")

    assert outages.refund([failure(job)]) == 0
    assert queue.find(job_id).status == "failed"


def test_evidence_is_shared_and_of_two_that_store_at_once_one_has_to_read_again(
    address: DatabaseAddress, queue: DatabaseQueue, outages: Outages
) -> None:
    seen = outages.read()
    evidence = Evidence((Failure(1, 1, "lane", "cause", seen.now),), 0, {7: 2})

    answers = at_once(address, 4, lambda mine, number: mine.store(replace(evidence, suspects={number: 1}), seen))

    assert sorted(answers) == [False, False, False, True]
    stored = outages.read()
    assert outages.store(evidence, stored)
    assert outages.read().evidence == replace(
        evidence, failures=(replace(evidence.failures[0], at=round(seen.now, 3)),)
    )


def test_the_largest_evidence_can_be_read_again(queue: DatabaseQueue, outages: Outages) -> None:
    big = 2**62
    failures = tuple(Failure(big + n, 100, "1a2b3c4d", "1a2b3c4d", 1.0) for n in range(90))

    outages.store(Evidence(failures, 70, {big + n: 3 for n in range(90)}), outages.read())

    stored = outages.read().evidence
    assert stored.failures == failures[-30:]
    assert stored.counted == failures[70:]
    assert len(stored.suspects) == 40


def test_a_success_is_noticed_and_an_old_one_is_not(queue: DatabaseQueue, outages: Outages) -> None:
    assert not outages.succeeded_within(60)
    for number in range(3):
        queue.enqueue(Update("{}", number))
    for job in queue.claim("w", LEASE_SECONDS, 3):
        queue.complete(job.lease)

    assert outages.succeeded_within(60)
    let_pass(queue, 120)
    assert not outages.succeeded_within(60)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"since": "x"}', '{"since": 1e99, "cause": 1}', "null"])
def test_rows_that_cannot_be_read_neither_stop_a_worker_nor_hide_that_it_is_open(
    queue: DatabaseQueue, outages: Outages, text: str
) -> None:
    opened(outages)
    outages.store(Evidence((Failure(1, 1, "l", "c", 1.0),)), outages.read())
    for name in ("breaker", "failures"):
        queue.notes.write(name, text)

    shared = outages.read()

    assert shared.outage is not None
    assert shared.evidence == Evidence()
    let_pass(queue, 1)
    assert outages.take_probe(shared.outage, "w", TURN_SECONDS) is not None
    assert [reason.code for reason in check_health(queue).reasons][:1] == ["bot_down"]


def test_the_verdict_says_since_when_and_why_and_strangers_only_since_when(
    queue: DatabaseQueue, outages: Outages
) -> None:
    be_alive(queue)
    queue.enqueue(Update("{}"))
    let_pass(queue, 400)
    since = opened(outages).since

    verdict = check_health(queue)

    assert [reason.code for reason in verdict.reasons] == ["bot_down"], "a job that waits is no worker's fault"
    assert verdict.reasons[0].text == f"the bot's side is down since {since:%H:%M} UTC: HTTP status 500"
    assert for_strangers(verdict).reasons[0].text == f"the bot's side is down since {since:%H:%M} UTC"
    outages.close()
    assert [reason.code for reason in check_health(queue).reasons] == ["waiting"]
