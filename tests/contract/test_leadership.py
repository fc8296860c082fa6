"""One leader at a time, on every database, and another one soon after it died."""

from __future__ import annotations

import threading

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.leadership import Leadership

SECONDS = 150.0


def candidate(queue: DatabaseQueue, name: str) -> Leadership:
    return Leadership(queue.table, name, SECONDS)


def time_passes(queue: DatabaseQueue, seconds: float) -> None:
    statement = "UPDATE {jobs}_meta SET held_until = {ago:seconds} WHERE name = 'leader'"
    left = SECONDS - seconds
    rendered = queue.table.sql(statement if left < 0 else statement.replace("{ago:", "{in:"))
    queue.database.run(lambda session: session.execute(rendered, seconds=abs(left)))


def test_the_first_who_asks_leads_and_keeps_the_lead(queue: DatabaseQueue) -> None:
    first, second = candidate(queue, "host-a:1"), candidate(queue, "host-b:1")

    assert [first.take(), second.take(), first.take(), second.take()] == [True, False, True, False]


def test_a_leader_that_is_not_heard_of_any_more_is_followed_by_another(queue: DatabaseQueue) -> None:
    dead, next_one = candidate(queue, "host-a:1"), candidate(queue, "host-b:1")
    dead.take()

    time_passes(queue, SECONDS - 5)
    before = next_one.take()
    time_passes(queue, SECONDS + 1)

    assert (before, next_one.take()) == (False, True)
    assert dead.take() is False


def test_one_that_resigns_is_followed_at_once(queue: DatabaseQueue) -> None:
    first, second = candidate(queue, "host-a:1"), candidate(queue, "host-b:1")
    first.take()
    second.resign()
    assert second.take() is False

    first.resign()

    assert second.take() is True


def test_of_many_that_ask_for_the_first_time_at_one_moment_one_leads(queue: DatabaseQueue) -> None:
    barrier = threading.Barrier(12)
    answers: list[bool] = []

    def ask(number: int) -> None:
        wish = candidate(queue, f"host:{number}")
        barrier.wait(60)
        answers.append(wish.take())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(answers) == [False] * 11 + [True]


def test_two_queues_of_one_database_have_leaders_of_their_own(queue: DatabaseQueue) -> None:
    other = DatabaseQueue(queue.database, "other_jobs", queue.retry_policy)
    other.ensure_schema()

    assert candidate(queue, "host-a:1").take()
    assert Leadership(other.table, "host-b:1", SECONDS).take()
