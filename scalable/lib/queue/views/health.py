"""Reads the facts of the queue's health, and asks for the verdict on them: for page, monitors, shell and alerts.

Does not use HTTP, and decides nothing: see verdict.py. Every question is answered by an index, or by a small table.
"""

from __future__ import annotations

from typing import Optional

from scalable.lib.errors import DatabaseUnavailable, JobNotFound, SchemaMissing, StatementRefused
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import JobSummary
from scalable.lib.queue.notes import Note
from scalable.lib.queue.views.browse import Waiting
from scalable.lib.queue.views.minutes import ALL_IN_ONE
from scalable.lib.queue.views.verdict import Verdict, is_stuck, judge, without_database, without_tables
from scalable.lib.queue.views.vitals import Thresholds, Vitals

HOUR, RECENT_SECONDS = 3600.0, 1800.0


def check_health(queue: DatabaseQueue, thresholds: Optional[Thresholds] = None) -> Verdict:
    """The verdict just now. Never raises because the database is away."""
    try:
        return judge(read_vitals(queue, thresholds), thresholds)
    except StatementRefused:
        return without_database("the database refuses a statement: the log says which")
    except DatabaseUnavailable:
        return without_database()
    except SchemaMissing:
        return without_tables()


def read_vitals(queue: DatabaseQueue, thresholds: Optional[Thresholds] = None) -> Vitals:
    """The facts of the queue's health. Raises DatabaseUnavailable or SchemaMissing."""
    problem = queue.database.run(queue.database.writing_problem)
    if problem:
        return Vitals(Waiting(), (), _notes(queue), None, writing_problem=problem)
    hours = queue.minutes.slots(HOUR, ALL_IN_ONE)
    waiting = queue.jobs.waiting()
    return Vitals(
        waiting,
        tuple(queue.workers.alive()),
        queue.notes.read(),
        hours[0] if hours else None,
        tuple(queue.minutes.read(RECENT_SECONDS)),
        queue.jobs.retrying(),
        queue.jobs.newest_age_seconds(),
        _blocker(queue, waiting) if is_stuck(waiting, thresholds or Thresholds()) else None,
    )


def _notes(queue: DatabaseQueue) -> dict[str, Note]:
    """None where no table could be filled yet."""
    try:
        return queue.notes.read()
    except SchemaMissing:
        return {}


def _blocker(queue: DatabaseQueue, waiting: Waiting) -> Optional[JobSummary]:
    """What keeps the job that is blocked longest; None when it has ended meanwhile."""
    try:
        return None if waiting.blocked_job_id is None else queue.jobs.blocker(queue.find(waiting.blocked_job_id))
    except JobNotFound:
        return None
