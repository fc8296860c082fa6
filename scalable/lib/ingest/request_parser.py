"""How the pool's own server reads requests that are not an update to be stored at once: waitress, with limits of ours.

Of a body that is refused anyway nothing is kept: waitress would write all of them into files of /tmp before anybody is
asked for the secret. Knows nothing of connections; the applications answer as ever, and refuse before they read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser

from scalable.lib.ingest.request_body import MAX_FORM_BYTES, MAX_UPDATE_BYTES
from scalable.lib.telegram.secret_token import SECRET_HEADER, is_telegram

_SECRET = SECRET_HEADER.upper().replace("-", "_")


@dataclass(frozen=True)
class BodyLimits:
    """How much of a body is kept: of an update for `webhook`, a path, that comes with `secret`, and of all others."""

    webhook: str
    secret: str = field(repr=False)

    def most_bytes(self, path: str, secret_token: str) -> int:
        """The most bytes that somebody will read: other addresses take forms; a longer body is refused."""
        if path != self.webhook and not path.startswith(self.webhook + "/"):  # as ingest/wsgi.py mounts it
            return MAX_FORM_BYTES
        return MAX_UPDATE_BYTES if is_telegram(secret_token, self.secret) else 0


class RequestParser(HTTPRequestParser):
    """One request of a waitress server."""

    path: str

    def __init__(self, limits: BodyLimits, adjustments: Any) -> None:
        super().__init__(adjustments)
        self._limits = limits

    def received(self, data: bytes) -> int:
        """As waitress has it, but empty lines before a request are a part of it (RFC 9112, 2.2).

        Waitress takes them for a request that is over, and a client that sends nothing else would never be late.
        """
        consumed = int(super().received(data))
        if self.empty:
            self.empty = self.completed = self.headers_finished = False
            self.header_plus = b""
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """As waitress has it, with a buffer of ours for the body."""
        super().parse_header(header_plus)
        if self.body_rcv is not None:
            most = self._limits.most_bytes(self.path, self.headers.get(_SECRET, ""))
            self.body_rcv.buf = _BoundedBuffer(self.adj.inbuf_overflow, 0 if self.content_length > most else most)


class _BoundedBuffer(OverflowableBuffer):
    """Keeps up to `most` bytes and of more nothing at all; its length is that of everything that came."""

    def __init__(self, overflow: int, most: int) -> None:
        super().__init__(overflow)
        self._most = most
        self._came = 0

    def __len__(self) -> int:
        return self._came

    def append(self, data: bytes) -> None:
        self._came += len(data)
        if self._came <= self._most:
            super().append(data)
        elif self.buf is not None or self.strbuf:
            self.close()
            self.buf, self.strbuf, self.overflowed = None, b"", False
