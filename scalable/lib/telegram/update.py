"""Reads what Telegram posted: is it an update, which one, of what type, in which lane. Uses neither HTTP nor the queue.

Source of the form: Bot API, object Update — an `update_id` and at most one further field, which names the type.
Plain classes, for the reason given in lanes.py.
"""

from __future__ import annotations

import json

from scalable.lib.errors import NotAnUpdate
from scalable.lib.telegram.lanes import find_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

MAX_TYPE_CHARACTERS = 64
_BIGINT = range(-(2**63), 2**63)


class Update:
    """An update about to be enqueued: `payload` as it arrived, which is stored byte for byte, and what was read in it.

    Jobs of one `lane` run one after the other, in the order they were enqueued; None is no lane. For `urgent_seconds`
    from now the job goes before others; `expires_seconds` from now it is not worth running any more. None: never.
    One that expires is urgent until then, because only urgent jobs are searched for expired ones; ValueError otherwise.
    """

    __slots__ = ("expires_seconds", "lane", "payload", "update_id", "update_type", "urgent_seconds")

    def __init__(
        self,
        payload: str,
        update_id: int | None = None,
        update_type: str | None = None,
        lane: str | None = None,
        urgent_seconds: float | None = None,
        expires_seconds: float | None = None,
    ) -> None:
        if expires_seconds is not None and not 0 <= (urgent_seconds or -1) <= expires_seconds:
            raise ValueError(
                f"urgent_seconds={urgent_seconds}, expires_seconds={expires_seconds}: "
                "expected a job that expires to be urgent at first, and not longer than that"
            )
        self.payload = payload
        self.update_id = update_id
        self.update_type = update_type
        self.lane = lane
        self.urgent_seconds = urgent_seconds
        self.expires_seconds = expires_seconds


def read_update(body: bytes, order: str = "telegram") -> Update:
    """The Update in a request body, its lane in `order` (see lanes.ORDERS) and its deadlines.

    Raises NotAnUpdate with the reason when the body is not one JSON object in UTF-8.
    Unknown types and missing ids are no error: the bot decides about new types of updates.
    """
    if not body.strip():
        raise NotAnUpdate("the request body is empty: expected the JSON of one Telegram update")
    try:
        payload = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotAnUpdate(f"the request body is not UTF-8 (byte {error.start})") from error
    if "\x00" in payload:
        raise NotAnUpdate("the request body is not JSON: it holds a NUL byte")
    value = _parse(payload)
    if not isinstance(value, dict):
        raise NotAnUpdate(f"the request body is not an object but {_kind(value)}: expected one Telegram update")
    update_id = value.get("update_id")
    is_id = isinstance(update_id, int) and not isinstance(update_id, bool) and update_id in _BIGINT
    update_type = next((name for name in value if name != "update_id" and _is_type(name)), None)
    place = find_place(update_type, value.get(update_type or ""), order)
    return Update(payload, update_id if is_id else None, update_type, *place)


def _parse(payload: str) -> Any:
    try:
        return _DECODER.decode(payload)
    except RecursionError as error:
        raise NotAnUpdate("the request body is not JSON anyone sends: it is nested too deeply") from error
    except ValueError as error:
        raise NotAnUpdate(f"the request body is not JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: json.loads makes a new one for each text when it is given options.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _is_type(name: str) -> bool:
    """Whether it is of small letters, digits and `_`, and begins with a letter. Compiling a pattern takes 0.2 ms."""
    is_word = name.isascii() and name.isidentifier() and name.islower() and name[0] != "_"
    return is_word and len(name) <= MAX_TYPE_CHARACTERS


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}.get(type(value), "a number")
