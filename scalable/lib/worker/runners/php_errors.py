"""Recognizes PHP's own words for a script that broke off: a fatal or parse error, or an exception nobody caught.

They tell the truth where exit code and status do not: a shutdown function may have said `exit(0)`, and with
display_errors on the status stays 200. Source of the forms: php_error_cb in PHP's main/main.c.
"""

from __future__ import annotations

import html
import re
from typing import Optional

_KIND = r"(?P<kind>(?:Fatal|Parse|Compile|Core|Recoverable fatal) error)"
# In a log: `PHP Fatal error:  Uncaught Exception: no in /x.php:3`, perhaps behind a time in brackets. PHP-FPM writes
# `PHP message: ` before each message, and several on one line: `PHP message: one; PHP message: two`.
_LOGGED = re.compile(
    rf"(?:^|^\[[^\]\n]*\] |(?:^|; )PHP message: )PHP {_KIND}:  (?P<text>[^\n]+)", re.MULTILINE
)
# On the page, as the last thing the script said, as text or HTML: the place at the end is always there.
_SHOWN = re.compile(
    rf"(?:^|\n|>)(?:<b>)?{_KIND}(?:</b>)?: +(?P<text>[^\n]+)"
    r"(?:\n[^\n]*){0,200}? on line (?:<b>)?[0-9]+(?:</b>)?(?:<br />)?\s*\Z"
)
MAX_CHARACTERS = 300


def fatal_error(logged: str, shown: str) -> Optional[str]:
    """One line on why the PHP script broke off, from what it logged and the end of what it showed; None: it did not."""
    found = _LOGGED.search(logged) or _SHOWN.search(shown)
    if found is None:
        return None
    text = html.unescape(re.sub(r"</?b>|<br />", "", found.group("text")))
    return f"PHP {found.group('kind').lower()}: {text.strip()}"[:MAX_CHARACTERS]
