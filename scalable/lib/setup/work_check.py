"""Checks the work: whether the pool runs, when maintenance was last done, and what the verdict is, with its reasons."""

from __future__ import annotations

import os

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, SchemaMissing
from scalable.lib.ingest.fast_cgi.protocol import SOCKET_NAME
from scalable.lib.pool.pool_lock import PoolLock
from scalable.lib.queue.notes import TOTALS, moved_chat
from scalable.lib.queue.views.health import read_vitals
from scalable.lib.queue.views.verdict import NO_WORKER, WAITING, State, Verdict, judge
from scalable.lib.queue.views.vitals import Vitals
from scalable.lib.setup.finding import Finding, error, ok, warning
from scalable.lib.setup.storage import Storage

GATEWAY_SOCKET = os.fsdecode(SOCKET_NAME)
START = "start worker_pool.py, or look at the crontab and its log"


def check_work(storage: Storage, alert_chat_id: str = "") -> list[Finding]:
    """The pool of this machine, and the workers of all machines as the database has them; and the verdict."""
    try:
        findings = _pool(storage)
        vitals = read_vitals(storage.queue())
    except (ConfigurationError, DatabaseUnavailable, SchemaMissing):
        return []  # reported by the checks of the database and the data folder
    verdict = judge(vitals)
    return [*findings, _workers(vitals, verdict), *_verdict(verdict), *_alert_chat(vitals, alert_chat_id)]


def _pool(storage: Storage) -> list[Finding]:
    folder = storage.data_folder
    holder = PoolLock(folder.pool_lock).holder()
    if holder is None:
        return [ok("pool", "none runs now on this data folder; with cron alone that is so between two runs")]
    if not holder.is_here:
        return [ok("pool", f"runs as process {holder.pid} on {holder.host}")]
    answers = "answers CGI requests, too" if (folder.path / GATEWAY_SOCKET).is_socket() else "leaves CGI requests alone"
    return [ok("pool", f"runs as process {holder.pid}, and {answers}")]


def _workers(vitals: Vitals, verdict: Verdict) -> Finding:
    last = vitals.notes.get(TOTALS)
    running = sum(bool(worker.job_ids) for worker in vitals.workers)
    if vitals.workers:
        return ok("workers", f"{len(vitals.workers)} alive, {running} of them running the bot")
    if last is None:
        return ok("workers", "none is running now, and none has ever run here")
    seen = f"none is running now; one did its housekeeping {last.age_seconds:.0f} s ago"
    if any(reason.code == NO_WORKER for reason in verdict.reasons):
        return warning("workers", seen, START)
    return ok("workers", seen)


def _verdict(verdict: Verdict) -> list[Finding]:
    """The word, and its reasons but for the one that `workers` tells."""
    findings = [_told("verdict", verdict.state.word, verdict.state)]
    for reason in verdict.reasons:
        if reason.code == WAITING:
            findings.append(error("workers", reason.text, START))
        elif reason.code != NO_WORKER:
            findings.append(_told("verdict", reason.text, reason.severity))
    return [*findings, *(ok("verdict", remark.text) for remark in verdict.remarks)]


def _told(subject: str, seen: str, state: State) -> Finding:
    """No error: the installation is in place also while its owner has taken the webhook away to move it."""
    return (warning if state.is_worse_than(State.SETTING_UP) else ok)(subject, seen)


def _alert_chat(vitals: Vitals, chat_id: str) -> list[Finding]:
    moved = moved_chat(vitals.notes, chat_id) if chat_id else None
    if moved is None:
        return []
    seen = f"the group of BOT_ALERT_CHAT_ID={chat_id} became a supergroup; alerts go to its new id"
    return [warning("alerts", seen, f"set BOT_ALERT_CHAT_ID={moved}")]
