"""How lines of the log are written: plain, an exception's text set off from the lines of ours, floods summed up."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TextIO

from scalable.lib.log_floods import LogFloods
from scalable.lib.logs import LINE, TIME
from scalable.lib.plain_text import plain_line

# Before each line of a traceback: the text of an exception may hold what somebody sent, even a line like ours.
INDENT = "  "


class LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Drops a line that cannot be written: the default would write a traceback of it to a disk that is full."""

    def __init__(self, stream: TextIO, before_line: Callable[[], None]) -> None:
        super().__init__(stream)
        self._before_line = before_line
        self._floods = LogFloods()
        formatter = PlainFormatter(LINE, TIME)
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        self._write_sums(self._floods.sums())
        if self._floods.is_written(record.name, str(record.msg)):
            self._before_line()
            super().emit(record)

    def close(self) -> None:
        """At the end of the process, too (logging.shutdown)."""
        with self.lock or nullcontext():
            if not self.stream.closed:
                self._write_sums(self._floods.sums(at_the_end=True))
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:
        """See LineHandler."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def _write_sums(self, lines: list[str]) -> None:
        for line in lines:
            self._before_line()
            super().emit(logging.LogRecord(__name__, logging.WARNING, __file__, 0, line, None, None))


class PlainFormatter(logging.Formatter):
    """One line for each event; what follows it is indented."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        below = [self.formatException(record.exc_info)] if record.exc_info else []
        below += [self.formatStack(record.stack_info)] if record.stack_info else []
        lines = [INDENT + plain_line(line) for text in below for line in text.splitlines()]
        return "\n".join([plain_line(self.formatMessage(record)), *lines])
