"""What a bot prints inside a worker: kept with its run, as the output of a program is, instead of shown.

It goes by context, so that runs in several threads, or side by side in one event loop, keep theirs apart. What is
printed outside a run (by a thread the bot started, by a task that goes on after it) is shown as ever, and so is what
is written past Python, to the descriptor itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Optional, TextIO, cast

from scalable.lib.captured_output import CapturedOutput
from scalable.lib.redaction import without_token


class PrintedOutput:
    """The output of one run, until it is closed."""

    def __init__(self) -> None:
        self.captured: Optional[CapturedOutput] = CapturedOutput()
        self._text = ""

    def attach(self) -> None:
        """From here on, whatever is printed in the current context, and in tasks begun in it, comes here."""
        _CURRENT.set(self)

    def close(self) -> str:
        """The end of what was printed, tokens hidden; what comes later is shown."""
        if self.captured is not None:
            self._text = without_token(self.captured.text())
            self.captured = None
        return self._text


_CURRENT: ContextVar[Optional[PrintedOutput]] = ContextVar("printed", default=None)


class PrintedStreams:
    """Replaces sys.stdout and sys.stderr, and puts them back."""

    def __init__(self) -> None:
        self._originals: dict[str, Any] = {}

    def install(self) -> None:
        """Replace both; a stream that this process does not have is left out."""
        for name in ("stdout", "stderr"):
            original = getattr(sys, name)
            if original is not None:
                replacement = _Stream(original)
                self._originals[name] = (replacement, original)
                setattr(sys, name, replacement)

    def remove(self) -> None:
        """Put both back, unless they were replaced by another one meanwhile."""
        for name, (replacement, original) in self._originals.items():
            if getattr(sys, name) is replacement:
                setattr(sys, name, original)
        self._originals = {}


class _Stream:
    """A text stream; everything but writing is done by the original.

    It cannot be closed: it is the worker's, too. A bot would do that unawares, when an `io.TextIOWrapper` that it once
    put around `sys.stdout.buffer` is deleted.
    """

    def __init__(self, original: TextIO) -> None:
        self._original = original

    @property
    def buffer(self) -> _Bytes:
        return _Bytes(self._original)

    def write(self, text: str) -> int:
        captured = _captured()
        if captured is None or not isinstance(text, str):  # for another type it raises what any stream raises
            return self._original.write(text)
        captured.add(text.encode("utf-8", "replace"))
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

    def __init__(self, original: TextIO) -> None:
        self._original = cast(Any, original).buffer

    def write(self, data: bytes) -> int:
        captured = _captured()
        if captured is None:
            return cast(int, self._original.write(data))
        piece = bytes(memoryview(data))
        captured.add(piece)
        return len(piece)

    def close(self) -> None:
        """Nothing, as for the text."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _captured() -> Optional[CapturedOutput]:
    current = _CURRENT.get()
    return None if current is None else current.captured
