"""Masks personal data (names, texts and ids) in what is shown; the kind and the form of an update stay readable.

Every field that is not in the lists of harmless ones is masked, so fields that Telegram adds later are masked too.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Optional

from scalable.lib.dashboard.readable import kind_of_error
from scalable.lib.queue.job import JobSummary

# Texts that say what kind of thing it is, not who or what it is about.
_PLAIN_TEXTS = frozenset({"type", "language_code", "currency", "mime_type", "parse_mode", "status", "emoji", "source"})
# Numbers that are no person's id. Every other number called `id`, or `…_id`, is masked.
_PLAIN_IDS = frozenset({"update_id", "message_id", "message_thread_id", "reply_to_message_id"})
_NUMBERS = frozenset({"latitude", "longitude", "horizontal_accuracy", "heading", "phone_number"})
_LANE = re.compile(r"(-?)([0-9]+)$", re.ASCII)


def mask_update(value: Any, name: str = "") -> Any:
    """The update with every text, name and id of a person replaced; its form is kept."""
    if isinstance(value, dict):
        return {key: mask_update(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [mask_update(inner, name) for inner in value]
    if isinstance(value, str):
        return value if name in _PLAIN_TEXTS or not value else "…"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        is_id = (name == "id" or name.endswith("_id")) and name not in _PLAIN_IDS
        return _mask_number(value) if is_id or name in _NUMBERS else value
    return value


def _mask_number(number: float) -> str:
    """Its last two digits: enough to tell a few people apart, not to find one."""
    return f"{'-' if number < 0 else ''}…{str(number)[-2:]}"


def mask_lane(lane: Optional[str]) -> Optional[str]:
    """The kind of the lane, and the last two digits of its id."""
    if lane is None:
        return None
    kind = lane.partition(":")[0]
    found = _LANE.search(lane)
    return f"{kind}:{found.group(1)}…{found.group(2)[-2:]}" if found else f"{kind}:…"


def mask_job(job: JobSummary) -> JobSummary:
    """The job without the id in its lane, and without what the bot said."""
    return replace(job, lane=mask_lane(job.lane), error_message=kind_of_error(job.error_message))
