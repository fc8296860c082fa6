"""Which part of an error kept with a job is ours: it may be shown to those who may not see what people wrote.

An error is whatever was stored: a cause, what the bot printed, a note, or the text of another program. So nothing is
taken from it but the beginnings that are listed here, and none of them holds a word from outside.
"""

from __future__ import annotations

import builtins
import re
import signal
from typing import Optional

HIDDEN = "…"
_EXCEPTIONS = "|".join(
    sorted(
        name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
    )
)
_SIGNALS = "|".join(each.name for each in signal.Signals)
# What the first line begins with, and what is shown for it; None: what was found.
_KINDS: tuple[tuple[str, Optional[str]], ...] = (
    (r"exit code -?[0-9]{1,4}\b", None),
    (r"HTTP status [0-9]{3}\b", None),
    (r"PHP (?:recoverable )?(?:[Ff]atal|[Pp]arse) error", None),
    (r"stopped after [0-9.]{1,8} s\b", None),
    (rf"killed by (?:{_SIGNALS}|signal [0-9]{{1,3}})\b", None),
    (r"reply (?:refused|not sent|perhaps not sent)\b", None),
    (r"answered after [0-9.]{1,8} s\b", None),
    (r"(?:skipped|deleted) by hand\b", None),
    (r"not run: when its turn came|not run$", "not run"),
    (r"worker (?:\S+ )?died\b", "worker died"),
    (r"the bot could not be started|BOT_LEGACY_PATH\b", "the bot could not be started"),
    (r"php-cgi(?: (?:died|ended|closed|could|gave)|:|$)", "php-cgi"),
    (r"the connection was closed\b", None),
    (r"the job holds no update\b", None),
    (rf"(?:{_EXCEPTIONS})(?=:| \(|$)", None),
)
_FOUND = tuple((re.compile(pattern, re.ASCII), shown) for pattern, shown in _KINDS)


def kind_of_cause(error: str) -> str:
    """Such as `exit code 1`; HIDDEN where the error begins with anything that is not certainly ours."""
    line = error.strip().partition("\n")[0]
    for pattern, shown in _FOUND:
        found = pattern.match(line)
        if found:
            return shown or found.group()
    return HIDDEN
