"""Log lines of one form: a past-tense event, then key=value. Only entry scripts call `configure_logging`.

`logging` is imported only there, because a CGI process that writes one line itself needs no more than `event`.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LINE, TIME = "%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"


def configure_logging(level: str, stream: TextIO | None = None, before_line: Callable[[], None] = lambda: None) -> None:
    """Send every log line of this process to `stream` (default: standard error), in UTC, each after `before_line`.

    `level` is one of LEVELS. Safe to repeat: the last call wins. Standard error is right everywhere: a shell shows
    it, cron mails it, Apache and Passenger write it to the site's error log.
    """
    import logging

    from scalable.lib.log_lines import LineHandler

    handler = LineHandler(stream or sys.stderr, before_line)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    # It writes a line for each request that waits, which is usual when many arrive at once.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    # They are in no line, and a busy worker writes thousands of lines a second.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def quieter(level: str) -> str:
    """The level for a process that cron starts: WARNING instead of INFO, because cron mails every line."""
    return "WARNING" if level == "INFO" else level


def event(name: str, **fields: object) -> str:
    """One log line: `event("job failed", id=17, cause="exit code 1")` → `job failed id=17 cause="exit code 1"`.

    Fields that are None are left out. A value with spaces, quotes or control characters is quoted, so that nothing a
    bot prints can forge a second log line.
    """
    return " ".join([name, *(f"{key}={_text(value)}" for key, value in fields.items() if value is not None)])


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    if text and all(character.isprintable() and character not in ' "=' for character in text):
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in quoted) + '"'


class OncePer:
    """True at most once in `seconds`: for a condition that lasts, and would otherwise fill the log."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next = 0.0

    def __call__(self) -> bool:
        if self._clock() < self._next:
            return False
        self._next = self._clock() + self._seconds
        return True

    @property
    def seconds_left(self) -> float:
        """Until it is true again."""
        return max(0.0, self._next - self._clock())
