"""Recognizes PHP's own words for a script that broke off: a fatal or parse error, or an uncaught exception.

They are reliable where exit code and status are not: a shutdown function may have said `exit(0)`, and with
display_errors on the status stays 200. Source of the forms: php_error_cb in PHP's main/main.c.
"""

from __future__ import annotations

import html
import re
from typing import Optional

_KIND = r"(?P<kind>(?:Fatal|Parse|Compile|Core|Recoverable fatal) error)"
# In a log: `PHP Fatal error:  Uncaught Exception: no in /x.php:3`, perhaps behind a time in brackets. PHP-FPM writes
# `PHP message: ` before each message, and several on one line: `PHP message: one; PHP message: two`.
_LOGGED = re.compile(rf"(?:^|^\[[^\]\n]*\] |(?:^|; )PHP message: )PHP {_KIND}:  (?P<text>[^\n]+)", re.MULTILINE)
# On the page, as the last thing the script said, as text or HTML: the place at the end is always there; from PHP 8.5 on
# a stack trace follows.
_PLACE = r" on line (?:<b>)?[0-9]+(?:</b>)?"
_SHOWN = re.compile(
    rf"(?:^|\n|>)(?:<b>)?{_KIND}(?:</b>)?: +(?P<text>[^\n]+)"
    rf"(?:\n[^\n]*){{0,200}}?(?:{_PLACE}|\n#[0-9]+ \{{main\}})(?:<br />)?\s*\Z"
)
# The end of an uncaught exception, whose stack trace is longer than what was kept of the output.
_THROWN = rf"^#[0-9]+ \{{main\}}\n  (?P<text>thrown in [^\n]+?{_PLACE})(?:<br />)?"
_LOGGED_END = re.compile(_THROWN + r"[^\S\n]*$", re.MULTILINE)
_SHOWN_END = re.compile(_THROWN + r"\s*\Z", re.MULTILINE)
MAX_CHARACTERS = 300


def fatal_error(logged: str, shown: str) -> Optional[str]:
    """One line on why the PHP script broke off, from what it logged and the end of what it showed; None: it did not."""
    found = _LOGGED.search(logged) or _SHOWN.search(shown)
    if found is not None:
        return f"PHP {found.group('kind').lower()}: {_as_text(found)}"[:MAX_CHARACTERS]
    found = _LOGGED_END.search(logged) or _SHOWN_END.search(shown)
    return None if found is None else f"PHP fatal error: uncaught, {_as_text(found)}"[:MAX_CHARACTERS]


def _as_text(found: re.Match[str]) -> str:
    return html.unescape(re.sub(r"</?b>|<br />", "", found.group("text"))).strip()
