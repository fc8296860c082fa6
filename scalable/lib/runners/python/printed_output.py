"""What a bot prints inside a worker: kept with its run, as the output of a program is, instead of shown.

It goes by context, so that runs in several threads, or side by side in one event loop, keep theirs apart. What is
printed outside a run (by a thread the bot started, by a task that goes on after it) is shown as ever, and so is what
is written past Python, to the descriptor itself.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from types import FrameType
from typing import Any, Optional, TextIO, cast

from scalable.lib.captured_output import CapturedOutput
from scalable.lib.redaction import without_token


class PrintedOutput:
    """The output of one run, until it is closed, and its warnings: what was logged as one, or went to standard error.

    What `logging` writes to standard error below the level WARNING is no warning: its handlers have no other place.
    """

    def __init__(self) -> None:
        self.captured: Optional[CapturedOutput] = CapturedOutput()
        self._warnings = CapturedOutput()
        self._text = ""
        self._record: Optional[logging.LogRecord] = None

    def attach(self) -> None:
        """From here on, whatever is printed in the current context, and in tasks begun in it, comes here."""
        _CURRENT.set(self)

    @property
    def warnings(self) -> str:
        """The end of them, tokens hidden."""
        return without_token(self._warnings.text())

    def add(self, piece: bytes, is_warning: bool, record: Optional[logging.LogRecord] = None) -> None:
        """A piece of what was printed; that of a log `record` once, however many handlers write it."""
        captured = self.captured
        if captured is None or (record is not None and record is self._record):
            return
        self._record = record or self._record
        captured.add(piece)
        if is_warning:
            self._warnings.add(piece)

    def close(self) -> str:
        """The end of what was printed, tokens hidden; what comes later is shown."""
        if self.captured is not None:
            self._text = without_token(self.captured.text())
            self.captured = None
        return self._text


_CURRENT: ContextVar[Optional[PrintedOutput]] = ContextVar("printed", default=None)


class PrintedStreams:
    """Replaces sys.stdout and sys.stderr, listens to what is logged as a warning, and puts everything back."""

    def __init__(self) -> None:
        self._originals: dict[str, Any] = {}
        self._handler = _WarningHandler(logging.WARNING)

    def install(self) -> None:
        """Replace both; a stream that this process does not have is left out."""
        logging.getLogger().addHandler(self._handler)
        for name in ("stdout", "stderr"):
            original = getattr(sys, name)
            if original is not None:
                replacement = _Stream(original, is_for_warnings=name == "stderr")
                self._originals[name] = (replacement, original)
                setattr(sys, name, replacement)

    def remove(self) -> None:
        """Put both back, unless they were replaced by another one meanwhile."""
        logging.getLogger().removeHandler(self._handler)
        for name, (replacement, original) in self._originals.items():
            if getattr(sys, name) is replacement:
                setattr(sys, name, original)
        self._originals = {}


class _Stream:
    """A text stream; everything but writing is done by the original.

    It cannot be closed: it is the worker's, too. A bot would do that unawares, when an `io.TextIOWrapper` that it once
    put around `sys.stdout.buffer` is deleted.
    """

    def __init__(self, original: TextIO, is_for_warnings: bool) -> None:
        self._original = original
        self._is_for_warnings = is_for_warnings

    @property
    def buffer(self) -> _Bytes:
        return _Bytes(self._original, self._is_for_warnings)

    def write(self, text: str) -> int:
        printed = _open_output()
        if printed is None or not isinstance(text, str):  # for another type it raises what any stream raises
            return self._original.write(text)
        record = _record_of(sys._getframe(1))
        is_mild = record is not None and record.levelno < logging.WARNING
        printed.add(text.encode("utf-8", "replace"), self._is_for_warnings and not is_mild, record)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """Nothing."""

    def detach(self) -> _Bytes:
        """The binary side; both go on."""
        return self.buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _Bytes:
    """The binary side of it."""

    def __init__(self, original: TextIO, is_for_warnings: bool) -> None:
        self._original = cast(Any, original).buffer
        self._is_for_warnings = is_for_warnings

    def write(self, data: bytes) -> int:
        printed = _open_output()
        if printed is None:
            return cast(int, self._original.write(data))
        piece = bytes(memoryview(data))
        printed.add(piece, self._is_for_warnings)
        return len(piece)

    def close(self) -> None:
        """Nothing, as for the text."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _open_output() -> Optional[PrintedOutput]:
    current = _CURRENT.get()
    return None if current is None or current.captured is None else current


def _record_of(writer: FrameType) -> Optional[logging.LogRecord]:
    """The record that this function writes, when it is a handler of `logging`; None when it is another one.

    They all write from emit(record) (https://docs.python.org/3/library/logging.handlers.html#streamhandler).
    """
    record = writer.f_locals.get("record") if writer.f_code.co_name == "emit" else None
    return record if isinstance(record, logging.LogRecord) else None


class _WarningHandler(logging.Handler):
    """Of the root logger: keeps what is logged as a warning, or worse, in a run."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.lastResort is not None and logging.getLogger().handlers == [self]:  # as if this one were not there
            logging.lastResort.handle(record)
        printed = _open_output()
        if printed is not None and not record.name.startswith("scalable.lib."):
            line = f"{record.levelname}:{record.name}:{self.format(record)}\n"
            printed.add(line.encode("utf-8", "replace"), True, record)
