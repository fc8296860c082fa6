"""The jobs a slot is handed: whose lease is to be renewed, and what is left out when one is lost."""

from __future__ import annotations

import math

import pytest

from scalable.lib.errors import LeaseLost
from scalable.lib.queue.job import ClaimedJob, Lease
from scalable.lib.worker.job_list import JobList


def job(number: int, held_by: int | None = None) -> ClaimedJob:
    return ClaimedJob(number, "{}", 1, number, "message", "chat:1", Lease(number, "token", "worker", held_by))


def jobs_in_a_row() -> JobList:
    return JobList([job(1), job(2, held_by=1), job(3, held_by=1)], 0.0, math.inf, 65.0, lambda: 0.0)


def test_while_a_held_job_runs_the_lease_of_the_one_before_it_is_renewed_until_that_is_reported() -> None:
    jobs = jobs_in_a_row()
    first = jobs.begin_next()
    assert first is not None
    second = jobs.begin_next()
    assert second is not None

    before = jobs.lease_to_renew
    jobs.reported(first, goes_on=True)

    assert before == first.lease
    assert jobs.lease_to_renew == second.lease


def test_when_the_lease_of_a_row_is_lost_the_job_that_runs_is_stopped_and_no_other_one_begun() -> None:
    jobs = jobs_in_a_row()
    first = jobs.begin_next()
    assert first is not None
    jobs.begin_next()

    jobs.lose(first.lease)

    with pytest.raises(LeaseLost):
        jobs.check_lease()
    assert jobs.begin_next() is None


def test_before_anything_runs_there_is_nothing_to_renew() -> None:
    assert jobs_in_a_row().lease_to_renew is None
