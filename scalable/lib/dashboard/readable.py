"""Text from outside, made safe to show: characters that would move, hide or turn what is beside them are named.

Does not escape HTML; the templates do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Optional

from scalable.lib.causes import kind_of_cause

# Control characters but tab and line break, marks and overrides of writing direction, invisible and lone halves.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_TRACE = re.compile(r"#\d+ |Stack trace:|thrown in ")
_JOINER = "\u200d"  # a part of many emoji and scripts


def visible(text: str) -> str:
    """The text, with everything that cannot be seen written as its code: `\\u202e`."""
    return _UNSEEN.sub(lambda found: _named(found.group()), text)


def _named(character: str) -> str:
    number = ord(character)
    if character == _JOINER:
        return character
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def error_in_a_line(error: Optional[str], max_characters: int) -> str:
    """The cause, and the last line the bot printed, where programs write the reason: `exit code 1 – no such chat`.

    The steps of a PHP stack trace come after the reason, and are left out.
    """
    stripped = [line.strip() for line in (error or "").splitlines()]
    lines = [line for line in stripped if line and not _TRACE.match(line)]
    return visible(" – ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))[:max_characters])


def kind_of_error(error: Optional[str]) -> Optional[str]:
    """The cause, without anything from outside: `exit code 1`, `PHP fatal error`; `…` for what is not known."""
    return None if error is None else kind_of_cause(error)


def indented_json(text: str, change: Callable[[Any], Any] = lambda value: value) -> Optional[str]:
    """The JSON in `text`, changed and indented for reading; None when it is not JSON, or too deep."""
    try:
        return json.dumps(change(json.loads(text)), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return None
