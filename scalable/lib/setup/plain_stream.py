"""Standard output and error of a command in a shell: what is printed there is plain, whoever sent it to us."""

from __future__ import annotations

import sys
from typing import Any, TextIO, cast

from scalable.lib.plain_text import plain


class PlainStream:
    """As `stream`, but text that is written through it is made plain."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """See TextIO.write."""
        self._stream.write(plain(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """See TextIO.writelines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_plainly() -> None:
    """From now on, in this process."""
    sys.stdout = cast(TextIO, PlainStream(sys.stdout))
    sys.stderr = cast(TextIO, PlainStream(sys.stderr))
