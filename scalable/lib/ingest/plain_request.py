"""Reads the usual request with an update, and no other: plain, complete, and with nothing behind it.

Any other request is left to waitress, which handles the rest of HTTP; nothing is refused here. It is strict,
because two readers of one connection must never disagree where a request ends (RFC 9112, 11.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Optional

from scalable.lib.ingest.request_body import content_length
from scalable.lib.telegram.secret_token import SECRET_HEADER

_HEAD = re.compile(
    rb"POST ([!-~]+) HTTP/1\.1"
    rb"((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)+)"  # names and values of RFC 9110, 5.6.2 and 5.5
)
_END_OF_HEAD = b"\r\n\r\n"
# Of Telegram's requests only the length of the body differs.
_KNOWN_HEADS = 256
# What changes where the request ends, or what comes after it.
_NOT_PLAIN = (b"transfer-encoding", b"expect", b"upgrade")
_SECRET = SECRET_HEADER.lower().encode()


@dataclass(frozen=True)
class PlainRequest:
    """A body, and the secret token that came with it, empty without one."""

    body: bytes = field(repr=False)
    secret_token: str = field(repr=False)


def read_plain_request(data: bytes, path: bytes) -> Optional[PlainRequest]:
    """The request for `path` that is all of `data`; None when it is not that, or not plain enough."""
    head, end, body = data.partition(_END_OF_HEAD)
    known = _read_head(head, path) if end else None
    if known is None or known[0] != len(body):
        return None
    return PlainRequest(body, known[1])


@lru_cache(maxsize=_KNOWN_HEADS)
def _read_head(head: bytes, path: bytes) -> Optional[tuple[int, str]]:
    """How long the body has to be, and the secret token."""
    found = _HEAD.fullmatch(head)
    if found is None or found.group(1) != path:
        return None
    headers = _headers(found.group(2))
    if headers is None or any(name in headers for name in _NOT_PLAIN):
        return None
    try:
        length = content_length(headers.get(b"content-length", b""))
    except ValueError:
        return None
    if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    return length, headers.get(_SECRET, b"").decode("latin-1")


def _headers(lines: bytes) -> Optional[dict[bytes, bytes]]:
    """By their names in small letters; None when one comes twice."""
    headers = {}
    for line in lines.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip(b" \t")
    return headers if len(headers) == lines.count(b"\r\n") else None
