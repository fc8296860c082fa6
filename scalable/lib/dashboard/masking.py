"""What is shown to those who may not see people: by allow-list, so that what is added later is hidden until it is
listed here. The kind and the form of an update stay readable.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Optional, TypeVar

from scalable.lib.causes import HIDDEN
from scalable.lib.dashboard.readable import kind_of_error
from scalable.lib.queue.history import HistoryEntry
from scalable.lib.queue.job import STATUSES, JobSummary
from scalable.lib.queue.views.browse import JobDetail
from scalable.lib.queue.worker_registry import RegisteredWorker
from scalable.lib.telegram.field_names import FIELD_NAMES
from scalable.lib.telegram.lanes import KNOWN_TYPES

_Shown = TypeVar("_Shown", JobSummary, HistoryEntry, JobDetail, RegisteredWorker)

# Texts of an update that say what kind of thing it is: the field, and the values that Telegram gives it.
_PLAIN_TEXTS = {
    "type": "private|group|supergroup|channel|sender|user|hidden_user|chat|mention|hashtag|cashtag|bot_command|url|"
    "email|phone_number|bold|italic|underline|strikethrough|spoiler|blockquote|expandable_blockquote|code|pre|"
    "text_link|text_mention|custom_emoji|emoji|paid|regular|quiz|photo|video|mask|preview|fill|solid|gradient",
    "status": "creator|administrator|member|restricted|left|kicked",
    "source": "premium|gift_code|giveaway",
    "language_code": "[a-z]{2,3}(?:-[A-Za-z]{2,4})?",
    "currency": "[A-Z]{3}",
}
_PLAIN = {name: re.compile(values, re.ASCII) for name, values in _PLAIN_TEXTS.items()}
# Numbers that are about no person: of messages, times and sizes.
_NUMBERS = frozenset(
    {"update_id", "message_id", "message_thread_id", "date", "edit_date"}
    | {"offset", "length", "width", "height", "duration", "file_size"}
)
# So long is an id of which the last two digits are shown: of a short one they would be all of it.
_TAIL_OF_DIGITS = 4
_LANE = re.compile(rf"([a-z_]{{1,24}}):.*?(?:(-?)([0-9]{{{_TAIL_OF_DIGITS},}}))?", re.ASCII | re.DOTALL)
_MASKED_LANE = re.compile(rf"[a-z_]{{1,24}}:-?{HIDDEN}[0-9]{{0,2}}")

# Of a job, an attempt, a job's page and a worker. What is neither here nor masked below is not given at all.
_OF_A_JOB = frozenset(
    {"id", "update_id", "attempts", "available_at", "reserved_at", "reserved_by", "processed_at", "created_at"}
    | {"warned"}
)
_OF_AN_ATTEMPT = frozenset({"attempt", "outcome", "worker", "started_at", "ended_at"})
_OF_A_PAGE = frozenset({"expires_at", "cut"})
_OF_A_WORKER = frozenset(
    {"name", "host", "pid", "started_at", "heartbeat_at", "runs", "succeeded", "retried", "failed", "memory_kb"}
    | {"job_ids"}
)


def mask_update(value: Any, name: str = "") -> Any:
    """The update with every text, name and number replaced that is not known to be harmless; its form is kept."""
    if isinstance(value, dict):
        return {key if key in FIELD_NAMES else HIDDEN: mask_update(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [mask_update(inner, name) for inner in value]
    if isinstance(value, str):
        return value if not value or (name in _PLAIN and _PLAIN[name].fullmatch(value)) else HIDDEN
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _mask_number(name, value)
    return value


def _mask_number(name: str, number: float) -> Any:
    """Of a long id its last two digits: enough to tell a few people apart, not to find one."""
    if isinstance(number, int) and name in _NUMBERS:
        return number
    is_id = isinstance(number, int) and (name in ("id", "ids") or name.endswith(("_id", "_ids")))
    sign, digits = "-" if number < 0 else "", str(number).lstrip("-")
    return f"{sign}{HIDDEN}{digits[-2:]}" if is_id and len(digits) >= _TAIL_OF_DIGITS else f"{sign}{HIDDEN}"


def mask_lane(lane: Optional[str]) -> Optional[str]:
    """The kind of the lane, and the last two digits of a long id."""
    if lane is None or _MASKED_LANE.fullmatch(lane):
        return lane
    found = _LANE.fullmatch(lane)
    if found is None:
        return HIDDEN
    kind, sign, digits = found.group(1), found.group(2) or "", found.group(3) or ""
    return f"{kind}:{sign}{HIDDEN}{digits[-2:]}"


def mask_job(job: JobSummary) -> JobSummary:
    """The job without the id in its lane, and without what the bot said."""
    return _listed(
        job,
        _OF_A_JOB,
        status=job.status if job.status in STATUSES else HIDDEN,
        update_type=job.update_type if job.update_type in KNOWN_TYPES else None,
        lane=mask_lane(job.lane),
        error_message=kind_of_error(job.error_message),
    )


def mask_detail(detail: JobDetail) -> JobDetail:
    """Everything about a job that is about no person; its update is masked apart, see `mask_update`."""
    return _listed(
        detail,
        _OF_A_PAGE,
        summary=mask_job(detail.summary),
        payload="",
        history=tuple(_mask_entry(entry) for entry in detail.history),
        lane_jobs=tuple(mask_job(job) for job in detail.lane_jobs),
        blocked_by=None if detail.blocked_by is None else mask_job(detail.blocked_by),
    )


def mask_worker(worker: RegisteredWorker) -> RegisteredWorker:
    """The worker, its host and its figures."""
    return _listed(worker, _OF_A_WORKER)


def _mask_entry(entry: HistoryEntry) -> HistoryEntry:
    return _listed(entry, _OF_AN_ATTEMPT, output=kind_of_error(entry.output) if entry.output else "")


def _listed(value: _Shown, plain: frozenset[str], **masked: Any) -> _Shown:
    """`value` with its `plain` fields as they are and the `masked` ones replaced; all other fields are emptied."""
    others = {
        field.name: _nothing(getattr(value, field.name))
        for field in fields(value)
        if field.name not in plain and field.name not in masked
    }
    return replace(value, **masked, **others)


def _nothing(value: Any) -> Any:
    """What a template takes for "there is none"."""
    if isinstance(value, (str, bytes, tuple, list, dict)):
        return type(value)()
    return None if not isinstance(value, (bool, datetime)) else value
