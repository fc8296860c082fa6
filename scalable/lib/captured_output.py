"""The beginning and the end of a stream that may be of any length, such as what a bot prints or answers."""

from __future__ import annotations

TAIL_BYTES = 4096
# More than any method call a bot may answer with: Telegram takes a text of 4096 characters, a keyboard of 10 kB.
HEAD_BYTES = 256 * 1024
CHUNK_BYTES = 65536


class CapturedOutput:
    """The beginning and the end of a stream, however long it is: `head_bytes` and TAIL_BYTES at most."""

    def __init__(self, head_bytes: int = HEAD_BYTES) -> None:
        self._head_bytes = head_bytes
        self.head = bytearray()
        self.tail = bytearray()
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """The next piece of the stream."""
        self.size += len(chunk)
        self.head += chunk[: self._head_bytes - len(self.head)]
        self.tail += chunk
        del self.tail[:-TAIL_BYTES]

    @property
    def is_whole(self) -> bool:
        """Whether `head` is all of the stream."""
        return self.size == len(self.head)

    def text(self) -> str:
        """The end of the stream, for a person."""
        return bytes(self.tail).decode("utf-8", "replace").strip()
