"""What the bot wrote in a run that succeeded is kept with the job and found by it, on every database."""

from __future__ import annotations

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.queue.rows import MAX_ERROR_CHARACTERS
from scalable.lib.queue.views.search import Search, read_filter
from scalable.lib.telegram.update import Update

LEASE_SECONDS = 60.0


def claim(queue: DatabaseQueue, *update_ids: int) -> list[ClaimedJob]:
    for number in update_ids:
        queue.enqueue(Update(f'{{"update_id": {number}}}', number, "message"))
    return queue.claim("worker a", LEASE_SECONDS, len(update_ids))


def test_of_several_that_are_done_those_with_a_warning_are_found(queue: DatabaseQueue) -> None:
    jobs = claim(queue, 1, 2, 3, 4)
    queue.complete_many([job.lease for job in jobs])
    queue.keep_warnings([(jobs[1].lease, "refused \N{PILE OF POO}"), (jobs[3].lease, "refused")])

    warned = Search(queue.table).find(read_filter("warned"), 10).jobs
    assert [(job.update_id, job.status, job.error_message) for job in warned] == [
        (4, "done", "refused"),
        (2, "done", "refused \N{PILE OF POO}"),
    ]
    assert all(job.warned for job in warned)
    assert {job.update_id for job in Search(queue.table).find(read_filter("done"), 10).jobs} == {1, 2, 3, 4}
    assert not queue.find(jobs[0].id).warned


def test_they_are_found_by_number_lane_and_text_as_well(queue: DatabaseQueue) -> None:
    (job, other) = claim(queue, 1, 2)
    queue.complete_many([job.lease, other.lease])
    queue.keep_warnings([(job.lease, "refused by db")])
    search = Search(queue.table)

    assert [found.id for found in search.find(read_filter("warned", text="by db"), 10).jobs] == [job.id]
    assert [found.id for found in search.find(read_filter("warned", text=str(job.id)), 10).exact] == [job.id]
    assert search.find(read_filter("warned", text=str(other.id)), 10).exact == ()


def test_it_is_safe_to_repeat_and_a_long_one_keeps_its_end(queue: DatabaseQueue) -> None:
    (job,) = claim(queue, 1)
    queue.complete(job.lease, "a note")
    for _ in range(2):
        queue.keep_warnings([(job.lease, "x" * 2 * MAX_ERROR_CHARACTERS + "the end")])

    stored = queue.find(job.id)
    assert stored.warned
    assert (stored.error_message or "").endswith("the end")
    assert len(stored.error_message or "") == MAX_ERROR_CHARACTERS


def test_a_run_that_is_not_done_or_of_another_lease_is_left_alone(queue: DatabaseQueue) -> None:
    jobs = claim(queue, 1, 2)
    queue.fail(jobs[0].lease, "exit code 1")
    queue.keep_warnings([(jobs[0].lease, "refused"), (jobs[1].lease, "refused")])

    assert [queue.find(job.id).warned for job in jobs] == [False, False]
    assert queue.find(jobs[0].id).error_message == "exit code 1"
