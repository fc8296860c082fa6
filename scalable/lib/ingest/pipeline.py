"""What an update becomes, whichever way it came: a job, and a line in the log."""

from __future__ import annotations

import logging

from scalable.lib.logs import event
from scalable.lib.queue.job import Enqueued, NewJob
from scalable.lib.telegram.update import Update

log = logging.getLogger(__name__)


def new_job(update: Update) -> NewJob:
    """The job that runs the bot on this update."""
    return NewJob(
        update.payload,
        update.update_id,
        update.update_type,
        update.lane,
        update.urgent_seconds,
        update.expires_seconds,
    )


def log_enqueued(enqueued: Enqueued, update: Update, body_bytes: int) -> None:
    """Say that it is in the queue."""
    if log.isEnabledFor(logging.INFO):
        name = "duplicate update ignored" if enqueued.duplicate else "update enqueued"
        log.info(event(name, id=enqueued.job_id, update_id=update.update_id, type=update.update_type, bytes=body_bytes))
