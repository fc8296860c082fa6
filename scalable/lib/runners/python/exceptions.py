"""Describes an exception of a bot: one line that names the place in the bot, and the end of the traceback."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Optional

from scalable.lib.captured_output import TAIL_BYTES
from scalable.lib.redaction import one_line, without_token

# Innermost ones; a recursion that went too deep has a thousand.
MAX_FRAMES = 20
_RUNNERS = os.path.dirname(os.path.abspath(__file__))
_OTHER_PEOPLES = {"site-packages", "dist-packages", "vendor"}


def cause_of(error: BaseException, folder: Path) -> str:
    """Such as `ValueError: no such chat (bot.py:17 in handle)`, the innermost place in the bot's own folder."""
    place = _place(error, folder)
    said = f"{type(error).__name__}: {_text(error)}" if _text(error) else type(error).__name__
    return f"{one_line(said)} ({place})" if place else one_line(said)


def traceback_of(error: BaseException) -> str:
    """The end of the traceback, at most TAIL_BYTES, without what the worker itself has in it."""
    trace = error.__traceback__
    while trace is not None and os.path.dirname(trace.tb_frame.f_code.co_filename) == _RUNNERS:
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace, limit=-MAX_FRAMES)
    return without_token("".join(lines)).encode("utf-8")[-TAIL_BYTES:].decode("utf-8", "ignore").strip()


def _place(error: BaseException, folder: Path) -> str:
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{_relative(error.filename, folder)}:{error.lineno}"
    own = [
        (frame.f_code, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _is_own(frame.f_code.co_filename, folder)
    ]
    if not own:
        return ""
    code, line = own[-1]
    where = "" if code.co_name == "<module>" else f" in {code.co_name}"
    return f"{_relative(code.co_filename, folder)}:{line}{where}"


def _is_own(filename: str, folder: Path) -> bool:
    """Whether the file is the bot's: in its folder, and in none of the folders in it that hold other people's code."""
    inside = _inside(filename, folder)
    return inside is not None and not set(Path(inside).parts) & _OTHER_PEOPLES and not filename.startswith(_RUNNERS)


def _relative(filename: str, folder: Path) -> str:
    return _inside(filename, folder) or filename


def _inside(filename: str, folder: Path) -> Optional[str]:
    prefix = str(folder) + os.sep
    return filename[len(prefix) :] if filename.startswith(prefix) else None


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001  # its own __str__ is the bot's code, too
        return f"<its text cannot be had: {type(broken).__name__}>"
