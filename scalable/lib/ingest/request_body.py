"""The body of a WSGI request, as far as it may be read."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # a CGI process may read this for each update, and `typing` takes its time
    from typing import Any

MAX_UPDATE_BYTES = 1024 * 1024
# Python reads no number of more than 4300 digits.
MAX_LENGTH_DIGITS = 18


class BodyRefused(Exception):
    """The body cannot be taken; `status` is the answer, the text says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def read_body(environ: dict[str, Any], max_bytes: int) -> bytes:
    """The whole body, of CONTENT_LENGTH bytes. Raises BodyRefused.

    A body without a length (`Transfer-Encoding: chunked`) is read where the server says that it ends by itself
    (`wsgi.input_terminated`); elsewhere reading on could wait for ever, or read what is not the body's (RFC 3875, 4.2).
    """
    length = environ.get("CONTENT_LENGTH") or ""
    if not length and environ.get("HTTP_TRANSFER_ENCODING"):
        if not environ.get("wsgi.input_terminated"):
            raise BodyRefused(411, "send the body with a Content-Length: this server does not take it in chunks")
        body = _read(environ["wsgi.input"], max_bytes + 1)
        if len(body) > max_bytes:
            raise BodyRefused(413, f"the request body is larger than {max_bytes} bytes")
        return body
    if not length.isascii() or not (length or "0").isdigit():
        raise BodyRefused(400, "the Content-Length is not a number")
    if len(length) > MAX_LENGTH_DIGITS or int(length or 0) > max_bytes:
        raise BodyRefused(413, f"the request body is larger than {max_bytes} bytes")
    body = _read(environ["wsgi.input"], int(length or 0))
    if len(body) < int(length or 0):
        raise BodyRefused(400, f"the request body ended after {len(body)} of {length} bytes")
    return body


def _read(stream: Any, length: int) -> bytes:
    """At most `length` bytes; a stream may give them in parts."""
    parts = []
    while length > 0:
        part = stream.read(length)
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
