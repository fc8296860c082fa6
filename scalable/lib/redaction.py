"""Removes bot tokens from text of other programs (an exception, an address), so that it may be logged and stored."""

from __future__ import annotations

import re

MAX_CHARACTERS = 300
# As @BotFather gives them; libraries put the whole address of a call, token included, into their errors.
_TOKEN = re.compile(r"(?<![0-9])[0-9]{5,}:[A-Za-z0-9_-]{20,}")


def without_token(text: str) -> str:
    """`text` with every bot token in it hidden, and with nothing in it that cannot be stored as UTF-8."""
    return _TOKEN.sub("<token>", text).encode("utf-8", "replace").decode("utf-8")


def one_line(text: str) -> str:
    """`text` as one line of at most MAX_CHARACTERS, tokens hidden."""
    line = " ".join(without_token(text).split())
    return line if len(line) <= MAX_CHARACTERS else line[: MAX_CHARACTERS - 1] + "…"
