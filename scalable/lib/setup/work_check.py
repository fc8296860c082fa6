"""Checks the workers: whether the pool runs, when maintenance was last done, and whether jobs wait without a worker."""

from __future__ import annotations

import os

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, SchemaMissing
from scalable.lib.ingest.fast_cgi.protocol import SOCKET_NAME
from scalable.lib.pool.pool_lock import PoolLock
from scalable.lib.queue.notes import TOTALS
from scalable.lib.queue.views.health import NO_WORKER, WAITING, Thresholds, Vitals, read_vitals, verdict
from scalable.lib.setup.finding import Finding, error, ok, warning
from scalable.lib.setup.storage import Storage

GATEWAY_SOCKET = os.fsdecode(SOCKET_NAME)
START = "start worker_pool.py, or look at the crontab and its log"


def check_work(storage: Storage) -> list[Finding]:
    """The pool of this machine, and the workers of all machines as the database has them."""
    try:
        findings = _pool(storage)
        vitals = read_vitals(storage.queue())
    except (ConfigurationError, DatabaseUnavailable, SchemaMissing):
        return []  # reported by the checks of the database and the data folder
    return [*findings, _workers(vitals), *_waiting(vitals)]


def _pool(storage: Storage) -> list[Finding]:
    folder = storage.data_folder
    holder = PoolLock(folder.pool_lock).holder()
    if holder is None:
        return [ok("pool", "none runs now on this data folder; with cron alone that is so between two runs")]
    if not holder.is_here:
        return [ok("pool", f"runs as process {holder.pid} on {holder.host}")]
    answers = "answers CGI requests, too" if (folder.path / GATEWAY_SOCKET).is_socket() else "leaves CGI requests alone"
    return [ok("pool", f"runs as process {holder.pid}, and {answers}")]


def _workers(vitals: Vitals) -> Finding:
    last = vitals.notes.get(TOTALS)
    running = sum(bool(worker.job_ids) for worker in vitals.workers)
    if vitals.workers:
        return ok("workers", f"{len(vitals.workers)} alive, {running} of them running the bot")
    if last is None:
        return ok("workers", "none is running now, and none has ever run here")
    seen = f"none is running now; one did its housekeeping {last.age_seconds:.0f} s ago"
    if any(reason.code == NO_WORKER for reason in verdict(vitals, Thresholds())):
        return warning("workers", seen, START)
    return ok("workers", seen)


def _waiting(vitals: Vitals) -> list[Finding]:
    return [error("workers", reason.text, START) for reason in verdict(vitals, Thresholds()) if reason.code == WAITING]
